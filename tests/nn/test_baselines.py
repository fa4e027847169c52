"""Tandem learning, causal convolutions, the cumulative read-out: against their equations, with
lengths, in pieces.
"""

from __future__ import annotations

import pytest
import torch
from torch import nn

from srnn import ALIF, IF, BatchNorm, Layer, Readout, Stack, cells
from srnn._check import ConfigError, ShapeError
from srnn.activations import Identity
from srnn.nn.baselines import CausalConv, CumulativeReadout, Exponential, Tandem
from srnn.nn.networks import count_parameters

F64 = torch.float64


def tandem(inputs: int, n: int, threshold: float = 1.0) -> Tandem:
    return Tandem(Layer(inputs, n, IF(threshold), recurrent=False, bias=False))


# ── tandem ────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("threshold", [1.0, 0.5])
def test_a_constant_current_is_counted(threshold):
    """W c + b = 3.7 θ over the recording: three spikes, and 3.7 as the count whose
    gradient it has.
    """
    part, steps = tandem(1, 1, threshold), 20
    with torch.no_grad():
        part.layer.weight.fill_(2.7 * threshold / steps)
        part.bias.fill_(threshold)
    run = part(torch.ones(1, steps, 1))
    assert float(run.output.detach().sum()) == 3.0
    assert set(run.output.unique().tolist()) == {0.0, 1.0}


def test_the_gradient_is_that_of_the_counts():
    """Two layers: what reaches W, b and the input is that of relu(W c + b)/θ with the true counts
    of the layer below, written out.
    """
    torch.manual_seed(0)
    steps, first, second = 12, tandem(3, 6), tandem(6, 4)
    with torch.no_grad():
        first.bias.uniform_(0, 2)
        second.layer.weight.abs_()
    x = torch.rand(5, steps, 3).requires_grad_()
    below = first(x)
    above = second(below.output)
    grad = torch.randn(5, 4)
    (above.output.sum(1) * grad).sum().backward()

    c0 = x.detach().sum(1)
    c1 = below.output.detach().sum(1)
    a1, a2 = c0 @ first.layer.weight.T + first.bias, c1 @ second.layer.weight.T + second.bias
    d2 = grad * ((a2 > 0) & (a2 < steps))
    d1 = (d2 @ second.layer.weight) * ((a1 > 0) & (a1 < steps))
    wanted = {
        second.layer.weight: d2.T @ c1,
        second.bias: d2.sum(0),
        first.layer.weight: d1.T @ c0,
        first.bias: d1.sum(0),
    }
    for parameter, value in wanted.items():
        torch.testing.assert_close(parameter.grad, value, rtol=1e-4, atol=1e-5)
        assert value.abs().max() > 0.1
    torch.testing.assert_close(
        x.grad, (d1 @ first.layer.weight).unsqueeze(1).expand_as(x), rtol=1e-4, atol=1e-5
    )
    assert c1.max() > 2


def test_tandem_within_each_recordings_length():
    torch.manual_seed(1)
    net = Stack(tandem(3, 6), Readout(6, 2, cells.Sum(), bias=False))
    with torch.no_grad():
        net.parts()[0].bias.uniform_(0, 3)
    x, lengths = torch.rand(3, 10, 3), torch.tensor([10, 4, 7])
    for k, end in enumerate(lengths):
        x[k, end:] = torch.nan
    out = net(x, lengths)
    for k, end in enumerate(lengths.tolist()):
        torch.testing.assert_close(out.potential[k, :end], net(x[k : k + 1, :end]).potential[0])
    out.potential.sum().backward()
    assert all(bool(torch.isfinite(p.grad).all()) for p in net.parameters())
    with pytest.raises(
        ConfigError,
        match="layer 0 counts the spikes of whole recordings: it cannot run piece by piece",
    ):
        net(torch.rand(1, 10, 3), segment=5)


def test_tandem_learns():
    """Which of two channels fires more?"""
    torch.manual_seed(2)
    y = torch.arange(64) % 2
    rates = torch.where(y.unsqueeze(1) == torch.arange(2), 0.5, 0.2)
    x = torch.bernoulli(rates.unsqueeze(1).expand(-1, 40, -1))
    net = Stack(tandem(2, 16), Readout(16, 2, cells.Sum(), bias=False))
    optimiser = torch.optim.Adam(net.parameters(), 0.02)
    for _ in range(60):
        optimiser.zero_grad()
        nn.functional.cross_entropy(net(x).potential[:, -1] / 10, y).backward()
        optimiser.step()
    assert float((net(x).potential[:, -1].argmax(1) == y).float().mean()) > 0.9


@pytest.mark.parametrize(
    "layer",
    [
        Layer(3, 4, ALIF(), recurrent=False, bias=False),
        Layer(3, 4, IF(), bias=False),
        Layer(3, 4, IF(), recurrent=False),
        Layer(3, 4, IF(), recurrent=False, bias=False, norm=BatchNorm()),
    ],
    ids=["ALIF", "recurrent", "bias", "norm"],
)
def test_tandem_refuses_what_it_cannot_train(layer):
    with pytest.raises(
        ConfigError,
        match=r"expected Layer\(C, N, IF\(\), recurrent=False, "
        r"bias=False\), without norm",
    ):
        Tandem(layer)


