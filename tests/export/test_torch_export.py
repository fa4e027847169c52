"""Programs of torch.export give what the network gives, with free batch and free length, also where
this package is not there.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import srnn
from srnn import cells
from srnn._check import ConfigError
from srnn.activations import Identity
from srnn.export.torch_export import to_torch
from srnn.nn import baselines

C, N, K = 3, 7, 2
LENGTHS = torch.tensor([12, 0, 5, 1])


def spiking() -> srnn.Stack:
    torch.manual_seed(0)
    first = srnn.Layer(C, N, srnn.ALIF(), recurrent_bias=True)
    with torch.no_grad():
        first.weight.mul_(3)
    return (
        srnn.Stack(
            first,
            srnn.Layer(N, N, srnn.AdEx(u_rest=0.1), norm=srnn.BatchNorm(), dropout=0.5),
            srnn.Readout(N, K),
        )
        .double()
        .eval()
    )


def gated() -> srnn.Stack:
    torch.manual_seed(0)
    return srnn.Stack(
        srnn.Layer(C, N, cells.LSTM(), Identity()),
        baselines.CausalConv(N, N, 2),
        baselines.CumulativeReadout(N, K),
    ).eval()


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return to_torch(spiking(), tmp_path_factory.mktemp("torch") / "net.pt2")


def signal(batch: int = 4, steps: int = 12) -> Tensor:
    return torch.randn(
        batch, steps, C, generator=torch.Generator().manual_seed(steps), dtype=torch.float64
    )


def loaded(path: Path) -> tuple[Any, dict[str, Any]]:
    files = {"srnn.json": ""}
    program = torch.export.load(path, extra_files=files)
    return program.module(), json.loads(files["srnn.json"])


def same(got: Any, out: srnn.Output) -> None:
    torch.testing.assert_close(got[0], out.potential, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(got[1], out.output, rtol=1e-10, atol=1e-10)
    assert len(got[2]) == len(out.state)
    for a, b in zip(got[2], out.state, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-10)


@torch.no_grad()
def test_whole_recordings(whole: Path) -> None:
    net = spiking()
    program, about = loaded(whole)
    assert about["form"] == "scan"
    assert net(signal(), record=True).trace.rates()[0] > 0.05
    for x, lengths in (
        (signal(), LENGTHS),
        (signal(2, 30), torch.tensor([30, 7])),
        (signal(1, 1), torch.tensor([1])),
    ):
        same(program(x, lengths), net(x, lengths, backend="reference"))
    spoilt = signal()
    spoilt[1:, 5:] = torch.nan
    same(program(spoilt, LENGTHS), net(signal(), LENGTHS, backend="reference"))


@torch.no_grad()
@pytest.mark.parametrize("make", [spiking, gated])
def test_cell(make: Callable[[], srnn.Stack], tmp_path: Path) -> None:
    net = make()
    dtype = next(net.parameters()).dtype
    x = signal().to(dtype)
    program, about = loaded(to_torch(net, tmp_path / "cell.pt2", form="cell"))
    state = tuple(
        {k: torch.tensor(v, dtype=dtype).expand(len(x), -1) for k, v in part.items()}
        for part in about["start"]
    )
    for a, b in zip(state, net.start(len(x)), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=0)
    for t in range(x.shape[1]):
        same_step = net(x[:, t : t + 1], state=state, backend="reference")
        potential, output, state = program(x[:, t], state)
        torch.testing.assert_close(potential, same_step.potential[:, 0], rtol=0, atol=0)
        torch.testing.assert_close(output, same_step.output[:, 0], rtol=0, atol=0)
    for a, b in zip(state, same_step.state, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=0)


@torch.no_grad()
def test_a_number_of_steps(tmp_path: Path) -> None:
    torch.manual_seed(0)
    net = (
        srnn.Stack(
            srnn.Bidirectional(
                srnn.Layer(C, N, srnn.SoftLIF(threshold=0.3), norm=srnn.BatchNorm())
            ),
            srnn.Readout(2 * N, K),
        )
        .double()
        .eval()
    )
    program, about = loaded(to_torch(net, tmp_path / "net.pt2", steps=2))
    assert about["steps"] == 2
    for batch in (1, 5):
        out = net(signal(batch, 2), backend="reference")
        got = program(signal(batch, 2))
        torch.testing.assert_close(got[0], out.potential, rtol=1e-5, atol=1e-5)


def test_runs_without_this_package(whole: Path, tmp_path: Path) -> None:
    net = spiking()
    code = (
        "import sys, torch\n"
        "sys.modules['srnn'] = None\n"
        f"program = torch.export.load({str(whole)!r}).module()\n"
        f"x, lengths, wanted = torch.load({str(tmp_path / 'x.pt')!r})\n"
        "torch.testing.assert_close(program(x, lengths)[0], wanted, rtol=1e-5, atol=1e-5)\n"
        "print('the same')\n"
    )
    with torch.no_grad():
        torch.save(
            (signal(), LENGTHS, net(signal(), LENGTHS, backend="reference").potential),
            tmp_path / "x.pt",
        )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, check=False
    )
    assert done.stdout == "the same\n", done.stderr


def test_refusals(tmp_path: Path) -> None:
    net = srnn.Stack(srnn.Bidirectional(srnn.Layer(C, N, srnn.LIF())), srnn.Readout(2 * N, K))
    with pytest.raises(ConfigError, match=r"without steps=: layer 0 is bidirectional"):
        to_torch(net, tmp_path / "net.pt2")
    with pytest.raises(ConfigError, match="layer 0 is bidirectional"):
        to_torch(net, tmp_path / "net.pt2", form="cell")
    with pytest.raises(ConfigError, match="a cell is one step"):
        to_torch(spiking(), tmp_path / "net.pt2", form="cell", steps=3)
    with pytest.raises(ConfigError, match="there is no 'whole'"):
        to_torch(spiking(), tmp_path / "net.pt2", form="whole")
    assert list(tmp_path.iterdir()) == []
