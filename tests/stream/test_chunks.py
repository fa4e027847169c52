"""However a signal is cut, a stream gives the bits of the whole sequence on the cpu backend: every
neuron, every cell, random cuts.
"""

from __future__ import annotations

import inspect

import numpy as np
import pytest
import torch
from torch import Tensor

import srnn.cells
import srnn.neurons
from srnn import (
    ALIF,
    AlphaLeaky,
    BatchNorm,
    Bidirectional,
    Layer,
    LayerNorm,
    Leaky,
    Neuron,
    Readout,
    Stack,
)
from srnn._check import ConfigError
from srnn.activations import Identity, Spike
from srnn.nn.baselines import CausalConv, CumulativeReadout
from srnn.stream import Decision, Stream

KINDS = sorted(
    {
        c
        for m in (srnn.neurons, srnn.cells)
        for c in vars(m).values()
        if inspect.isclass(c) and c is not Neuron
    },
    key=lambda c: c.__name__,
)
CUTS = 20
"""Ways the signal is cut, for each network."""
B, T, C, N = 3, 41, 5, 17


def activation(kind: type[Neuron]) -> Spike | Identity:
    return (
        Identity()
        if kind.__module__.startswith("srnn.cells") or kind in (Leaky, AlphaLeaky)
        else Spike()
    )


def network(kind: type[Neuron], dtype: torch.dtype = torch.float32) -> Stack:
    torch.manual_seed(0)
    first = Layer(C, N, kind(), activation(kind), recurrent_bias=True, dtype=dtype)
    torch.nn.init.uniform_(first.bias, -0.1, 0.3)
    second = Layer(N, 9, kind(), activation(kind), recurrent=False, dtype=dtype)
    return Stack(first, second, Readout(9, 4, dtype=dtype))


def signal(dtype: torch.dtype = torch.float32, batch: int = B) -> Tensor:
    torch.manual_seed(1)
    return 3 * torch.randn(batch, T, C, dtype=dtype) * (torch.rand(batch, T, C) < 0.4)


def sizes(seed: int) -> list[int]:
    """Sizes of the pieces: one by one, all at once, then at random, empty pieces too."""
    if seed < 2:
        return [1] * T if seed == 0 else [T]
    rng = np.random.default_rng(seed)
    at = np.sort(rng.integers(0, T + 1, rng.integers(1, 12)))
    return np.diff([0, *at, T]).tolist()


def pieces(stream: Stream, x: Tensor, cuts: list[int]):
    """Push piece by piece, those of one step as (B, C); return scores, labels, confidences and
    events.
    """
    scores, labels, confidences, events, first = [], [], [], [], 0
    for size in cuts:
        step = stream.push(x[:, first] if size == 1 else x[:, first : first + size])
        scores.append(step.scores.reshape(len(x), size, stream.classes))
        labels.append(step.label.reshape(len(x), size))
        confidences.append(step.confidence.reshape(len(x), size))
        events += step.events
        first += size
    return (
        np.concatenate(scores, 1),
        np.concatenate(labels, 1),
        np.concatenate(confidences, 1),
        sorted(events, key=lambda e: (e.stream, e.step)),
    )


def same(a, b) -> bool:
    return all(
        np.array_equal(x, y) if isinstance(x, np.ndarray) else x == y
        for x, y in zip(a, b, strict=True)
    )


@torch.no_grad()
def check(net: Stack, x: Tensor, *, exact: bool = True) -> int:
    """Compare the potentials and the last state with those of `net(x)`, and everything between two
    ways of cutting; return how many ways.
    """
    expected = net(x, backend="cpu" if exact else "auto")
    stream = Stream(net, batch=len(x), decision=Decision("last"), threshold=0.4, hold=2)
    first = None
    for seed in range(CUTS):
        stream.reset()
        got = pieces(stream, x, sizes(seed))
        first = first or got
        if exact:
            assert np.array_equal(got[0], expected.potential.double().numpy())
            assert same(got, first)
            for mine, theirs in zip(stream.state, expected.state, strict=True):
                assert set(mine) == set(theirs)
                assert all(torch.equal(mine[k], theirs[k]) for k in mine)
        else:
            assert np.allclose(got[0], expected.potential.double().numpy(), rtol=1e-4, atol=1e-5)
        assert stream.steps.tolist() == [T] * len(x)
    return CUTS


