"""The command line: argument parsing and orchestration only."""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from srnn._check import DivergedError, SrnnError
from srnn.cli.parser import Parser, seeds

_MAIN = """Spiking recurrent neural networks on time-domain signals.

  srnn tasks                                   what can be trained
  srnn train ecg_sim                           train now, on data that comes with the package
  srnn check                                   build, train and evaluate every task on made-up data, in a minute
  srnn data fetch qtdb                         get the real ECG
  srnn train ecg --set epochs=30 --seed 1      train on it; every setting can be overridden
  srnn train ecg --seed 1 --resume             go on where it was stopped
  srnn sweep ecg --search optimiser.lr=1e-3:1e-1:log   search settings by validation accuracy
  srnn evaluate runs/ecg-seed1                 accuracy, firing rates, energy of a run
  srnn report runs/ecg-seed1                   one HTML file of a run, or of several side by side
  srnn compress runs/ecg-seed1 --bits 8        fewer bits, connections, neurons or spikes, trained on
  srnn energy ecg --rate 0.282                 what the network would cost at a firing rate
  srnn reproduce yin2021-table2 --jobs 2       a published table with our numbers beside it
  srnn train my --set data=FOLDER              train on your own recordings
  srnn encode word.wav --to spikes.h5          sound through a cochlea, as spikes
  srnn export runs/ecg-seed1 --to c --bits 8   C99 for a microcontroller, or onnx, nir, torch, state: compared with the network
  srnn stream runs/ecg-seed1 samples.csv       a trained network on live samples, one JSON line an event
  srnn serve runs/ecg-seed1                    a live page: signal, spikes, decision and cost, in real time
  srnn doctor                                  what works on this machine, and what to do about what does not
"""


