"""Every reader on mutated files: python -m benchmarks.fuzz --tries 10000 [--only NAME …].

A reader writes its files once, made up; then one of them is changed, and all is read, each time in
one of the ways of `mutated`. It may give data, or refuse with a `SrnnError`. Counted are:

    read       the change did no harm, or cannot be seen
    refused    a SrnnError
    traceback  anything else that was raised: a fault
    hang       no answer within the limit: a fault
    memory     MemoryError under the limit of the process: a fault

A new reader is one line in `READERS`: the name, what writes its files into a folder, what reads
them all, and which files are changed. The tests run a few tries of each.
"""

from __future__ import annotations

import argparse
import contextlib
import gzip
import io
import json
import math
import os
import random
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
import warnings
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from srnn._check import SrnnError

SECONDS = 20.0
"""A try that computes longer hangs; so does one that takes ten times as long by the clock."""

MEMORY = 6 << 30
"""Bytes of address space that a process of `--memory` may add; what a file claims is kept below it
by $SRNN_MAX_BYTES.
"""


@dataclass(frozen=True)
class Reader:
    """name. write(folder): the files, whole. read(folder): reads all of them. files: patterns of
    those that are changed. changes: whether reading itself writes into the folder.
    """

    name: str
    write: Callable[[Path], object]
    read: Callable[[Path], object]
    files: tuple[str, ...]
    changes: bool = False


def _all(recordings: Any) -> int:
    return sum(1 for _ in recordings)


def _run(folder: Path) -> None:
    """A run of two epochs."""
    from srnn import tasks
    from srnn.tasks.settings import override
    from srnn.training.train import fit

    settings = [
        "epochs=2",
        "network.hidden=[4]",
        "data.train=6",
        "data.validation=3",
        "data.test=3",
    ]
    fit(override(tasks.load("ecg_sim"), [*settings, "data.steps=40", "batch=3"]), folder / "run")


def _commands(folder: Path) -> None:
    """What is done with a run: evaluate, energy, report; none of it changes the run."""
    from srnn.cli.main import main

    run = str(folder / "run")
    for words in (
        ["energy", run],
        ["report", run, "--out", str(folder / "report.html")],
        ["evaluate", run],
    ):
        _ended(main(words))


def _loaded(folder: Path) -> None:
    """What every command reads of a run, without drawing or evaluating."""
    from srnn.report.read import read_run
    from srnn.training.runs import load_run

    load_run(folder / "run")
    found = read_run(folder / "run")
    assert found.activity is not None, "the run is finished"


def _resumed(folder: Path) -> None:
    from srnn.cli.main import main

    _ended(main(["train", "ecg_sim", "--resume", "--out", str(folder / "run")]))


def _ended(code: int) -> None:
    """The command line has said its error itself: 2."""
    if code:
        raise SrnnError(f"the command ended with {code}")


def _net(inputs: int = 2) -> Any:
    import torch

    import srnn

    torch.manual_seed(0)
    return srnn.Stack(srnn.Layer(inputs, 3, srnn.ALIF()), srnn.Readout(3, 2)).eval()


def _stream(folder: Path) -> None:
    import torch

    from srnn.stream import Stream

    stream = Stream(_net())
    stream.push(torch.rand(1, 5, 2))
    stream.save(folder / "state")


def _stream_read(folder: Path) -> None:
    import torch

    from srnn.stream import Stream

    stream = Stream(_net())
    stream.load(folder / "state")
    stream.push(torch.rand(1, 5, 2))


def _wfdb(folder: Path) -> None:
    import wfdb

    place = folder / "qtdb/1.0.0"
    place.mkdir(parents=True)
    wave = np.sin(np.arange(2000)[:, None] / 20) * np.array([1.0, 0.5])
    wfdb.wrsamp("sel1", 250, ["mV"] * 2, ["I", "II"], wave, fmt=["212"] * 2, write_dir=str(place))
    wave_of = (
        (10, "("),
        (20, "p"),
        (30, ")"),
        (50, "("),
        (60, "N"),
        (70, ")"),
        (99, "t"),
        (130, ")"),
    )
    marks = [(k * 200 + at, symbol) for k in range(9) for at, symbol in wave_of]
    at, symbols = zip(*marks, strict=True)
    wfdb.wrann("sel1", "atr", np.array(at), list(symbols), write_dir=str(place))
    (place / "sel1.atr").rename(place / "sel1.q1c")


