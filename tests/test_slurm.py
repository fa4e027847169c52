"""The SLURM examples: read by bash, and run with stand-ins for SLURM's programs that start what
they are given on this machine.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from helpers import GENEROUS, until
from srnn.training.runs import Run

SCRIPTS = Path(__file__).parents[1] / "examples" / "slurm"
TINY = [
    "--set",
    "data.train=8",
    "--set",
    "data.validation=4",
    "--set",
    "data.test=4",
    "--set",
    "data.steps=24",
    "--set",
    "network.hidden=[4]",
]
PROGRAMS = {
    "srun": 'while [ "${1#--}" != "$1" ]; do shift; done; exec "$@"',
    "scontrol": '[ "$1" = requeue ] && echo "$2" >> "$QUEUE" || echo 127.0.0.1',
    "torchrun": f'exec "{sys.executable}" -m torch.distributed.run "$@"',
    "srnn": f'exec "{sys.executable}" -m srnn "$@"',
}


@pytest.fixture
def slurm(tmp_path):
    """Run a script as a job; what is asked of the queue is noted in tmp_path/queue."""
    bin = tmp_path / "bin"
    bin.mkdir()
    for name, body in PROGRAMS.items():
        (bin / name).write_text(f"#!/usr/bin/env bash\n{body}\n")
        (bin / name).chmod(0o755)

    def job(script: str, *argv: object, **about: object) -> subprocess.Popen[str]:
        given = {
            "SLURM_JOB_ID": os.getpid(),
            "SLURM_JOB_NODELIST": "n1",
            "SLURM_JOB_NUM_NODES": 1,
            "QUEUE": tmp_path / "queue",
            **about,
        }
        env = {
            **os.environ,
            "PATH": f"{bin}:{os.environ['PATH']}",
            **{k: str(v) for k, v in given.items()},
        }
        command = ["bash", str(SCRIPTS / script), *map(str, argv)]
        return subprocess.Popen(
            command,
            cwd=tmp_path,
            env=env,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    return job


def test_all_are_tested():
    assert sorted(p.name for p in SCRIPTS.iterdir()) == [
        "seeds.sbatch",
        "sweep.sbatch",
        "train.sbatch",
    ]
    for script in SCRIPTS.iterdir():
        assert subprocess.run(["bash", "-n", str(script)]).returncode == 0
        assert "#SBATCH --time=" in script.read_text()


def test_a_job_whose_time_is_over_goes_back_into_the_queue_and_on(slurm, tmp_path):
    """Two processes: stopped by the signal two minutes before the end, requeued,
    resumed, finished.
    """
    out = tmp_path / "run"
    argv = ["ecg_sim", *TINY, "--set", "batch=4", "--set", "epochs=4000", "--out", out]
    first = slurm("train.sbatch", *argv, SRNN_PROCESSES=2)
    until(lambda: (out / "log.jsonl").exists() and len(Run(out).rows()) > 2, first)
    first.send_signal(signal.SIGTERM)
    said = first.communicate(timeout=GENEROUS)[0]
    assert first.returncode == 0, said
    assert (tmp_path / "queue").read_text().split() == [str(os.getpid())], said
    assert "the checkpoint is written" in said
    done = len(Run(out).rows())
    assert 2 < done < 4000
    kept = json.loads((out / "task.json").read_text())
    assert Run(out).read("env.json")["processes"] == 2
    again = slurm("train.sbatch", *argv, SRNN_PROCESSES=2, SLURM_RESTART_COUNT=1)
    until(lambda: len(Run(out).rows()) > done, again)
    again.send_signal(signal.SIGTERM)
    said = again.communicate(timeout=GENEROUS)[0]
    assert again.returncode == 0, said
    assert len(Run(out).rows()) > done, said
    assert json.loads((out / "task.json").read_text()) == kept
    assert len(Run(out).read("env.json")["resumed"]) == 1


def test_a_seed_a_job(slurm, tmp_path):
    made = slurm("seeds.sbatch", "ecg_sim", *TINY, "--set", "epochs=1", SLURM_ARRAY_TASK_ID=3)
    said = made.communicate(timeout=GENEROUS)[0]
    assert made.returncode == 0, said
    assert Run(tmp_path / "runs/ecg_sim-seed3").read("metrics.json")["seed"] == 3


def test_jobs_of_a_sweep_share_a_journal(slurm, tmp_path):
    argv = [
        "ecg_sim",
        *TINY,
        "--set",
        "epochs=1",
        "--search",
        "optimiser.lr=1e-3:1e-1:log",
        "--trials",
        "5",
        "--journal",
        "study.log",
        "--json",
    ]
    both = [slurm("sweep.sbatch", *argv, "--out", "sweep", SLURM_ARRAY_TASK_ID=k) for k in range(2)]
    ends = [p.communicate(timeout=GENEROUS)[0] for p in both]
    assert [p.returncode for p in both] == [0, 0], ends
    assert sorted(p.name for p in (tmp_path / "sweep").glob("trial-*")) == [
        f"trial-{k:04d}" for k in range(5)
    ]
