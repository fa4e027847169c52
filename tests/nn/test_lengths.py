"""Lengths: a padded batch gives what each recording gives when it is run alone, and what lies in
the padding is never read.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

import srnn.neurons
from helpers import NEURONS
from srnn import BatchNorm, Bidirectional, Concat, Layer, LayerNorm, Mean, Readout, Stack, decode
from srnn.init import Constant, Normal
from srnn.neuron import Neuron
from srnn.neurons import ALIF, LIF, Leaky, YinLIF
from srnn.nn.bidirectional import reverse
from srnn.nn.networks import Output, Trace

LENGTHS = (6, 0, 3, 1, 6)
T, C, N, K = 6, 3, 6, 2
FLOAT = torch.float64


def low(neuron: type[Neuron]) -> Neuron:
    """The neuron with a short memory and a threshold that is often crossed."""
    often = {"threshold": 0.2, "tau_m": Normal(4.0, 0.5)}
    return neuron(**{k: v for k, v in often.items() if k in neuron().constants()})


def layer(neuron: Neuron, inputs: int = C, **kwargs) -> Layer:
    return Layer(inputs, N, neuron, recurrent_bias=True, dtype=FLOAT, **kwargs)


NETWORKS: dict[str, Callable[[Neuron], Stack]] = {
    "plain": lambda n: Stack(layer(n), Readout(N, K, dtype=FLOAT)),
    "two layers": lambda n: Stack(
        layer(n), layer(n, N, recurrent_sparsity=0.3), Readout(N, K, dtype=FLOAT)
    ),
    "batch norm": lambda n: Stack(
        layer(n, norm=BatchNorm()), Readout(N, K, norm=BatchNorm(), dtype=FLOAT)
    ),
    "layer norm": lambda n: Stack(
        layer(n, norm=LayerNorm()), Readout(N, K, norm=LayerNorm(), dtype=FLOAT)
    ),
    "own, concat": lambda n: Stack(
        Bidirectional(layer(n), merge=Concat()), Readout(2 * N, K, dtype=FLOAT)
    ),
    "shared, mean": lambda n: Stack(
        Bidirectional(shared := layer(n), shared, merge=Mean()), Readout(N, K, dtype=FLOAT)
    ),
    "own, mean, then own, concat": lambda n: Stack(
        Bidirectional(layer(n), merge=Mean()), Bidirectional(layer(n, N, norm=LayerNorm()))
    ),
}


def flat(state: object) -> list[Tensor]:
    """Every tensor of a network state, in a fixed order."""
    if isinstance(state, Tensor):
        return [state]
    parts = [state[k] for k in sorted(state)] if isinstance(state, dict) else state
    return [t for part in parts for t in flat(part)]


def mapped(state: object, f: Callable[[Tensor], Tensor]) -> object:
    if isinstance(state, Tensor):
        return f(state)
    return (
        {k: mapped(v, f) for k, v in state.items()}
        if isinstance(state, dict)
        else tuple(mapped(v, f) for v in state)
    )


def signals(out: Output) -> tuple[Tensor, ...]:
    """Everything with a time axis."""
    return *out.trace.outputs, *out.trace.potentials, out.output, out.potential


def padded(seed: int = 0) -> tuple[Tensor, Tensor]:
    """A batch with NaN in the padding, and its lengths."""
    torch.manual_seed(seed)
    x, lengths = 4 * torch.randn(len(LENGTHS), T, C, dtype=FLOAT), torch.tensor(LENGTHS)
    x[torch.arange(T) >= lengths.unsqueeze(1)] = math.nan
    assert int(x.isnan().sum()) == (5 * T - sum(LENGTHS)) * C
    return x, lengths


def built(name: str, neuron: Neuron) -> Stack:
    """A network whose biases and batch-norm numbers are not those of a fresh one, in eval mode."""
    torch.manual_seed(3)
    net = NETWORKS[name](neuron).eval()
    with torch.no_grad():
        for path, p in net.named_parameters():
            if path.endswith("bias") or ".norm." in path:
                p.uniform_(0.3, 0.9)
        for norm in net.modules():
            if isinstance(norm, nn.BatchNorm1d):
                norm.running_mean.uniform_(-0.3, 0.3)
                norm.running_var.uniform_(0.5, 2.0)
    return net


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("neuron", NEURONS, ids=lambda c: c.__name__)
def test_a_padded_batch_is_each_recording_alone(neuron, name):
    net = built(name, low(neuron))
    x, lengths = padded()
    x.requires_grad_()
    start = mapped(net.start(5), lambda v: torch.rand_like(v).requires_grad_())
    out = net(x, lengths=lengths, state=start, record=True)
    # padded steps get a gradient too: it must be dropped
    g_output, g_potential = torch.randn_like(out.output), torch.randn_like(out.potential)
    g_state = [torch.randn_like(v) for v in flat(out.state)]
    loss = (out.output * g_output).sum() + (out.potential * g_potential).sum()
    (loss + sum((v * g).sum() for v, g in zip(flat(out.state), g_state, strict=True))).backward()
    together = {k: p.grad for k, p in net.named_parameters()}
    net.zero_grad()

    compared = spikes = 0
    for b, n in enumerate(LENGTHS):
        end = [v[b] for v in flat(out.state)]
        # nothing happened: no output, the start is the end, and only the gradient of the final
        # state comes back
        if n == 0:
            assert not out.output[b].any()
            assert not out.potential[b].any()
            for v, s, g in zip(end, flat(start), g_state, strict=True):
                assert torch.equal(v, s[b])
                assert torch.equal(s.grad[b], g[b])
            compared += len(end)
            continue
        alone = x.detach()[b : b + 1, :n].requires_grad_()
        own_start = mapped(start, lambda v, b=b: v.detach()[b : b + 1].clone().requires_grad_())
        own = net(alone, state=own_start, record=True)
        for got, wanted in zip(signals(out), signals(own), strict=True):
            torch.testing.assert_close(got[b, :n], wanted[0], rtol=1e-10, atol=1e-12)
            assert not got[b, n:].any()
            compared += 1
        for got, wanted in zip(end, flat(own.state), strict=True):
            torch.testing.assert_close(got, wanted[0], rtol=1e-10, atol=1e-12)
        spikes += int(own.trace.outputs[0].count_nonzero())
        loss = (own.output * g_output[b, :n]).sum() + (own.potential * g_potential[b, :n]).sum()
        # parameters' gradients add up
        (
            loss + sum((v * g[b]).sum() for v, g in zip(flat(own.state), g_state, strict=True))
        ).backward()
        torch.testing.assert_close(x.grad[b, :n], alone.grad[0], rtol=1e-9, atol=1e-11)
        assert not x.grad[b, n:].any()
        for got, wanted in zip(flat(start), flat(own_start), strict=True):
            if wanted.grad is None:  # the output before the first step, where nothing feeds back
                assert not got.grad[b].any()
            else:
                torch.testing.assert_close(got.grad[b], wanted.grad[0], rtol=1e-9, atol=1e-11)
                compared += 1
    assert spikes > 10
    assert compared >= 4 * (2 * len(net.layers) + 2) + len(flat(start))
    for path, p in net.named_parameters():
        torch.testing.assert_close(
            together[path], p.grad, rtol=1e-9, atol=1e-10, msg=lambda m, path=path: f"{path}: {m}"
        )
    # η's τ may be unused, all else is felt
    assert sum(bool(g.any()) for g in together.values()) >= len(together) - 1


def test_the_matrix_is_whole():
    assert (len(NEURONS), len(NETWORKS)) == (13, 7)
    assert {0, T} < set(LENGTHS)


@pytest.mark.parametrize("name", NETWORKS)
def test_gradients_arriving_in_the_padding_are_dropped(name):
    net = built(name, ALIF())
    x, lengths = padded()
    x.requires_grad_()
    start = mapped(net.start(5), lambda v: torch.rand_like(v).requires_grad_())
    out = net(x, lengths=lengths, state=start, record=True)
    beyond = (torch.arange(T) >= lengths.unsqueeze(1)).unsqueeze(-1) * 1e6
    sum((v * beyond).sum() for v in signals(out)).backward()
    grads = [
        g
        for g in (x.grad, *(p.grad for p in net.parameters()), *(v.grad for v in flat(start)))
        if g is not None
    ]
    assert len(grads) > len(list(net.parameters()))
    assert not any(g.any() for g in grads)


def test_full_lengths_change_nothing():
    net = built("plain", LIF())
    x = torch.randn(3, T, C, dtype=FLOAT)
    out, same = net(x, record=True), net(x, lengths=torch.full((3,), T), record=True)
    assert torch.equal(out.potential, same.potential)
    assert torch.equal(same.trace.lengths, torch.tensor([T] * 3))
    assert torch.equal(out.trace.lengths, same.trace.lengths)


@pytest.mark.parametrize("dtype", [torch.int16, torch.int32, torch.uint8])
def test_any_integer_may_count(dtype):
    net = built("own, concat", YinLIF())
    x, lengths = padded()
    assert torch.equal(
        net(x, lengths=lengths.to(dtype)).potential, net(x, lengths=lengths).potential
    )


def test_reverse_turns_each_recording_within_its_own_length():
    x = torch.arange(12.0).view(2, 6, 1)
    assert reverse(x, torch.tensor([6, 4])).flatten().tolist() == [
        5,
        4,
        3,
        2,
        1,
        0,
        9,
        8,
        7,
        6,
        10,
        11,
    ]
    assert reverse(x, torch.tensor([0, 1])).flatten().tolist() == list(range(12))


def test_bidirectional_is_two_layers_and_a_flip():
    """An independent construction: the second layer runs over the flipped recording, and its output
    is flipped back.
    """
    torch.manual_seed(0)
    ahead, back = layer(LIF(threshold=0.2)), layer(LIF(threshold=0.2))
    x = 2 * torch.randn(2, T, C, dtype=FLOAT)
    there, again = ahead(x), back(x.flip(1))
    for merge, wanted in (
        (Concat(), torch.cat((there.output, again.output.flip(1)), -1)),
        (Mean(), (there.output + again.output.flip(1)) / 2),
    ):
        both = Bidirectional(ahead, back, merge)
        run = both(x, potential=True)
        assert torch.equal(run.output, wanted)
        assert run.output.shape[-1] == both.outputs
        # after the recording's first step: the end of the backward direction
        assert torch.equal(run.state[1]["u"], again.state["u"])
    assert 0 < there.output.mean() < 1
    assert not torch.equal(there.output, again.output.flip(1))


def test_batch_norm_learns_from_valid_steps_only():
    """Running statistics, outputs and gradients are those of torch's own module on the valid rows,
    one recording after the other.
    """
    x, lengths = padded()
    torch.manual_seed(0)
    net = Stack(
        Layer(
            C,
            N,
            Leaky(Constant(1e-3)),
            srnn.activations.Identity(),
            recurrent=False,
            norm=BatchNorm(momentum=0.05),
            dtype=FLOAT,
        )
    ).train()
    own, rows = net.layers[0], x[~x.isnan().any(-1)]
    assert rows.shape == (sum(LENGTHS), C)
    reference = nn.BatchNorm1d(N, momentum=0.05, dtype=FLOAT).train()
    weight = own.weight.detach().clone().requires_grad_()
    # a decay of exp(-1000) = 0: the potential is the normalised current
    out = net(x, lengths=lengths)
    wanted = reference(rows @ weight.T)
    valid = torch.arange(T) < lengths.unsqueeze(1)
    torch.testing.assert_close(out.potential[valid], wanted, rtol=1e-12, atol=1e-12)
    for name in ("running_mean", "running_var", "num_batches_tracked"):
        torch.testing.assert_close(
            getattr(own.norm, name), getattr(reference, name), rtol=1e-12, atol=1e-13
        )
    assert own.norm.running_mean.abs().min() > 1e-4
    g = torch.randn_like(wanted)
    (out.potential[valid] * g).sum().backward()
    (wanted * g).sum().backward()
    torch.testing.assert_close(own.weight.grad, weight.grad, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(own.norm.weight.grad, reference.weight.grad, rtol=1e-10, atol=1e-12)


def test_batch_norm_without_any_valid_step_learns_nothing():
    net = Stack(Layer(C, N, LIF(), norm=BatchNorm(), dtype=FLOAT)).train()
    before = net.layers[0].norm.running_mean.clone()
    out = net(torch.full((2, 3, C), math.nan, dtype=FLOAT), lengths=torch.tensor([0, 0]))
    assert torch.equal(net.layers[0].norm.running_mean, before)
    assert int(net.layers[0].norm.num_batches_tracked) == 0
    assert not out.potential.any()


DECODERS = {
    "softmax_sum": decode.softmax_sum,
    "softmax_sum, skip 2": lambda u, n=None: decode.softmax_sum(u, n, skip=2),
    "mean": decode.mean,
    "mean, skip 2": lambda u, n=None: decode.mean(u, n, skip=2),
    "last": decode.last,
    "max_over_time": decode.max_over_time,
    "max_over_time, skip 1": lambda u, n=None: decode.max_over_time(u, n, skip=1),
    "spike_count": decode.spike_count,
    "spike_count, skip 2": lambda u, n=None: decode.spike_count(u, n, skip=2),
    "per_step": decode.per_step,
}


@pytest.mark.parametrize("name", DECODERS)
def test_decoders_see_each_recording_alone(name):
    """Scores and gradients, with NaN in the padding; a recording with no step left scores 0."""
    u, lengths = padded()
    u.requires_grad_()
    scores = DECODERS[name](u, lengths)
    g = torch.randn_like(scores)
    (scores * g).sum().backward()
    assert torch.isfinite(scores).all()
    assert torch.isfinite(u.grad).all()
    for b, n in enumerate(LENGTHS):
        if n:
            alone = u.detach()[b : b + 1, :n].requires_grad_()
            own = DECODERS[name](alone)
            torch.testing.assert_close(scores[b, :n] if name == "per_step" else scores[b], own[0])
            (own * (g[b, :n] if name == "per_step" else g[b])).sum().backward()
            torch.testing.assert_close(u.grad[b, :n], alone.grad[0])
        assert not u.grad[b, n:].any()
    assert not scores[1].any()
    assert scores[0].any()
    assert u.grad[0].any()


def test_the_decoders_are_all_there():
    public = {
        k
        for k, f in vars(decode).items()
        if inspect.isfunction(f) and f.__module__ == decode.__name__
    } - {"valid_mask"}
    assert public == {name.split(",")[0] for name in DECODERS}
    assert len(public) == 6


def test_rates_ignore_padding():
    """By hand: 3 + 0 + 2 valid steps, 2 neurons: 5 spikes of 10 in the first layer; the read-out is
    no spiking unit.
    """
    spikes = torch.zeros(3, 3, 2)
    spikes[0, :, 0] = 1
    spikes[2, :2, 1] = 1
    trace = Trace(
        torch.zeros(3, 3, 1),
        (spikes, torch.full((3, 3, 4), 0.5)),
        (spikes, spikes),
        torch.tensor([3, 0, 2]),
        (True, False),
    )
    assert trace.steps == 5
    assert trace.rates() == (5 / 10, 0.5 * 36 / 20)
    assert (trace.rate(), trace.spikes()) == (0.5, 5.0)
    both = Trace(
        torch.zeros(3, 3, 1),
        (spikes, torch.ones(3, 3, 4)),
        (spikes, spikes),
        torch.tensor([3, 3, 3]),
        (True, True),
    )
    assert both.rate() == (5 + 36) / (9 * 6)


def test_rates_of_a_padded_batch_are_those_of_its_recordings():
    net = built("plain", low(LIF))
    x, lengths = padded()
    trace = net(x, lengths=lengths, record=True).trace
    alone = [net(x[b : b + 1, :n], record=True).trace for b, n in enumerate(LENGTHS) if n]
    assert trace.spikes() == sum(t.spikes() for t in alone) > 10
    assert trace.rates()[0] == pytest.approx(
        sum(t.rates()[0] * t.steps for t in alone) / sum(LENGTHS)
    )
    assert trace.rate() == trace.rates()[0]
    assert not trace.input.isnan().any()