def _qtdb(folder: Path) -> int:
    from srnn.datasets import qtdb

    return len(qtdb.read_record(folder, "sel1").signal)


def _archive(folder: Path) -> None:
    import zipfile

    with zipfile.ZipFile(folder / "a.zip", "w", zipfile.ZIP_DEFLATED) as file:
        for k in range(3):
            file.writestr(f"inner/{k}.txt", "some text\n" * 50)


def _extract(folder: Path) -> None:
    from srnn.datasets._archive import extract

    extract(folder / "a.zip", folder / "out", limit=1 << 20)


def _nir(folder: Path) -> None:
    import torch

    import srnn
    from srnn.export.nir import to_nir

    torch.manual_seed(0)
    net = srnn.Stack(srnn.Layer(2, 3, srnn.LIF(), recurrent=False), srnn.Readout(3, 2))
    to_nir(net, folder / "net.nir", dt=0.001, rule="euler")


def _nir_read(folder: Path) -> object:
    from srnn.export.nir_read import from_nir

    return from_nir(folder / "net.nir")


def _state(folder: Path) -> object:
    from srnn.export.state import to_state

    return to_state(_net(), folder / "net.safetensors")


def _state_read(folder: Path) -> None:
    import torch

    from srnn.export.state_play import StatePlayer

    StatePlayer(folder / "net.safetensors")(torch.zeros(1, 4, 2))


def _sets() -> Iterator[Reader]:
    from srnn.datasets import (
        fsdd,
        hd,
        mnist,
        own,
        qtdb,
        shd,
        soli,
        speech_commands,
        ssc,
        timit,
    )

    def recordings(module: Any) -> Callable[[Path], int]:
        return lambda folder: _all(module.read(folder, "train"))

    def mine(kind: Any, name: str, *files: str) -> Reader:
        where = "" if kind in ("csv", "wav") else f"x.{kind}"
        return Reader(
            name,
            lambda folder: own.made_up(folder / where, kind),
            lambda folder: _all(own.read(folder / where).recordings),
            files or (where,),
        )

    yield Reader(
        "fsdd", fsdd.made_up, lambda f: _all(fsdd.read_all(f)), ("fsdd/recordings/*_7.wav",)
    )
    yield Reader("hd", hd.made_up, recordings(hd), ("hd/audio/*.flac", "hd/*.txt"))
    yield Reader("mnist", mnist.made_up, recordings(mnist), ("mnist/train-*.gz",))
    yield Reader(
        "qtdb, encoded",
        qtdb.made_up,
        lambda f: _all(qtdb.encoded(f, "train")),
        ("qtdb/*train.mat",),
    )
    yield Reader("qtdb, WFDB", _wfdb, _qtdb, ("qtdb/1.0.0/*",))
    yield Reader("shd", shd.made_up, recordings(shd), ("shd/shd_train.h5",))
    yield Reader("ssc", ssc.made_up, recordings(ssc), ("ssc/ssc_train.h5",))
    yield Reader("soli", soli.made_up, recordings(soli), ("soli/dsp/*.h5", "soli/*.json"))
    yield Reader(
        "speech_commands",
        speech_commands.made_up,
        recordings(speech_commands),
        ("speech_commands/*/yes/*.wav", "speech_commands/*/*_list.txt"),
    )
    yield Reader(
        "timit",
        timit.made_up,
        recordings(timit),
        ("timit/TRAIN/*/*/SX*.WAV", "timit/TRAIN/*/*/SX*.PHN"),
    )
    yield mine("npz", "own, npz")
    yield mine("csv", "own, csv", "00*.csv", "labels.csv")
    yield mine("wav", "own, wav", "circle/*.wav")
    yield mine("h5", "own, spikes")