def _parser() -> Parser:
    """Return the parser of the command line; the parser of each command is in `commands`."""
    parser = Parser(prog="srnn", description=_MAIN)
    parser.add_argument("--version", action="store_true", help="print the version and stop")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")

    def command(name: str, summary: str, examples: str) -> argparse.ArgumentParser:
        p = parser.commands[name] = commands.add_parser(
            name, help=summary, description=summary, epilog=f"examples:\n{examples}"
        )
        p.add_argument("--json", action="store_true", help="print JSON instead of tables")
        return p

    def data_option(p: argparse.ArgumentParser) -> None:
        p.add_argument(
            "--data-dir",
            metavar="DIR",
            help="where the data sets lie (default: $SRNN_DATA, else the user's cache)",
        )

    def task_options(p: argparse.ArgumentParser) -> None:
        p.add_argument(
            "--set",
            action="append",
            default=[],
            metavar="FIELD=VALUE",
            help="override a setting of the task; may be given many times",
        )
        p.add_argument(
            "--variant",
            metavar="NAME",
            help="other published settings of the task (`srnn tasks TASK` lists them), before --set",
        )

    def run_options(p: argparse.ArgumentParser) -> None:
        data_option(p)
        p.add_argument("--device", default="cpu", help="cpu, cuda, cuda:1 … (default: cpu)")
        p.add_argument(
            "--backend",
            default="auto",
            help="who runs the time loop: auto, cpu, triton or reference (default: auto)",
        )
        why = "the reference loop makes many tiny products; with more threads they wait for each other when the machine is busy"
        p.add_argument(
            "--threads",
            type=int,
            default=1,
            metavar="N",
            help=f"threads of torch (default 1: {why})",
        )

    def mode_options(p: argparse.ArgumentParser) -> None:
        p.add_argument(
            "--precision",
            default="float32",
            help="type of products on a GPU: float32, tf32 or bfloat16 (default: float32, as on a CPU)",
        )
        p.add_argument(
            "--deterministic",
            action="store_true",
            help="on a GPU: the same bits every time (on a CPU they always are)",
        )
        p.add_argument(
            "--graph",
            action="store_true",
            help="on a GPU: a training step, of all runs in lockstep, as one CUDA graph",
        )

    listing = command(
        "tasks",
        "List the tasks, or every setting of one.",
        "  srnn tasks\n  srnn tasks ecg     all settings, as --set takes them",
    )
    listing.add_argument("task", nargs="?", help="show the settings and variants of this task")
    data_option(listing)

    check = command("check", "Build, train (one step) and evaluate tasks on small made-up data sets in the true formats.",
                    "  srnn check              all tasks, about a minute\n  srnn check shd ssc")  # fmt: skip
    check.add_argument("tasks", nargs="*", metavar="TASK", help="these tasks (default: all)")

    data = command("data", "List, fetch, verify or show data.",
                   "  srnn data list\n  srnn data fetch qtdb            the encoded files of Yin et al. (0.6 MB)\n"
                   "  srnn data fetch qtdb --raw      the PhysioNet records (about 75 MB)\n"
                   "  srnn data fetch speech_commands --corpus 0.01\n  srnn data verify qtdb\n"
                   "  srnn data show ecg --index 3 --out ecg.png")  # fmt: skip
    data.add_argument("action", choices=("list", "fetch", "verify", "show"))
    data.add_argument("name", nargs="?", help="data set (fetch, verify) or task (show)")
    data.add_argument(
        "--raw",
        action="store_true",
        help="fetch qtdb: the original records instead of the encoded files",
    )
    data.add_argument(
        "--corpus",
        choices=("0.01", "0.02"),
        help="fetch speech_commands: which version (default: 0.02)",
    )
    data.add_argument(
        "--part",
        default="train",
        choices=("train", "validation", "test"),
        help="show: which part (default: train)",
    )
    data.add_argument("--index", type=int, default=0, help="show: which recording (default: 0)")
    task_options(data)
    data.add_argument(
        "--out",
        type=Path,
        metavar="FILE",
        help="show: svg, png or pdf file (default: TASK-PART-INDEX.png)",
    )
    data_option(data)

    train = command("train", "Train a task, evaluate the selected checkpoint once on the test part.",
                    "  srnn train ecg_sim\n  srnn train ecg --data-dir data --set epochs=30 --set network.hidden=[48]\n"
                    "  srnn train ecg --set start=UniformStart --set start.high=0.1\n"
                    "  srnn train ecg --seeds 0 1 2       three runs, mean and sd\n"
                    "  srnn train ecg --seed 1 --resume   go on where the run was stopped (bit-exact on a CPU)\n\n"
                    "The run folder holds task.json (resolved settings), env.json, log.jsonl (a line an epoch), checkpoints/,\n"
                    "metrics.json and report.html. A setting that does not exist or has the wrong type is refused,\n"
                    "with the list of those that do.")  # fmt: skip
    train.add_argument("task", help="see `srnn tasks`")
    task_options(train)
    train.add_argument("--seed", type=int, help="seed of weights, order and dropout (default: 0)")
    train.add_argument(
        "--seeds",
        type=seeds,
        nargs="+",
        metavar="SEED",
        help="several runs: seeds, or FIRST:END without END",
    )
    train.add_argument("--together", type=int, metavar="K", help="so many of them in lockstep, their layers in one launch: on a GPU (default: all); "
                       "elsewhere one after the other")  # fmt: skip
    mode_options(train)
    train.add_argument(
        "--out", type=Path, metavar="FOLDER", help="run folder (default: runs/TASK-seedSEED)"
    )
    train.add_argument("--resume", action="store_true", help="continue the run in that folder")
    train.add_argument(
        "--tensorboard",
        action="store_true",
        help="also write TensorBoard events into the run folder",
    )
    run_options(train)

    sweep = command("sweep", "Search settings of a task (Optuna) by validation accuracy; the test part is never evaluated.",
                    "  srnn sweep ecg_sim --search optimiser.lr=1e-3:1e-1:log --search batch=4,8,16 --trials 20 --set epochs=20\n"
                    "  srnn sweep shd --search network.beta=0.5:3 --trials 50 --jobs 2 --prune --journal /shared/shd.log\n\n"
                    "A field takes low:high, low:high:log or the values a,b,c; its type is that of the field. --trials counts all processes\n"
                    "together: the same command joins a study that goes on (also on another machine that sees the journal), or goes on with one\n"
                    "that was stopped. Each trial is a run folder in OUT; OUT/trials.csv is the table.")  # fmt: skip
    sweep.add_argument("task", help="see `srnn tasks`")
    sweep.add_argument(
        "--search",
        action="append",
        default=[],
        metavar="FIELD=RANGE",
        help="low:high, low:high:log or a,b,c; may be given many times",
    )
    sweep.add_argument(
        "--trials",
        type=int,
        default=20,
        metavar="N",
        help="trials of the study in all (default: 20); interrupted ones do not count",
    )
    sweep.add_argument(
        "--jobs", type=int, default=1, metavar="N", help="processes started here (default: 1)"
    )
    sweep.add_argument("--together", type=int, default=1, metavar="K", help="so many trials of a process in lockstep, their layers in one launch: "
                       "on a GPU; elsewhere one after the other (default: 1)")  # fmt: skip
    mode_options(sweep)
    sweep.add_argument(
        "--prune",
        action="store_true",
        help="stop trials that are worse than the median of the others at the same epoch",
    )
    sweep.add_argument(
        "--journal", type=Path, metavar="FILE", help="file of the study (default: OUT/journal.log)"
    )
    sweep.add_argument(
        "--storage",
        metavar="URL",
        help="a database in place of the journal, as sqlite:///study.db (see Optuna's storages)",
    )
    sweep.add_argument(
        "--study",
        metavar="NAME",
        help="name of the study (default: TASK-sweep, or TASK-VARIANT-sweep)",
    )
    task_options(sweep)
    sweep.add_argument(
        "--seed", type=int, default=0, help="seed of every training and of the search (default: 0)"
    )
    sweep.add_argument(
        "--out", type=Path, metavar="FOLDER", help="folder of the runs (default: runs/STUDY)"
    )
    run_options(sweep)

    evaluate = command(
        "evaluate",
        "Evaluate the best checkpoint of a run.",
        "  srnn evaluate runs/ecg-seed0 --part validation --json",
    )
    evaluate.add_argument("run", type=Path, help="run folder")
    evaluate.add_argument(
        "--part",
        default="test",
        choices=("train", "validation", "test"),
        help="which part (default: test)",
    )
    run_options(evaluate)

    compress = command("compress", "Make the network of a run smaller, train it on, and put both side by side: accuracy, bytes, operations, energy.",
                       "  srnn compress runs/ecg-seed0 --bits 8 --epochs 0               8-bit weights, without training\n"
                       "  srnn compress runs/ecg-seed0 --bits 8 --sparsity 0.9 --epochs 30 --steps 15\n"
                       "  srnn compress runs/ecg-seed0 --structured 0.5 --rate 0.05\n"
                       "  srnn compress runs/ecg-seed0 --bits 8 --resume\n\n"
                       "The result is an ordinary run folder: evaluate, energy, train --resume and compress take it. Bits, sparsity and neurons\n"
                       "are settings of its task (compression.…), chosen by --set too.")  # fmt: skip
    compress.add_argument("run", type=Path, help="finished run folder")
    compress.add_argument(
        "--bits",
        type=int,
        metavar="N",
        help="weights as integers of N bits (2 to 16), a scale for each row",
    )
    compress.add_argument(
        "--sparsity",
        type=float,
        metavar="F",
        help="remove this fraction of all connections, smallest weights first",
    )
    compress.add_argument(
        "--steps",
        type=int,
        metavar="N",
        help="epochs over which they go (default: 1; with --rate half of them)",
    )
    compress.add_argument(
        "--structured",
        type=float,
        metavar="F",
        help="remove this fraction of the neurons of every hidden layer",
    )
    compress.add_argument(
        "--by",
        default="activity",
        choices=("activity", "weight"),
        help="which: output times outgoing weights, or these alone",
    )
    compress.add_argument(
        "--rate",
        type=float,
        metavar="R",
        help="train towards at most R spikes per step of every neuron",
    )
    compress.add_argument(
        "--epochs",
        type=int,
        metavar="N",
        help="epochs of training (default: a third of the run's; 0: none)",
    )
    compress.add_argument(
        "--lr", type=float, help="learning rate (default: a quarter of the run's)"
    )
    compress.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="FIELD=VALUE",
        help="override a setting of the task; may be given many times",
    )
    compress.add_argument(
        "--seed", type=int, help="seed of the training (default: that of the run)"
    )
    compress.add_argument(
        "--out",
        type=Path,
        metavar="FOLDER",
        help="run folder (default: beside RUN, named after what is done)",
    )
    compress.add_argument("--resume", action="store_true", help="continue the run in that folder")
    run_options(compress)

    energy = command("energy", "Count operations and energy per step, by the published rules and by rules that leave nothing out.",
                     "  srnn energy runs/ecg-seed0         with the rates measured in that run\n"
                     "  srnn energy ecg --rate 0.282       with one assumed firing rate: the published row (90 MAC, 325.7 pJ)\n"
                     "  srnn energy soli --rate 0.04 --analog --process int8 --memory sram1m")  # fmt: skip
    energy.add_argument("what", help="run folder or task")
    energy.add_argument(
        "--rate",
        type=float,
        help="assumed firing rate of all spiking units and inputs (for a task)",
    )
    energy.add_argument(
        "--analog", action="store_true", help="the input is analog, no events (for a task)"
    )
    energy.add_argument(
        "--process",
        help="int32, fp32, fp16 or int8 at 45 nm (default: as each rule set's paper has it)",
    )
    energy.add_argument(
        "--memory", help="charge memory traffic: sram8k, sram32k, sram1m or dram (default: none)"
    )
    task_options(energy)

    reproduce = command("reproduce", "Fill in a published table or figure: train its rows, print published | ours | difference.",
                        "  srnn reproduce                                    the tables there are\n"
                        "  srnn reproduce yin2021-tableS2 --only-costs       operations and energies, counted without training\n"
                        "  srnn reproduce yin2021-table2 --on ecg --seeds 0 1 2 --jobs 2 --set epochs=60\n"
                        "  srnn reproduce yin2021-table2 --on ecg --read     only what is finished\n"
                        "  srnn reproduce claims --jobs 2 --out docs         our campaign, and the page of what holds of the papers' claims\n\n"
                        "Runs lie in RUNS/TASK/KEY/seedN and are shared by the tables that want them: a finished run is read, an interrupted one\n"
                        "goes on. A row whose data is not here says so. Writes OUT/NAME.md, NAME.csv and figures.\n"
                        "Exit code 1: a run diverged or failed.")  # fmt: skip
    reproduce.add_argument(
        "name",
        nargs="?",
        help="table or figure, as yin2021-table2, or claims; without one they are listed",
    )
    reproduce.add_argument("--list", action="store_true", help="list the tables and figures")
    reproduce.add_argument(
        "--only-costs",
        action="store_true",
        help="count operations and energies at the published firing rates; no training, no data",
    )
    reproduce.add_argument(
        "--rows", nargs="+", default=[], metavar="GLOB", help="only rows whose names fit"
    )
    reproduce.add_argument(
        "--on", nargs="+", default=[], metavar="TASK", help="only rows on these tasks"
    )
    reproduce.add_argument(
        "--seeds",
        type=int,
        nargs="+",
        metavar="SEED",
        help="seeds of every row (default: 0 1 2; of a grid, whose runs are folds: 0)",
    )
    reproduce.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="FIELD=VALUE",
        help="override a setting of every row, as epochs=60",
    )
    reproduce.add_argument(
        "--jobs",
        type=int,
        default=1,
        metavar="N",
        help="trainings at a time, one thread each (default: 1)",
    )
    reproduce.add_argument(
        "--read", action="store_true", help="train nothing, read what is finished"
    )
    reproduce.add_argument(
        "--runs",
        type=Path,
        default=Path("runs/reproduce"),
        metavar="DIR",
        help="where the runs lie (default: runs/reproduce)",
    )
    reproduce.add_argument(
        "--out",
        type=Path,
        metavar="DIR",
        help="where tables and figures are written (default: RUNS/tables)",
    )
    reproduce.add_argument(
        "--backend",
        default="auto",
        help="who runs the time loop: auto or reference (default: auto)",
    )
    data_option(reproduce)

    encode = command("encode", "Sound through a cochlea (LAUSCHER, Cramer et al. 2020): spikes of many channels, in the format of SHD.",
                     "  srnn encode word.wav --to spikes.h5 --picture word.png\n  srnn encode one.wav two.flac --to spikes.h5 --label digit\n"
                     "  srnn encode FOLDER --to spikes.h5        a folder with a sub-folder of recordings for each class\n"
                     "  srnn train my --set data=spikes.h5")  # fmt: skip
    encode.add_argument(
        "sound",
        nargs="+",
        type=Path,
        help="sound files, or one folder with a sub-folder for each class",
    )
    encode.add_argument(
        "--to", type=Path, required=True, metavar="FILE.h5", help="HDF5 file to write"
    )
    encode.add_argument(
        "--label", default="recording", help="class of single files (default: recording)"
    )
    encode.add_argument(
        "--channels", type=int, default=700, help="channels of the cochlea (default: 700)"
    )
    encode.add_argument(
        "--resample",
        type=int,
        metavar="HZ",
        help="resample to this rate first (default: as recorded)",
    )
    encode.add_argument("--seed", type=int, default=0, help="seed of the nerve fibres (default: 0)")
    encode.add_argument(
        "--picture",
        type=Path,
        metavar="FILE",
        help="draw the first recording: wave, log-mel energies, spikes",
    )

    export = command("export", "Write the network of a run in another form, and compare it with the network on the test part.",
                     "  srnn export runs/ecg-seed0 --to c               C99 with float numbers: model.h, model.c, main.c, Makefile\n"
                     "  srnn export runs/ecg-seed0 --to c --bits 8      whole numbers only, weights of 8 bits\n"
                     "  srnn export runs/ecg-seed0 --to onnx            net.onnx (whole recordings) and cell.onnx (a step)\n"
                     "  srnn export runs/ecg-seed0 --to nir --rule euler    net.nir; torch and state write net.pt2 and net.safetensors\n\n"
                     "The folder also gets fidelity.json: bytes, time, agreement, accuracy before and after.")  # fmt: skip
    export.add_argument("run", type=Path, help="run folder")
    export.add_argument("--to", required=True, metavar="FORM", help="c, onnx, nir, torch or state")
    export.add_argument(
        "--bits",
        type=int,
        metavar="N",
        help="c: whole numbers, weights of 8 or 4 bits (default: float)",
    )
    export.add_argument(
        "--name", default="model", help="c: name of files, functions and types (default: model)"
    )
    export.add_argument(
        "--dt", type=float, metavar="S", help="nir: seconds of a step (default: the task's)"
    )
    export.add_argument(
        "--rule",
        default="exponential",
        help="nir: exponential or euler, what a step does to an equation (default: exponential)",
    )
    export.add_argument(
        "--recordings",
        type=int,
        metavar="N",
        help="compare on the first N recordings of the test part (default: all)",
    )
    export.add_argument(
        "--out", type=Path, metavar="FOLDER", help="where to write (default: RUN/export/FORM)"
    )
    data_option(export)

    stream = command("stream", "Run a trained network on live samples; one JSON line an event (docs/stream.md).",
                     "  sensor | srnn stream runs/ecg-seed1 --threshold 0.9 --hold 5\n"
                     "  srnn stream runs/ecg_sim-seed0 samples.csv --every 100 --calibrate 500\n"
                     "  srnn stream runs/fsdd-seed0 word.wav --speed 1\n"
                     "  srnn stream runs/my-seed0 serial:/dev/ttyUSB0:115200 --format i16 --scale 0.001\n"
                     "  srnn stream runs/my-seed0 listen:9000 --full drop-oldest --limit 100000")  # fmt: skip
    stream.add_argument("run", type=Path, help="run folder")
    stream.add_argument(
        "source",
        nargs="?",
        default="-",
        help="- (stdin), FILE, sound file, serial:PATH[:BAUD], tcp:HOST:PORT or listen:PORT",
    )
    stream.add_argument(
        "--format",
        default="lines",
        help="lines of numbers, or binary little-endian f32 or i16 (default: lines)",
    )
    stream.add_argument(
        "--input",
        default="auto",
        help="raw samples, encoded as the task does, or steps of the network (default: raw where it can)",
    )
    stream.add_argument(
        "--scale", type=float, default=1.0, help="factor on binary samples (default: 1)"
    )
    stream.add_argument(
        "--timed",
        action="store_true",
        help="lines begin with a time, by which missing samples are seen",
    )
    stream.add_argument(
        "--time-unit", metavar="UNIT", help="of that time: s, ms, us or ns (default: s)"
    )
    stream.add_argument(
        "--rate", type=float, metavar="HZ", help="samples a second (default: as the task has it)"
    )
    stream.add_argument(
        "--speed",
        type=float,
        metavar="N",
        help="read a file at N times real time (default: as fast as it goes)",
    )
    stream.add_argument(
        "--threshold", type=float, help="confidence from which a class counts as sure, 0 to 1"
    )
    stream.add_argument(
        "--hold",
        type=int,
        default=1,
        metavar="STEPS",
        help="steps it must last for a decision (default: 1)",
    )
    stream.add_argument(
        "--every", type=int, metavar="STEPS", help="also print the scores of every so many steps"
    )
    stream.add_argument(
        "--reset-every", type=int, metavar="STEPS", help="begin a new recording after so many steps"
    )
    stream.add_argument(
        "--window",
        type=int,
        metavar="SAMPLES",
        help="take every so many samples as a recording, encoded as a whole",
    )
    stream.add_argument(
        "--calibrate",
        type=int,
        metavar="SAMPLES",
        help="z-score by so many first samples (default: the length of a recording)",
    )
    stream.add_argument(
        "--gaps",
        default="hold",
        help="missing values and samples: hold, zero, drop or reset (default: hold)",
    )
    stream.add_argument(
        "--longest-gap",
        type=int,
        default=1000,
        metavar="SAMPLES",
        help="a longer gap begins a new recording (default: 1000)",
    )
    stream.add_argument(
        "--queue",
        type=int,
        default=4096,
        metavar="SAMPLES",
        help="samples that may wait (default: 4096)",
    )
    stream.add_argument(
        "--full",
        default="block",
        help="when they are: block the source, or drop-oldest (default: block)",
    )
    stream.add_argument("--limit", type=int, metavar="STEPS", help="stop after so many steps")
    stream.add_argument(
        "--state",
        type=Path,
        metavar="FILE",
        help="go on from this saved state where it exists; write it at the end",
    )
    stream.add_argument("--backend", default="auto", help="auto, cpu or reference (default: auto)")
    stream.add_argument(
        "--threads", type=int, default=1, metavar="N", help="threads of torch (default: 1)"
    )

    serve = command("serve", "Show a trained network at work on a live page in the browser (docs/serve.md).",
                    "  srnn serve runs/ecg-seed1                  recordings of the test part; a simulated ECG\n"
                    "  srnn serve runs/fsdd-seed0 word.wav        a file; the page can also take the browser's microphone\n"
                    "  srnn serve runs/ecg-seed1 --port 0 --json  a free port; one line of JSON with the URL when it is ready\n"
                    "  srnn serve runs/ecg-seed1 --host 0.0.0.0   to other machines, who need the token in the URL")  # fmt: skip
    serve.add_argument("run", type=Path, help="run folder")
    serve.add_argument(
        "file",
        nargs="?",
        help="play this first: .wav, .flac, or lines of numbers as `srnn stream` reads them",
    )
    serve.add_argument(
        "--host",
        default="127.0.0.1",
        help="address to listen on (default: 127.0.0.1, this machine alone)",
    )
    serve.add_argument(
        "--port", type=int, default=8765, help="port to listen on, 0 for a free one (default: 8765)"
    )
    serve.add_argument(
        "--token",
        help="word that the URL must have (default: none on this machine alone, else one is made)",
    )
    serve.add_argument("--backend", default="auto", help="auto, cpu or reference (default: auto)")
    serve.add_argument(
        "--threads", type=int, default=1, metavar="N", help="threads of torch (default: 1)"
    )
    data_option(serve)

    report = command("report", "Write one HTML file of a run, or of several side by side; it needs no network (docs/report.md).",
                     "  srnn report runs/ecg-seed1                     runs/ecg-seed1/report.html, as at the end of srnn train\n"
                     "  srnn report runs/ecg-seed* --out ecg.html      a comparison: mean and sd over seeds, accuracy against energy\n"
                     "  srnn report runs/ecg-sweep                     all runs in a folder\n"
                     "  srnn report runs/ecg-seed1 --figures figures   also every figure as an SVG file\n\n"
                     "An unfinished run gets a report that says so. What needs data that are not there is left out, with the reason.")  # fmt: skip
    report.add_argument(
        "runs", nargs="+", type=Path, metavar="RUN", help="run folders, or a folder of runs"
    )
    report.add_argument(
        "--out",
        type=Path,
        metavar="FILE",
        help="HTML file to write (default: report.html in the folder of the run, or of the runs)",
    )
    report.add_argument(
        "--figures", type=Path, metavar="FOLDER", help="also write every figure there as SVG"
    )
    report.add_argument(
        "--threads", type=int, default=1, metavar="N", help="threads of torch (default: 1)"
    )
    data_option(report)

    doctor = command(
        "doctor",
        "Say what works on this machine, and what to do about what does not.",
        "  srnn doctor\n  srnn doctor --data-dir data --json",
    )
    data_option(doctor)

    shells = (
        "  srnn completion bash     into ~/.local/share/bash-completion/completions/srnn\n"
        "  srnn completion zsh      into ~/.zfunc/_srnn, where ~/.zfunc is in $fpath\n"
        "  srnn completion fish     into ~/.config/fish/completions/srnn.fish"
    )
    completion = command(
        "completion",
        "Print a script that lets a shell complete commands, options and tasks.",
        shells,
    )
    completion.add_argument("shell", choices=("bash", "zsh", "fish"))
    completion.set_defaults(parser=parser)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code: 0, 1 = training diverged, 2 = bad input, 130 = interrupted."""
    reader = _parser()
    args = reader.read(sys.argv[1:] if argv is None else argv)
    if args.version:
        from srnn import __version__

        print(f"srnn {__version__}")
        return 0
    if args.command is None:
        reader.print_help()
        return 2
    try:
        code: int = importlib.import_module(f"srnn.cli.commands.{args.command}").run(args)
        return code
    except SrnnError as error:
        print(f"srnn {args.command}: {error}", file=sys.stderr)
        return 1 if isinstance(error, DivergedError) else 2
    except KeyboardInterrupt:
        print(f"srnn {args.command}: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader of our output has gone: nothing is left to say
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def run() -> None:
    """Run the command line as a program. A process of torchrun ends without the interpreter's own clean-up.

    One such process was once seen to abort in it ("terminate called without an active exception"), after its run was written; the cause is not known.
    """
    code = main()
    if "TORCHELASTIC_RUN_ID" in os.environ:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)


if __name__ == "__main__":
    run()