@pytest.mark.parametrize("kind", KINDS, ids=lambda k: k.__name__)
def test_every_neuron_and_cell_in_random_pieces(kind):
    assert len(KINDS) >= 20
    net, x = network(kind), signal()
    assert check(net, x) == CUTS
    assert Stream(net).backend.name == "cpu"


@pytest.mark.parametrize("batch", [1, 8, 11])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_batches_and_number_types(batch, dtype):
    assert check(network(ALIF, dtype), signal(dtype, batch)) == CUTS


def test_threads_give_the_same_bits():
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        check(network(ALIF), signal(batch=25))
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("norm", [LayerNorm(), BatchNorm()], ids=["layer", "batch"])
def test_layers_with_a_norm(norm):
    torch.manual_seed(0)
    layers = [
        Layer(C, N, ALIF(), norm=norm, recurrent_bias=True, dropout=0.3),
        Layer(N, N, ALIF()),
        Readout(N, 4, norm=norm),
    ]
    net = Stack(*layers)
    net(signal(batch=20))  # running statistics
    assert net.training
    check(net.eval(), signal())


@pytest.mark.parametrize(
    "masks",
    [{"zero_diagonal": True}, {"sparsity": 0.5, "recurrent_sparsity": 0.5}],
    ids=["diagonal", "sparse"],
)
def test_connections_that_are_not_there(masks):
    torch.manual_seed(0)
    check(Stack(Layer(C, N, ALIF(), bias=False, **masks), Readout(N, 4)), signal())


def test_other_parts_and_the_reference_within_rounding():
    torch.manual_seed(0)
    net = Stack(CausalConv(C, 8, 3), Layer(8, N, ALIF()), CumulativeReadout(N, 4)).eval()
    assert check(net, signal(), exact=False) == CUTS
    net = network(ALIF, torch.float64)
    x = signal(torch.float64)
    with torch.no_grad():
        expected = net(x, backend="reference").potential.numpy()
    stream = Stream(net, batch=B, decision=Decision("last"), backend="reference")
    assert stream.backend.name == "reference"
    for seed in range(5):
        stream.reset()
        assert np.allclose(pieces(stream, x, sizes(seed))[0], expected, atol=1e-9)


def test_lengths_advance_each_stream_by_its_own_steps():
    net, x = network(ALIF), signal()
    lengths = torch.tensor([0, 17, T])
    with torch.no_grad():
        expected = net(x, lengths, backend="cpu")
    stream = Stream(net, batch=B, decision=Decision("last"))
    marked = torch.where(torch.arange(T).unsqueeze(1) < lengths.view(-1, 1, 1), x, torch.nan)
    step = stream.push(marked, lengths)
    assert np.array_equal(step.scores, expected.potential.double().numpy())
    assert stream.steps.tolist() == lengths.tolist()
    assert (step.label >= 0).sum() == int(lengths.sum())
    assert all(
        torch.equal(a[k], b[k])
        for a, b in zip(stream.state, expected.state, strict=True)
        for k in a
    )


def test_a_start_state_and_resets_of_single_streams():
    net, x = network(ALIF), signal()
    torch.manual_seed(3)
    start = tuple({k: torch.rand_like(v) for k, v in part.items()} for part in net.start(1))
    many = tuple({k: v.expand(B, -1).contiguous() for k, v in part.items()} for part in start)
    with torch.no_grad():
        expected = net(x, state=many, backend="cpu").potential.double().numpy()
    stream = Stream(net, batch=B, decision=Decision("last"), start=start)
    assert np.array_equal(stream.push(x).scores, expected)
    stream.push(x[:, :7])
    stream.reset([1])
    assert stream.steps.tolist() == [T + 7, 0, T + 7]
    assert np.array_equal(stream.push(x).scores[1], expected[1])
    stream.reset(np.array([True, False, True]))
    assert stream.steps.tolist() == [0, T, 0]
    assert np.array_equal(stream.push(x).scores[[0, 2]], expected[[0, 2]])


def test_what_needs_the_whole_recording_is_refused_with_the_reason():
    net = Stack(Bidirectional(Layer(C, 4, ALIF())), Readout(8, 2))
    with pytest.raises(ConfigError, match="layer 0 is bidirectional and needs a recording's end"):
        Stream(net)
