"""The example program of an exported network: what it is given is numbers, or it ends with one
message and changes nothing silently. Built with sanitisers, played with everything that is none.
"""

from __future__ import annotations

import math
import re
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch

import srnn
from srnn import _build
from srnn._check import DataError, ShapeError
from srnn.export import CPlayer, to_c, to_integer
from srnn.export.c_player import STRICT, BuildError, compile_c
from srnn.neurons import ALIF

INPUTS = 3
SANITISED = (
    "-O1",
    "-Wconversion",
    "-Wshadow",
    "-Wdouble-promotion",
    "-fsanitize=undefined,address,float-cast-overflow",
    "-fno-sanitize-recover=all",
)
LONGEST = 32 * INPUTS + 63
MUTATIONS = 250

GOOD = b"0.5 -1 2\n1,2,3\n\n1e-3\t.5 , -2.\r\n+1 -0 1E2\n"
STEPS = [
    (b"", 0),
    (b"\n\n\r\n \t \n", 0),
    (GOOD, 4),
    (b"1 2 3", 1),
    (b"1 2 3\r", 1),
    (b" 1 ,\t2 3 \n", 1),
    (b"1e-400 3e38 -3e38\n", 1),
    (b"0" * (LONGEST - 4) + b" 1 2\n", 1),
    (GOOD * 500, 2000),
]
"""What can be played, and the steps it has."""
REFUSED = [
    (b"garbage\n", "not only numbers"),
    (b"1 2 x\n", "not only numbers"),
    (b"1 2 3 x\n", "not only numbers"),
    (b"nan 0 0\n", "not only numbers"),
    (b"0 inf 0\n", "not only numbers"),
    (b"0 0 -Infinity\n", "not only numbers"),
    (b"0x10 0 0\n", "not only numbers"),
    (b"1 2 3\0\n", "not only numbers"),
    (b"\0\n", "not only numbers"),
    (b"\0" * 4000, "too long"),
    (b"\xef\xbb\xbf1 2 3\n", "not only numbers"),
    (b"\xff\xfe1\0 \0", "not only numbers"),
    (b"1 2 3\r1 2 3\r", "not only numbers"),
    (b"1\x0b2 3\n", "not only numbers"),
    (b"1 2 3e\n", "not only numbers"),
    (b"1 2 +-3\n", "not only numbers"),
    (b". . .\n", "not only numbers"),
    (b"1-2-3\n", "not only numbers"),
    (b",1 2 3\n", "not only numbers"),
    (b"1,,2\n", "not only numbers"),
    (b",\n", "not only numbers"),
    (b"1,2,3,\n", "no number after the last comma"),
    (b"1e400 0 0\n", "a number that no float holds"),
    (b"-1e400 0 0\n", "a number that no float holds"),
    (b"3.5e38 0 0\n", "a number that no float holds"),
    (b"0" * LONGEST + b"1 2\n", "too long"),
    (b" " * 100_000 + b"\n", "too long"),
    (b"1" * 1_000_000, "too long"),
    (b"1 2\n", "2 numbers"),
    (b"1 2 3 4\n", "4 numbers"),
    (b"1 " * 70 + b"\n", "70 numbers"),
]
"""What cannot, and why."""


@pytest.fixture(scope="module")
def players(tmp_path_factory) -> dict[str, Path]:
    """The program in float and in whole numbers, every warning an error."""
    folder = tmp_path_factory.mktemp("player")
    (folder / "probe.c").write_text("int main(void) { return 0; }\n")
    try:
        compile_c((str(folder / "probe.c"), *SANITISED, "-o", str(folder / "probe")))
    except BuildError:
        count = 2 * (len(STEPS) + len(REFUSED) + MUTATIONS)
        pytest.skip(f"no sanitisers in this compiler: {count} inputs are not played")
    torch.manual_seed(0)
    net = srnn.Stack(srnn.Layer(INPUTS, 8, ALIF()), srnn.Readout(8, 2)).eval()
    sums = srnn.Stack(srnn.Readout(INPUTS, 2)).eval()
    with torch.no_grad():
        sums.parts()[0].weight.fill_(1e3)
    made = {}
    for name, bits, which in (("float", None, net), ("int8", 8, net), ("sums", None, sums)):
        where = folder / name
        to_c(which, where, bits=bits, calibration=torch.randn(2, 20, INPUTS))
        sources = (str(where / "main.c"), str(where / "model.c"))
        flags = (*STRICT, *_build.compiler().options, *SANITISED)
        assert compile_c((*sources, *flags, "-o", str(where / "play"), "-lm")) == ""
        made[name] = where / "play"
    return made


def play(program: Path, data: bytes) -> tuple[int, list[str], str]:
    """Return exit code, lines printed, and what was said."""
    done = subprocess.run([str(program)], input=data, capture_output=True, check=False)
    return done.returncode, done.stdout.decode().splitlines(), done.stderr.decode()


@pytest.mark.parametrize("kind", ["float", "int8"])
def test_numbers_are_played(players, kind):
    for data, steps in STEPS:
        code, out, err = play(players[kind], data)
        assert (code, len(out), err) == (0, steps, ""), data[:80]
        assert all(re.fullmatch(r"[01]( -?[\d.e+-]+){2}", line) for line in out)
    first = play(players[kind], GOOD)[1]
    assert play(players[kind], GOOD + b"\n" + GOOD)[1] == first * 2  # an empty line starts anew
    assert play(players[kind], b"0.5 -1 2\n0.5 -1 2\n")[1][1] != first[0]  # and nothing else


