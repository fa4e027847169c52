"""Activation checkpointing over time segments: the same results and gradients, the state handed on
with its gradient, much less held in memory.
"""

from __future__ import annotations

import doctest
import itertools
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode

from srnn import BatchNorm, Bidirectional, Layer, LayerNorm, Readout, Stack, init
from srnn._check import ConfigError, ShapeError
from srnn.activations import Spike
from srnn.neurons import ALIF, LIF, AdLIF
from srnn.nn.networks import Output, UniformStart, detached, piece_lengths

B, T, C = 4, 23, 4
"""With widths 4 and 36 the product W x of torch gives a row the same bits whatever the other rows
are; not so with, say, 9 → 7.
"""


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)


def net(dtype: torch.dtype = torch.float32, **kwargs) -> Stack:
    neuron = ALIF(init.Normal(4.0, 0.5), init.Normal(9.0, 1.0), 0.05)
    kwargs["dtype"] = dtype
    layers = (
        Layer(C, 36, neuron, recurrent_bias=True, **kwargs),
        Layer(36, 36, LIF(threshold=0.05), **kwargs),
        Readout(36, 6, dtype=dtype),
    )
    return Stack(*layers)


def recordings(dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor]:
    """A padded batch: a whole recording, one that ends within a segment, one that ends where one
    ends, and an empty one; NaN behind.
    """
    x, lengths = torch.randn(B, T, C, dtype=dtype), torch.tensor([T, 13, 10, 0])
    x[torch.arange(T) >= lengths.unsqueeze(1)] = torch.nan
    return x, lengths


def tensors(out: Output) -> list[Tensor]:
    trace = (
        []
        if out.trace is None
        else [out.trace.input, *out.trace.outputs, *out.trace.potentials, out.trace.lengths]
    )
    return [out.potential, out.output, *(v for part in out.state for v in part.values()), *trace]


def gradients(
    stack: Stack, out: Output, x: Tensor, start: tuple[dict[str, Tensor], ...]
) -> list[Tensor]:
    """Of a loss that reads every step, the final state and, where there is one, the trace: by
    weights, input and start.
    """
    loss = sum(
        (value.double().sin() * torch.arange(1, value.numel() + 1).view_as(value).cos()).sum()
        for value in tensors(out)
        if value.requires_grad
    )
    wanted = [*stack.parameters(), x, *(v for part in start for v in part.values())]
    return list(torch.autograd.grad(loss, wanted, allow_unused=False))


@pytest.mark.parametrize(("dtype", "within"), [(torch.float32, 1e-6), (torch.float64, 1e-12)])
@pytest.mark.parametrize("segment", [1, 5, T + 9])
def test_segments_give_the_whole(segment, dtype, within):
    """Outputs, trace and final state bit by bit; the gradient by every weight, by the input and by
    the start within rounding.
    """
    compared = 0
    for padded, record in itertools.product([False, True], [False, True]):
        stack, (x, lengths) = net(dtype), recordings(dtype)
        x, given = (x, lengths) if padded else (x.nan_to_num(), None)
        x.requires_grad_()
        start = tuple(
            {k: v.requires_grad_() for k, v in part.items()}
            for part in UniformStart(0.0, 0.1, graded=True)(stack, B)
        )
        whole = stack(x, given, state=start, record=record)
        cut = stack(x, given, state=start, record=record, segment=segment)
        assert whole.trace is None or sum(whole.trace.rates()[:2]) > 0.1
        for a, b in zip(tensors(whole), tensors(cut), strict=True):
            assert torch.equal(a, b)
            compared += 1
        for a, b in zip(
            gradients(stack, whole, x, start), gradients(stack, cut, x, start), strict=True
        ):
            assert bool(torch.isfinite(b).all())
            assert float((a - b).abs().max()) <= within * max(1.0, float(a.abs().max()))
            compared += 1
    assert compared > 100