# ── convolutions ──────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("kernel", "dilation"), [(1, 1), (3, 1), (4, 3)])
def test_convolution(kernel, dilation):
    """Against the sum over the steps it sees; and in pieces, at any cut, with the same numbers."""
    torch.manual_seed(3)
    part, x = CausalConv(2, 5, kernel, dilation).double(), torch.randn(3, 11, 2, dtype=F64)
    W, b = part.conv.weight.detach(), part.conv.bias.detach()
    wanted = torch.zeros(3, 11, 5, dtype=F64)
    for t in range(11):
        total = b.expand(3, 5).clone()
        for k in range(kernel):
            if (then := t - (kernel - 1 - k) * dilation) >= 0:
                total = total + x[:, then] @ W[:, :, k].T
        wanted[:, t] = total.clamp(min=0)
    torch.testing.assert_close(part(x).output, wanted, rtol=1e-12, atol=1e-12)
    for cut in range(1, 11):
        first = part(x[:, :cut])
        rest = part(x[:, cut:], state=first.state)
        torch.testing.assert_close(
            torch.cat((first.output, rest.output), 1), wanted, rtol=1e-12, atol=1e-12
        )
    assert (wanted > 0).any()


def test_convolutions_within_each_recordings_length():
    torch.manual_seed(4)
    net = Stack(
        CausalConv(2, 5, 3, norm=BatchNorm()), CausalConv(5, 4, 3, 2), Readout(4, 2, cells.Dense())
    ).eval()
    x, lengths = torch.randn(4, 9, 2), torch.tensor([9, 5, 1, 0])
    for k, end in enumerate(lengths):
        x[k, end:] = torch.nan
    out = net(x, lengths)
    more = torch.randn(4, 3, 2)
    after = net(more, state=out.state).potential
    for k, end in enumerate(lengths.tolist()):
        assert not out.potential[k, end:].any()
        alone = net(torch.cat((x[k : k + 1, :end], more[k : k + 1]), 1)).potential[0]
        torch.testing.assert_close(out.potential[k, :end], alone[:end], rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(after[k], alone[end:], rtol=1e-5, atol=1e-6)
    assert count_parameters(net)[0] == (3 * 2 * 5 + 5 + 10) + (3 * 5 * 4 + 4) + (4 * 2 + 2)


# ── Bittar's read-out of ANNs ─────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("training", [True, False])
def test_the_last_step_is_the_published_score(training):
    torch.manual_seed(5)
    part = CumulativeReadout(4, 3, norm=BatchNorm()).double().train(training)
    with torch.no_grad():
        part.norm.running_mean.uniform_()
        part.norm.running_var.uniform_(0.5, 2)
        part.norm.weight.uniform_(0.5, 2)
    twin = nn.BatchNorm1d(3, momentum=0.05, dtype=F64).train(training)
    twin.load_state_dict(part.norm.state_dict())
    x, lengths = torch.randn(5, 8, 4, dtype=F64), torch.tensor([8, 3, 5, 8, 1])
    got = part(x, lengths)
    Y = torch.stack([torch.softmax(x[k, :end], -1).sum(0) for k, end in enumerate(lengths)])
    wanted = twin(part.linear(Y))
    last = torch.stack([got.output[k, end - 1] for k, end in enumerate(lengths)])
    torch.testing.assert_close(last, wanted, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(got.state["sum"], Y, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(part.norm.running_var, twin.running_var)
    assert not got.output[1, 3:].any()


def test_one_recording_has_no_variance():
    part = CumulativeReadout(4, 3, norm=BatchNorm())
    with pytest.raises(ShapeError, match="the scores of one recording have no variance"):
        part(torch.randn(1, 5, 4))
    assert part.eval()(torch.randn(1, 5, 4)).output.shape == (1, 5, 3)


def test_states_of_another_shape_are_refused():
    with pytest.raises(ShapeError, match="pass what `start"):
        CausalConv(2, 5, 3)(torch.randn(2, 4, 2), state={"past": torch.zeros(3, 4)})
    with pytest.raises(ShapeError, match="pass what `start"):
        CumulativeReadout(2, 5)(torch.randn(2, 4, 2), state={"u": torch.zeros(2, 2)})


def test_a_network_without_neurons_says_so():
    net = Stack(Exponential(2), CumulativeReadout(2, 3))
    assert net.which_backend().name == "torch"
    out = net(torch.randn(2, 4, 2), record=True)
    assert out.trace.spiking == (False, False)
    assert out.trace.rate() == 0
    mixed = Stack(CausalConv(2, 4), Layer(4, 3, cells.GRU(), Identity()))
    assert mixed.which_backend(backend="reference").name == "reference"
