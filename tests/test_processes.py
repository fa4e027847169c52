"""Two processes that share every batch end where one process with the whole batch does, whatever
the task; and what happens when one of them dies.

Run by torchrun, this file trains its variants in one group of processes: `python -m
torch.distributed.run … tests/test_processes.py FOLDER [NAME…]`.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import warnings
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch

from helpers import forked
from srnn import processes, tasks
from srnn._check import ConfigError
from srnn.nn.norm import BatchNorm, normalised
from srnn.tasks.objective import FiringRate, PerRecording, PerStep
from srnn.tasks.settings import override
from srnn.tasks.truncation import Truncation
from srnn.training.loop import Interrupted, Progress
from srnn.training.runs import Run, load_checkpoint
from srnn.training.session import find_device
from srnn.training.train import fit
from uneven import BASE, BITTAR, STEPS

VARIANTS = {
    "plain": BASE,
    "batch norm, regulariser": replace(
        BASE, network=BITTAR, regulariser=FiringRate(low=0.2, high=0.3)
    ),
    "batch norm, both directions": replace(STEPS, network=replace(BITTAR, bidirectional=True)),
    "mean over steps, clipped": replace(STEPS, decode=PerStep(mean_over_steps=True), clip_norm=0.1),
    "chunks, a step each": replace(
        BASE, truncation=Truncation(4, step_per_chunk=True, carry_scores=True)
    ),
    "chunks, batch norm, regulariser": replace(
        STEPS, network=BITTAR, truncation=Truncation(4), regulariser=FiringRate(low=0.2, high=0.3)
    ),
    "segments": replace(BASE, segment=4),
    "the highest score": replace(BASE, decode=PerRecording(pool="max_over_time")),
    "balanced, plateau, early stop": override(
        replace(BASE, balanced=True, early_stop=1, epochs=4),
        ["schedule.kind=plateau", "schedule.patience=0"],
    ),
    "pruned": override(
        BASE, ["compression=Compression", "compression.bits=4", "compression.sparsity=0.5"]
    ),
}


def main(out: str, *names: str) -> None:
    """Train variants into folders below `out`; "stop" is stopped in the middle of its second epoch,
    "resume" goes on.
    """
    torch.set_num_threads(1)
    for name in names or VARIANTS:
        folder = Path(out) / name.replace(" ", "_")
        if name == "stop":
            with pytest.raises(Interrupted):
                fit(BASE, folder, test=False, progress=Progress(batch=stop))
        elif name == "resume":
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # another number of processes
                fit(BASE, folder, test=False, resume=True)
        else:
            fit(VARIANTS[name], folder, test=False)


def stop(epoch: int, batch: int, loss: float) -> None:
    if (epoch, batch) == (1, 2) and os.environ.get("RANK", "0") == "0":
        os.kill(os.getpid(), signal.SIGTERM)


def alone(function: Callable[[], object]) -> None:
    """Call a function whose result is no exit code."""
    function()


def environment(**more: str) -> dict[str, str]:
    return {**{k: v for k, v in os.environ.items() if k not in ("RANK", "WORLD_SIZE")}, **more}


def torchrun(*argv: object, count: int = 2) -> subprocess.CompletedProcess[str]:
    command = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc-per-node",
        str(count),
        *map(str, argv),
    ]
    return subprocess.run(command, capture_output=True, text=True, timeout=200, env=environment())


def assert_same_run(got: Path, wanted: Path, tolerance: float = 1e-4) -> None:
    """The same epochs, losses, accuracies, learning rates and weights, up to rounding."""
    one, two = Run(wanted).rows(), Run(got).rows()
    assert len(one) == len(two) >= 2
    for a, b in zip(one, two, strict=True):
        for key in (
            "loss",
            "train_accuracy",
            "validation_loss",
            "validation_accuracy",
            "learning_rate",
            "grad_norm_max",
        ):
            assert b[key] == pytest.approx(a[key], rel=tolerance, abs=tolerance), key
        assert b["firing_rates"] == pytest.approx(a["firing_rates"], abs=tolerance)
    before, after = (load_checkpoint(Run(p).checkpoint("last"))[0] for p in (wanted, got))
    weights = [k for k in before if k.startswith("net.")]
    assert len(weights) >= 7
    for key in weights:
        torch.testing.assert_close(
            after[key],
            before[key],
            atol=tolerance,
            rtol=tolerance,
            msg=lambda m, key=key: f"{key}: {m}",
        )


def test_two_processes_end_where_one_does(tmp_path):
    """All variants in one group of processes, which starts once: batches of 4, 4 and 1 recordings,
    in the last of which a process has none.

    And what one process began two finish, and the other way round, each stopped in the middle of an
    epoch.
    """
    one, two = tmp_path / "one", tmp_path / "two"
    main(str(one), *VARIANTS, "stop")
    (one / "stop").rename(tmp_path / "resume")
    shutil.copytree(tmp_path / "resume", two / "resume")
    done = torchrun(__file__, two, *VARIANTS, "stop", "resume")
    assert done.returncode == 0, done.stderr[-3000:]
    (two / "stop").rename(one / "resume")
    # stopped in the second epoch
    assert [len(Run(f / "resume").rows()) for f in (one, tmp_path)] == [1, 1]
    main(str(one), "resume")
    for name in VARIANTS:
        folder = name.replace(" ", "_")
        assert_same_run(two / folder, one / folder)
    for resumed, counts in ((one / "resume", [2, 1]), (two / "resume", [1, 2])):
        assert_same_run(resumed, one / "plain")
        told = Run(resumed).read("env.json")
        assert [told["processes"], *(e["processes"] for e in told["resumed"])] == counts


# ── one of them ends ──────────────────────────────────────────────────────────────────────────────


def team(*functions: Callable[[], object]) -> list[subprocess.Popen[str]]:
    """Two processes, each with its own function, that find each other as those of two machines do:
    nobody watches over both.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    pipes = {"stderr": subprocess.PIPE, "text": True}
    group = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    return [
        forked(partial(alone, function), {**group, "RANK": str(rank)}, **pipes)
        for rank, function in enumerate(functions)
    ]