def readers() -> list[Reader]:
    """Return every reader; a new one is one line here."""
    return [
        *_sets(),
        Reader("archive", _archive, _extract, ("a.zip",)),
        Reader(
            "run, read",
            _run,
            _commands,
            ("run/*.json", "run/log.jsonl", "run/checkpoints/best*"),
            True,
        ),
        Reader(
            "run, load", _run, _loaded, ("run/*.json", "run/log.jsonl", "run/checkpoints/best*")
        ),
        Reader(
            "run, resume",
            _run,
            _resumed,
            ("run/*.json", "run/log.jsonl", "run/checkpoints/*"),
            True,
        ),
        Reader("stream state", _stream, _stream_read, ("state",)),
        Reader("NIR", _nir, _nir_read, ("net.nir",)),
        Reader("exported state", _state, _state_read, ("net.json", "net.safetensors")),
    ]


# ── mutations ─────────────────────────────────────────────────────────────────────────────────────

_VALUES: tuple[Any, ...] = (
    None, True, 0, -1, 3, 10**18, 2**63, 10**400, 1e308, math.inf, math.nan, 0.5,
    "", "x", "\ud800", "\0", "../..", [], [[]], {}, {"is": "x"}, [None] * 9, {"": {}},
)  # fmt: skip
_TEXTS = (
    b"",
    b"[" * 100_000,
    b"3",
    b"null",
    b"{}",
    b"[]",
    b'"x"',
    b"\xff\xfe\x00",
    b'{"epoch": 7}\n',
)


def mutated(data: bytes, name: str, draw: random.Random) -> bytes | None:
    """Return the content of a file, changed; None stands for a folder in its place.

    Bytes are flipped, cut, copied, zeroed, made extreme; text of JSON stays JSON, with a value of
    another kind somewhere, also in the metadata of a safetensors file, whose checksum is then made
    anew, or not; what gzip holds is changed inside.
    """
    kind = draw.random()
    if kind < 0.01:
        return None
    if kind < 0.04:
        return draw.choice(_TEXTS)
    if name.endswith((".json", ".jsonl")) and kind < 0.8:
        return _json_mutated(data, draw)
    if (name.endswith(".safetensors") or name == "state") and kind < 0.6:
        return _safetensors_mutated(data, draw)
    if name.endswith(".gz") and kind < 0.6:
        with contextlib.suppress(OSError, EOFError):
            return gzip.compress(_bytes_mutated(gzip.decompress(data), draw), 1)
    if name.endswith(".npz") and kind < 0.6:
        return _zip_mutated(data, draw)
    if name.endswith(".mat") and kind < 0.6:
        return _matlab_mutated(data, draw)
    return _bytes_mutated(data, draw)


def _zip_mutated(data: bytes, draw: random.Random) -> bytes:
    """Change what a member holds; its checksum is right again."""
    made = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(made, "w") as new:
        chosen = draw.choice(old.namelist())
        for name in old.namelist():
            content = old.read(name)
            new.writestr(name, _bytes_mutated(content, draw) if name == chosen else content)
    return made.getvalue()


def _matlab_mutated(data: bytes, draw: random.Random) -> bytes:
    """Change what a packed element holds."""
    made, at, elements = data[:128], 128, list[bytes]()
    while at + 8 <= len(data):
        size = int.from_bytes(data[at + 4 : at + 8], "little")
        elements.append(zlib.decompress(data[at + 8 : at + 8 + size]))
        at += 8 + size
    chosen = draw.randrange(len(elements))
    for k, element in enumerate(elements):
        packed = zlib.compress(_bytes_mutated(element, draw) if k == chosen else element)
        made += (15).to_bytes(4, "little") + len(packed).to_bytes(4, "little") + packed
    return made


def _bytes_mutated(data: bytes, draw: random.Random) -> bytes:
    made = bytearray(data)
    for _ in range(draw.choice((1, 1, 1, 2, 4, 16))):
        at, how = draw.randrange(len(made) + 1), draw.randrange(8)
        if draw.random() < 0.5:  # headers are where sizes are
            at = min(at, draw.randrange(256))
        size = draw.choice((1, 1, 2, 4, 8, 64))
        if how == 0 and at < len(made):
            made[at] ^= 1 << draw.randrange(8)
        elif how == 1:
            made[at : at + size] = draw.randbytes(size)
        elif how == 2:
            made[at : at + size] = bytes(size)
        elif how == 3:
            made[at : at + size] = b"\xff" * size
        elif how == 4:
            del made[at : at + size]
        elif how == 5:
            made[at:at] = made[at : at + size]
        elif how == 6:
            del made[at:]
        else:
            number = draw.choice((0, 1, 2**15, 2**31 - 1, 2**32 - 1, 2**63 - 1))
            made[at : at + 8] = number.to_bytes(8, draw.choice(("little", "big")))
    return bytes(made)