def test_the_gradient_crosses_segments():
    """It is the whole gradient, not a truncated one: the first step has a gradient
    from the last.
    """
    stack, x = net(), recordings()[0].nan_to_num().requires_grad_()
    stack(x, segment=5).potential[:, -1].sum().backward()
    assert float(x.grad[:, 0].abs().max()) > 0


def test_widths_whose_product_depends_on_the_number_of_rows():
    stack = Stack(
        Layer(4, 9, ALIF(), dtype=torch.float64),
        Layer(9, 7, LIF(threshold=0.05), dtype=torch.float64),
        Readout(7, 3, dtype=torch.float64),
    )
    x, lengths = recordings(torch.float64)
    for a, b in zip(
        tensors(stack(x, lengths, record=True)),
        tensors(stack(x, lengths, record=True, segment=5)),
        strict=True,
    ):
        torch.testing.assert_close(a, b, rtol=1e-11, atol=1e-13)


def test_a_view_that_is_not_contiguous():
    stack, x = net(), torch.randn(B, C, T).transpose(1, 2)
    assert not x.is_contiguous()
    assert torch.equal(stack(x).potential, stack(x, segment=4).potential)


def test_dropout_is_the_same_when_computed_anew():
    """The gradient equals that of the same pieces run by hand, without checkpointing, from the same
    generator state.
    """
    stack, (x, _) = net(dropout=0.4), recordings()
    x = x.nan_to_num()
    state = torch.get_rng_state()
    out = stack(x, segment=6)
    out.potential.square().sum().backward()
    got = [p.grad.clone() for p in stack.parameters()]
    stack.zero_grad()
    torch.set_rng_state(state)
    pieces, here = [], stack.start(B)
    for piece in x.split(6, 1):
        run = stack(piece.contiguous(), state=here)
        here = run.state
        pieces.append(run.potential)
    assert torch.equal(torch.cat(pieces, 1), out.potential)
    torch.cat(pieces, 1).square().sum().backward()
    for p, g in zip(stack.parameters(), got, strict=True):
        torch.testing.assert_close(g, p.grad, atol=1e-5, rtol=1e-5)


def test_norms():
    x, lengths = recordings()
    stack = net(norm=LayerNorm())
    assert torch.equal(stack(x, lengths).potential, stack(x, lengths, segment=5).potential)
    stack = net(norm=BatchNorm())
    with pytest.raises(
        ConfigError,
        match=r"^segment=5: the batch norm of layer 0 takes its statistics over all "
        r"steps together, .* or net.eval\(\)\.$",
    ):
        stack(x, lengths, segment=5)
    stack(x, lengths)  # so that there are statistics
    stack.eval()
    a, b = stack(x, lengths), stack(x, lengths, segment=5)
    torch.testing.assert_close(a.potential, b.potential)


def test_no_second_derivative_and_no_weight_changed_in_between():
    stack, x = net(), recordings()[0].nan_to_num().requires_grad_()
    with pytest.raises(
        RuntimeError, match="a network that runs in segments has no second derivative"
    ):
        torch.autograd.grad(stack(x, segment=5).potential.sum(), x, create_graph=True)
    out = stack(x, segment=5)
    with torch.no_grad():
        stack.layers[0].weight.mul_(2)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        out.potential.sum().backward()


def test_autocast_is_as_it_was():
    stack, x = net(), recordings()[0].nan_to_num()
    found = []
    for segment in (None, 5):
        stack.zero_grad()
        with torch.autocast("cpu", torch.bfloat16):
            out = stack(x, segment=segment, backend="reference")
        out.potential.float().sum().backward()
        found.append([out.potential, *(p.grad for p in stack.parameters())])
    for a, b in zip(*found, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-2, atol=1e-2)


def test_frozen_weights_and_no_gradient_at_all():
    stack, x = net().requires_grad_(False), recordings()[0].nan_to_num()
    assert not stack(x, segment=5).potential.requires_grad
    stack.layers[2].bias.requires_grad_()
    stack(x, segment=5).potential.sum().backward()
    assert [name for name, p in stack.named_parameters() if p.grad is not None] == ["layers.2.bias"]


