"""The benchmark's own rules: equal firing rates, sums that are exact, the refusal without parity,
and what is counted.
"""

from __future__ import annotations

import dataclasses
import importlib
import itertools
import math
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

import srnn

sys.path.insert(0, str(Path(__file__).parent.parent))  # benchmarks/ is no part of the package

NAMES = [
    "calibrate",
    "footprint",
    "layout",
    "networks",
    "parity",
    "report",
    "shapes",
    "timing",
    "speed",
]
calibrate, footprint, layout, networks, parity, report, shapes, timing, speed = (
    importlib.import_module(f"benchmarks.{name}") for name in NAMES
)

TINY = shapes.Shape("tiny", 8, 60, 12, (16, 16), 3, 0.2)
ANALOG = dataclasses.replace(TINY, density=None)


def _reference(net: srnn.Stack, x: torch.Tensor) -> srnn.Output:
    return net(x, record=True, backend="reference")


def _tiny(shape: Any = TINY) -> tuple[srnn.Stack, torch.Tensor, torch.Tensor, tuple[float, ...]]:
    x, y = shape.data()
    net = networks.build(shape)
    return net, x, y, networks.calibrate(net, shape, x)


@pytest.mark.parametrize(
    "shape", [TINY, ANALOG, dataclasses.replace(TINY, rate=0.3)], ids=["events", "analog", "30 %"]
)
def test_every_hidden_layer_fires_at_the_wanted_rate(shape: Any) -> None:
    net, x, _, rates = _tiny(shape)
    low, high = shape.band
    assert len(rates) == 2
    assert all(low <= rate <= high for rate in rates)
    assert net(x, record=True).trace.rates()[:-1] == pytest.approx(rates, abs=0.01)


def test_the_shapes_are_those_of_the_table() -> None:
    sizes = {
        s.name: (s.batch, s.steps, *s.widths, s.classes, s.density, s.rate) for s in shapes.SHAPES
    }
    assert sizes == {
        "ECG": (64, 1301, 4, 36, 36, 6, 0.08, 0.1),
        "SHD": (64, 250, 700, 128, 128, 20, 0.02, 0.1),
        "SSC": (32, 250, 700, 400, 400, 35, 0.02, 0.1),
        "GSC": (64, 101, 120, 300, 300, 12, None, 0.1),
        "S-MNIST": (64, 784, 8, 256, 256, 10, 0.20, 0.1),
        "S-MNIST-30": (64, 784, 8, 256, 256, 10, 0.20, 0.3),
    }
    assert shapes.named(["shd"])[0].name == "SHD"
    with pytest.raises(shapes.BenchmarkError, match="unknown shape 'mnist'"):
        shapes.named(["mnist"])


def test_bands_are_five_to_fifteen_percent_and_follow_the_rate() -> None:
    assert TINY.band == pytest.approx((0.05, 0.15))
    assert dataclasses.replace(TINY, rate=0.3).band == pytest.approx((0.25, 0.35))
    with pytest.raises(
        shapes.BenchmarkError,
        match=r"peer, tiny: hidden layer 2 fires at "
        r"20\.0%; expected 5% to 15%",
    ):
        calibrate.check_rates("peer", TINY, (0.1, 0.2))
    with pytest.raises(shapes.BenchmarkError, match="hidden layer 1"):
        calibrate.check_rates("peer", TINY, (math.nan, 0.1))


def test_a_gain_is_found_from_either_side_and_its_absence_told() -> None:
    for wanted in (0.01, 0.3, 0.9):
        assert calibrate.find_gain(lambda gain: gain / (gain + 7), wanted) == pytest.approx(
            7 * wanted / (1 - wanted), rel=0.5
        )
    with pytest.raises(shapes.BenchmarkError, match="no gain makes a layer fire at 10"):
        calibrate.find_gain(lambda gain: 0.0, 0.1)
    with pytest.raises(shapes.BenchmarkError, match="no gain"):
        calibrate.find_gain(lambda gain: math.nan, 0.1)


@pytest.mark.parametrize("shape", [TINY, ANALOG], ids=["events", "analog"])
def test_sums_of_products_are_exact_in_any_order(shape: Any) -> None:
    net, x, _, _ = _tiny(shape)
    signals = [x, *net(x, record=True, backend="reference").trace.outputs]
    compared = 0
    for layer, inputs, own in zip(networks.hidden_layers(net), signals, signals[1:], strict=False):
        exact = (
            inputs.double() @ layer.weight.double().t()
            + own.double() @ layer.recurrent.double().t()
        )
        for order in (torch.arange(layer.inputs), torch.randperm(layer.inputs)):
            total = own @ layer.recurrent.t() + (inputs[..., order] @ layer.weight[:, order].t())
            assert torch.equal(total.double(), exact)
            compared += total.numel()
    assert compared == 2 * 2 * 8 * 60 * 16


def test_parity_holds_for_the_reference_itself_and_for_the_fused_backend() -> None:
    net, x, y, _ = _tiny()
    same = parity.compare(net, x, y, _reference, _reference)
    assert same.holds
    assert (same.recordings, same.unflipped, same.potential, same.gradient) == (8, 1.0, 0.0, 0.0)
    assert same.spikes > 500
    if speed.has_ours():
        compared = speed.check(net, x, y)
        assert speed.refusal(compared) == ""
        assert compared["spikes"] == same.spikes