def test_when_one_process_is_killed_the_other_says_so_and_the_run_goes_on(tmp_path):

    def die(epoch: int, batch: int, loss: float) -> None:
        if (epoch, batch) == (1, 2):
            os.kill(os.getpid(), signal.SIGKILL)

    train = partial(fit, BASE, tmp_path / "run", test=False)
    first, second = team(train, partial(train, progress=Progress(batch=die)))
    said = first.communicate(timeout=120)[1]
    second.communicate(timeout=120)
    assert second.returncode == -signal.SIGKILL
    assert first.returncode == 1
    assert re.search(
        r"RunError: another process of this run has ended \(.+\)\. What it said "
        r"tells why; the last checkpoint is good: start all",
        said,
    )
    rows = Run(tmp_path / "run").rows()
    assert [row["epoch"] for row in rows] == [1]
    with pytest.warns(UserWarning, match="processes: 2 → 1"):
        fit(BASE, tmp_path / "run", test=False, resume=True)
    fit(BASE, tmp_path / "whole", test=False)
    assert_same_run(tmp_path / "run", tmp_path / "whole")


def test_what_one_process_cannot_read_ends_all(tmp_path):
    """A machine without the data: nobody waits for it, and nothing is left behind."""
    out = tmp_path / "run"
    broken = partial(fit, tasks.load("ecg"), out, data_dir="/nowhere")
    first, second = team(partial(fit, BASE, out, test=False), broken)
    said, why = (p.communicate(timeout=120)[1] for p in (first, second))
    assert (first.returncode, second.returncode) == (1, 1)
    assert "RunError: another process of this run has ended" in said
    assert "DataError" in why
    assert not (tmp_path / "run" / "metrics.json").exists()


def test_a_sum_is_what_it_is_where_one_process_trains():
    x = torch.randn(3, requires_grad=True)
    assert processes.summed(x) is x
    assert not processes.shared()


def test_each_process_takes_the_gpu_of_its_number(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    assert find_device("cuda") == torch.device("cuda")
    monkeypatch.setenv("LOCAL_RANK", "2")
    assert [find_device(name) for name in ("cuda", "cuda:1", "cpu")] == [
        torch.device("cuda:2"),
        torch.device("cuda:1"),
        torch.device("cpu"),
    ]
    monkeypatch.setenv("LOCAL_RANK", "4")
    with pytest.raises(
        ConfigError, match="device 'cuda' cannot be used here: there are 4 devices of kind cuda"
    ):
        find_device("cuda")


def test_batch_norm_over_processes_is_that_of_torch(monkeypatch):
    """With one process and sums that are what they are: the same numbers, gradients and running
    statistics.
    """
    torch.manual_seed(0)
    ours, theirs = (BatchNorm(momentum=0.3).build(5, dtype=torch.float64) for _ in range(2))
    valid = torch.rand(4, 6) < 0.7
    for _ in range(2):
        x = torch.randn(4, 6, 5, dtype=torch.float64)
        found = []
        for norm, shared in ((ours, True), (theirs, False)):
            monkeypatch.setattr(processes, "_shared", shared)
            monkeypatch.setattr(processes, "add_up", lambda x: x)
            leaf = x.clone().requires_grad_()
            y = normalised(norm, leaf, valid)
            norm.zero_grad()
            y.square().sin().sum().backward()
            found.append(
                [
                    y,
                    leaf.grad,
                    norm.weight.grad,
                    norm.bias.grad,
                    norm.running_mean,
                    norm.running_var,
                    norm.num_batches_tracked,
                ]
            )
        for a, b in zip(*found, strict=True):
            torch.testing.assert_close(a, b)
    assert int(ours.num_batches_tracked) == 2


if __name__ == "__main__":
    main(*sys.argv[1:])
    sys.stdout.flush()
    os._exit(0)  # as `srnn` does: torchrun's processes were seen to abort in the clean-up