@pytest.mark.parametrize("segment", [0, -3, 2.5, True, "5"])
def test_a_segment_that_is_no_number_of_steps(segment):
    with pytest.raises(ConfigError) as refused:
        net()(torch.zeros(B, T, C), segment=segment)
    assert str(refused.value) == (
        f"Stack: segment is {segment!r}; expected a whole number of steps, at least 1, or None."
    )


def test_what_cannot_run_in_segments():
    stack = Stack(Layer(C, 4, ALIF()), Bidirectional(Layer(4, 5, AdLIF())))
    with pytest.raises(
        ConfigError,
        match=r"^segment=5: layer 1 is bidirectional and needs a "
        r"recording's end before its start",
    ):
        stack(torch.zeros(B, T, C), segment=5)
    with pytest.raises(ShapeError):  # as without segments
        net()(torch.zeros(B, T, C), state=(1, 2), segment=5)


def test_a_detached_state_has_no_history():
    stack = Stack(Bidirectional(Layer(C, 4, ALIF())), Readout(8, 2))
    state = stack(torch.randn(B, T, C)).state
    cut = detached(state)
    pairs = [
        (a[k], b[k])
        for a, b in zip((*state[0], state[1]), (*cut[0], cut[1]), strict=True)
        for k in a
    ]
    assert len(pairs) == 8
    assert any(a.requires_grad for a, _ in pairs)
    assert all(torch.equal(a, b) and not b.requires_grad for a, b in pairs)


def test_lengths_of_a_piece():
    lengths, piece = torch.tensor([23, 13, 10, 0]), torch.zeros(4, 10, 1)
    assert piece_lengths(lengths, 10, piece).tolist() == [10, 3, 0, 0]
    assert piece_lengths(None, 10, piece) is None


def test_the_page_about_long_sequences():
    failed, tried = doctest.testfile(
        str(Path(__file__).parents[2] / "docs" / "long-sequences.md"), module_relative=False
    )
    assert failed == 0
    assert tried >= 7


# ── memory ────────────────────────────────────────────────────────────────────────────────────────


class Made(TorchDispatchMode):
    """Every storage an operation gave back while this was entered."""

    def __init__(self) -> None:
        super().__init__()
        self.storages: dict[int, tuple[StorageWeakRef, int]] = {}

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        for value in result if isinstance(result, tuple | list) else [result]:
            if isinstance(value, Tensor):
                storage = value.untyped_storage()
                ref = StorageWeakRef(storage)
                self.storages[ref.cdata] = (ref, storage.nbytes())
        return result

    def held(self) -> int:
        """Bytes that are still alive."""
        return sum(size for ref, size in self.storages.values() if not ref.expired())


def held(stack: Stack, x: Tensor, segment: int | None) -> int:
    """Bytes that a forward pass leaves alive for the backward pass, with its outputs."""
    with Made() as made:
        out = stack(x, segment=segment, backend="reference")
        loss = out.potential.sum()
        alive = made.held()
    loss.backward()
    assert all(p.grad is not None for p in stack.parameters())
    return alive


def test_much_less_is_held_for_the_backward_pass():
    stack, x = Stack(Layer(4, 36, ALIF(), Spike()), Readout(36, 6)), torch.randn(2, 120, 4)
    whole, cut, double = (
        held(stack, x, None),
        held(stack, x, 8),
        held(stack, torch.cat((x, x), 1), 8),
    )
    state = 2 * 4 * (36 * 3 + 6 * 2)  # bytes: u, eta, s of ALIF; u, s of the read-out
    # potential and output, of all steps and of the segments they were joined from
    outputs = 2 * 4 * 120 * 6 * 2 * 2
    assert whole > 8 * 2 * 120 * 36  # current and output at least
    assert cut < whole / 5
    assert cut <= 15 * state + outputs + 10_000
    assert double <= 2 * cut  # what grows with T are the outputs and a state a segment