def _json_mutated(data: bytes, draw: random.Random) -> bytes:
    lines = data.decode().splitlines() if data.count(b"\n{") else [data.decode()]
    at = draw.randrange(len(lines))
    try:
        value = json.loads(lines[at])
    except ValueError:
        return _bytes_mutated(data, draw)
    lines[at] = json.dumps(_changed(value, draw))
    return "\n".join(lines).encode("utf-8", "surrogatepass")


def _changed(value: Any, draw: random.Random) -> Any:
    """Return JSON with one place changed: another value, a key less, an item more."""
    if isinstance(value, dict | list) and value and draw.random() < 0.85:
        made: Any = value.copy()
        at = draw.choice(list(made) if isinstance(made, dict) else range(len(made)))
        if draw.random() < 0.15:
            del made[at]
        else:
            made[at] = _changed(made[at], draw)
        return made
    if isinstance(value, int | float) and draw.random() < 0.3:
        return draw.choice((-value, value + 1, value * 1000, float(value) / 3, str(value)))
    return draw.choice(_VALUES)


def _safetensors_mutated(data: bytes, draw: random.Random) -> bytes:
    """Change the JSON beside the tensors, or a tensor, and give the file a right checksum."""
    import torch
    from safetensors.torch import load, save

    from srnn._files._tensors import checksum

    size = int.from_bytes(data[:8], "little")
    head = json.loads(data[8 : 8 + size])
    about = head.get("__metadata__", {}).get("srnn", "{}")
    tensors = load(data)
    if draw.random() < 0.5:
        about = json.dumps(_changed(json.loads(about), draw))
    else:
        name = draw.choice(sorted(tensors))
        t = tensors[name]
        change = draw.randrange(5)
        if change == 0:
            tensors[name] = t.to(
                draw.choice((torch.bfloat16, torch.float64, torch.int64, torch.bool))
            )
        elif change == 1:
            tensors[name] = torch.full_like(t, draw.choice((-1, 3, 100)))
        elif change == 2 and t.is_floating_point():
            tensors[name] = torch.full_like(t, draw.choice((math.nan, math.inf, 1e30)))
        elif change == 3:
            tensors[name] = t.reshape(-1)[:0]
        else:
            del tensors[name]
    with contextlib.suppress(UnicodeEncodeError):
        return save(tensors, {"srnn": about, "sha256": checksum(tensors, about)})
    return data[: draw.randrange(len(data))]


# ── tries ─────────────────────────────────────────────────────────────────────────────────────────


@dataclass
class Counts:
    """What came of the tries of a reader. faults: the first few, in words."""

    name: str
    found: Counter[str] = field(default_factory=Counter)
    faults: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0

    @property
    def bad(self) -> int:
        """Faults."""
        return sum(self.found[kind] for kind in ("traceback", "hang", "memory"))


class _Hang(BaseException):
    """The limit of a try is over."""


@contextlib.contextmanager
def _limited(seconds: float) -> Iterator[None]:
    def over(*_: object) -> None:
        raise _Hang

    timers = {
        signal.SIGPROF: (signal.ITIMER_PROF, seconds),
        signal.SIGALRM: (signal.ITIMER_REAL, 10 * seconds),
    }
    before = {number: signal.signal(number, over) for number in timers}
    for timer, limit in timers.values():
        signal.setitimer(timer, limit)
    try:
        yield
    finally:
        for timer, _ in timers.values():
            signal.setitimer(timer, 0)
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def _environment(name: str, value: str) -> Iterator[None]:
    before = os.environ.get(name)
    os.environ[name] = value
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before