def test_parity_refuses_wrong_spikes_potentials_and_gradients() -> None:
    net, x, y, _ = _tiny()

    def other_spikes(net: srnn.Stack, x: torch.Tensor) -> srnn.Output:
        return _reference(net, x * 1.2)

    def other_potential(net: srnn.Stack, x: torch.Tensor) -> srnn.Output:
        out = _reference(net, x)
        return out._replace(
            trace=dataclasses.replace(
                out.trace, potentials=tuple(p * 1.001 for p in out.trace.potentials)
            )
        )

    def other_gradient(net: srnn.Stack, x: torch.Tensor) -> srnn.Output:
        out = _reference(net, x)
        return out._replace(
            potential=out.potential.detach() + 1.01 * (out.potential - out.potential.detach())
        )

    def not_a_number(net: srnn.Stack, x: torch.Tensor) -> srnn.Output:
        out = _reference(net, x)
        return out._replace(potential=out.potential * torch.nan)

    for wrong, reason in (
        (other_spikes, "spikes agree in"),
        (other_potential, "potentials differ"),
        (other_gradient, "gradient of"),
        (not_a_number, "gradient of"),
    ):
        found = parity.compare(net, x, y, _reference, wrong)
        assert not found.holds
        assert reason in found.why()
        assert reason in speed.refusal(found.as_dict())
    assert speed.refusal(None) == speed.MISSING
    assert speed.refusal({"failed": "RuntimeError: no", "holds": False}) == "RuntimeError: no"


def test_one_flipped_recording_in_ten_is_let_through_and_left_out_of_the_gradient() -> None:
    shape = dataclasses.replace(TINY, batch=10)
    net, x, y, _ = _tiny(shape)

    def one_differs(net: srnn.Stack, x: torch.Tensor) -> srnn.Output:
        changed = x.clone()
        changed[3] = 1 - changed[3]
        return _reference(net, changed)

    found = parity.compare(net, x, y, _reference, one_differs)
    assert found.unflipped == pytest.approx(0.9)
    assert found.holds


def test_a_refused_row_prints_no_ratio() -> None:
    slow, fast = timing.Times([2.0, 2.2, 1.8]), timing.Times([0.1])
    assert report.ratio_cell(slow, fast, "") == "20.0×"
    assert report.ratio_cell(slow, fast, "gradient of x differs") == "refused"
    assert report.ratio_cell(slow, None, "") == "-"
    assert [report.seconds(s) for s in (0.0931, 2.53, math.nan)] == ["93.1 ms", "2.53 s", "-"]


def test_rounds_alternate_and_a_failing_step_is_left_out() -> None:
    calls = []

    def fails() -> None:
        calls.append("bad")
        raise RuntimeError("first line\nsecond line")

    times = timing.alternate(
        {"a": lambda: calls.append("a"), "bad": fails, "b": lambda: calls.append("b")}, rounds=2
    )
    assert calls == ["a", "bad", "b", "a", "b", "a", "b"]
    assert times["bad"].failed == "RuntimeError: first line"
    assert [len(times[name].rounds) for name in ("a", "bad", "b")] == [2, 0, 2]


def test_bytes_held_for_backward_count_each_storage_once() -> None:
    x, w = torch.randn(7, 5), torch.randn(5, 3, requires_grad=True)

    def loss() -> torch.Tensor:
        h = (x @ w).exp()  # keeps its result
        return (h * h).sum()  # keeps the same result, twice

    assert footprint.held_bytes(loss, x, w) == 7 * 3 * 4
    step = networks.ours(networks.build(TINY), *TINY.data(), backend="reference")
    assert 8 < footprint.per_neuron(footprint.held_by(step), TINY) < 60


def test_dense_products_are_all_products_of_a_step() -> None:
    rows, ends = TINY.batch * TINY.steps, (*TINY.widths, TINY.classes)
    forward = [a * b for a, b in itertools.pairwise(ends)]
    wanted = 2 * rows * (3 * sum(forward) - forward[0] + 3 * sum(n * n for n in TINY.hidden))
    products = networks.DenseProducts(TINY)
    assert products.flop == wanted
    products()


def test_steps_leave_the_weights_where_they_were() -> None:
    net, x, y, rates = _tiny()
    before = [p.clone() for p in net.parameters()]
    step = networks.ours(net, x, y, "reference")
    assert step() == pytest.approx(step(), rel=1e-4)
    moved = [
        float((p - b).abs().max().detach()) for p, b in zip(net.parameters(), before, strict=True)
    ]
    assert len(moved) == 13
    assert 0 < max(moved) < 1e-5
    assert net(x, record=True, backend="reference").trace.rates()[:-1] == pytest.approx(
        rates, abs=0.01
    )


def test_the_layout_is_counted_as_it_is_contracted(capsys, monkeypatch):
    """Every arrow that is counted leads down; floors hold the rooms that there are."""
    floors = layout.floors(layout.ROOT)
    level = {room: k for k, floor in enumerate(floors) for room in floor}
    found = layout.arrows(layout.ROOT / "src" / "srnn")
    assert len(found) > 100
    assert {("nn", "kernels"), ("cli", "tasks"), ("report", "training")} <= found
    assert [(a, b) for a, b in found if level[a] >= level[b]] == []
    made = layout.counts(layout.ROOT)
    assert made["rooms"] == len(level)
    assert made["arrows between rooms"] == len(found)
    assert made["modules at the top level"] <= 22
    monkeypatch.setattr(sys, "argv", ["layout"])
    layout.main()
    shown = capsys.readouterr().out
    assert f"{'floors':26}{len(floors):16,}" in shown
    assert "surrogates | init | processes" in shown