@pytest.mark.parametrize("kind", ["float", "int8"])
def test_what_is_no_step_ends_it_with_one_message(players, kind):
    """At once, and after steps that were played; the model is not reset and played on."""
    for data, why in REFUSED:
        for before, steps, number in ((b"", 0, 1), (GOOD, 4, 6)):
            code, out, err = play(players[kind], before + data + b"\n1 2 3\n")
            assert (code, len(out)) == (2, steps), data[:80]
            assert re.fullmatch(rf"line {number}: {why}; expected 3.*\n", err), (data[:80], err)


NUMBER = rb"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?"
STEP = re.compile(
    rb"[ \t]*(" + NUMBER + rb"([ \t]*,[ \t]*|[ \t]+)){%d}" % (INPUTS - 1) + NUMBER + rb"[ \t]*"
)


def expected(data: bytes) -> tuple[int, int]:
    """Return the exit code and the steps that are played, by the grammar and not by the program."""
    lines, steps = data.split(b"\n"), 0
    for line in lines[: len(lines) - (lines[-1] == b"")]:
        short = line[:-1] if line.endswith(b"\r") else line
        if len(line) > LONGEST or (short.strip(b" \t") and not STEP.fullmatch(short)):
            return 2, steps
        numbers = short.replace(b",", b" ").split()
        if any(abs(float(v)) > np.finfo(np.float32).max for v in numbers):
            return 2, steps
        steps += bool(numbers)
    return 0, steps


@pytest.mark.parametrize("kind", ["float", "int8"])
def test_mutated_input_is_played_or_refused_as_the_grammar_has_it(players, kind):
    rng, codes = np.random.default_rng(0), [0, 0]
    pieces = [
        b"nan",
        b"inf",
        b"1e400",
        b"\0",
        b"\r",
        b"\n",
        b",",
        b"\xef\xbb\xbf",
        b" " * 90,
        b"e9",
    ]
    for _ in range(MUTATIONS):
        data = bytearray(GOOD * int(rng.integers(1, 4)))
        for _ in range(rng.integers(1, 4)):
            k = int(rng.integers(len(data) + 1))
            choice = rng.integers(4)
            if choice == 0:
                data[k : k + 1] = bytes([rng.integers(256)])
            elif choice == 1:
                data[k:k] = pieces[rng.integers(len(pieces))]
            elif choice == 2:
                del data[k : k + int(rng.integers(1, 9))]
            else:
                data[k:k] = data[: rng.integers(len(data) + 1)]
        code, out, err = play(players[kind], bytes(data))
        wanted = expected(bytes(data))
        assert (code, len(out)) == wanted, (bytes(data), err)
        assert len(err.splitlines()) == (code != 0), err
        codes[code != 0] += 1
    assert sum(codes) == MUTATIONS
    assert min(codes) > MUTATIONS // 20, codes


def test_a_score_that_is_not_finite_is_said(players):
    """Numbers a float holds, of which the network makes one that it does not."""
    code, out, err = play(players["sums"], b"1 1 1\n3e38 3e38 3e38\n1 1 1\n")
    assert (code, len(out)) == (2, 1)
    assert err.startswith("line 2: a score that is not finite; ")
    assert len(err.splitlines()) == 1


def test_no_input_is_no_step_and_a_full_disk_is_said(players):
    assert play(players["float"], b"") == (0, [], "")
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full: one case is not tried")
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            [str(players["float"])], input=GOOD, stdout=full, stderr=subprocess.PIPE, check=False
        )
    assert (done.returncode, done.stderr) == (2, b"standard output cannot be written\n")


@pytest.mark.parametrize("bits", [None, 8])
def test_the_player_from_python_takes_finite_numbers_of_the_right_shape(tmp_path, bits):
    """A NaN as a whole number is undefined, a channel too few is read beyond the end."""
    net = srnn.Stack(srnn.Layer(INPUTS, 4, ALIF()), srnn.Readout(4, 2)).eval()
    x, lengths = torch.randn(2, 20, INPUTS), torch.tensor([20, 9])
    doors = [CPlayer(to_c(net, tmp_path, bits=bits, calibration=x))]
    if bits:
        doors.append(to_integer(net, bits, x))
    for play in doors:
        for bad in (math.nan, math.inf, -math.inf):
            wrong = x.clone()
            wrong[1, 8, 2] = bad
            with pytest.raises(DataError, match=r"at recording 1, step 8, channel 2"):
                play(wrong, lengths)
            wrong = x.clone()
            wrong[1, 9:] = bad  # beyond the end: it is not looked at
            assert torch.equal(play(wrong, lengths).potential, play(x, lengths).potential)
        with pytest.raises(ShapeError, match=r"expected \(B, T, C=3\)"):
            play(x[..., :2], lengths)
        with pytest.raises(ShapeError, match="lengths holds 21"):
            play(x, lengths + 1)
    with pytest.raises(ShapeError, match=r"x has shape \(20, 2\)"):
        doors[0].compiled.play(x[0, :, :2].numpy())
    if bits:
        with pytest.raises(DataError, match="to_integer: calibration: x is nan"):
            to_integer(net, bits, x * math.nan)