def attempt(reader: Reader, folder: Path, seconds: float = SECONDS) -> tuple[str, str]:
    """Read once; return what came of it, and of a fault the last lines of its traceback."""
    quiet = io.StringIO()
    try:
        with (
            _limited(seconds),
            warnings.catch_warnings(),
            contextlib.redirect_stdout(quiet),
            contextlib.redirect_stderr(quiet),
        ):
            warnings.simplefilter("ignore")
            reader.read(folder)
    except SrnnError:
        return "refused", ""
    except _Hang:
        return "hang", f"no answer within {seconds:g} s"
    except MemoryError:
        return "memory", traceback.format_exc(limit=-3)
    except (Exception, SystemExit) as error:
        place = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{Path(place.filename).name}:{place.lineno}"
        own = [f for f in traceback.extract_tb(error.__traceback__) if "/srnn/" in f.filename]
        ours = f"{Path(own[-1].filename).name}:{own[-1].lineno}" if own else ""
        return "traceback", f"{type(error).__name__} at {where} (from {ours}): {str(error)[:160]}"
    return "read", ""


def fuzz(
    reader: Reader, tries: int, seed: int = 0, seconds: float = SECONDS, most: float = math.inf
) -> Counts:
    """Try a reader on `tries` changed files; the same seed makes the same changes.

    seconds: of a try, before it hangs. most: seconds after which no other try begins.
    """
    counts, began = Counts(reader.name), time.monotonic()
    with (
        tempfile.TemporaryDirectory(prefix="srnn-fuzz-") as place,
        _environment("SRNN_MAX_BYTES", str(1 << 28)),
    ):
        whole = Path(place) / "whole"
        whole.mkdir()
        with contextlib.redirect_stdout(io.StringIO()):
            reader.write(whole)
        files = sorted(p for pattern in reader.files for p in whole.glob(pattern))
        assert files, f"{reader.name}: no file is called {reader.files}"
        state, wrong = attempt(reader, Path(shutil.copytree(whole, Path(place) / "as-it-is")))
        assert state == "read", f"{reader.name} cannot read its own files: {state} {wrong}"
        for k in range(tries):
            if time.monotonic() - began > most:
                break
            draw = random.Random(f"{seed} {reader.name} {k}")
            chosen = draw.choice(files).relative_to(whole)
            folder = Path(place) / "try"
            shutil.copytree(
                whole, folder, copy_function=shutil.copy2 if reader.changes else os.link
            )
            data = mutated((whole / chosen).read_bytes(), chosen.name, draw)
            (folder / chosen).unlink()
            (folder / chosen).mkdir() if data is None else (folder / chosen).write_bytes(data)
            state, wrong = attempt(reader, folder, seconds)
            counts.found[state] += 1
            if wrong:
                counts.faults.setdefault(wrong, f"seed {seed}, try {k}, {chosen}")
            shutil.rmtree(folder)
    counts.seconds = time.monotonic() - began
    return counts


def main() -> int:
    """Print a row a reader; 1 where there is a fault."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tries", type=int, default=1000, help="of each reader")
    parser.add_argument("--most", type=float, default=math.inf, help="seconds for each reader")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="*", metavar="NAME", help="readers whose names begin so")
    parser.add_argument("--memory", action="store_true", help="also bound the address space")
    args = parser.parse_args()
    if args.memory:
        now = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (now + MEMORY, resource.RLIM_INFINITY))
    bad = 0
    kinds = ("read", "refused", "traceback", "hang", "memory")
    print(f"{'reader':20}" + "".join(f"{kind:>10}" for kind in kinds) + "   seconds", flush=True)
    for reader in readers():
        if args.only and not reader.name.startswith(tuple(args.only)):
            continue
        counts = fuzz(reader, args.tries, args.seed, most=args.most)
        row = "".join(f"{counts.found[kind]:10}" for kind in kinds)
        print(f"{reader.name:20}{row}{counts.seconds:10.0f}", flush=True)
        for fault, where in list(counts.faults.items())[:20]:
            print(f"    {fault}   [{where}]", flush=True)
        bad += counts.bad
    largest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{bad} faults; the process was at most {largest:.0f} MiB")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
