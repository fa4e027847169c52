"""Networks: parameters and their count, explicit state, the trace, where a recording starts, and
the errors.
"""

from __future__ import annotations

import copy
import re

import pytest
import torch
from torch import Tensor

from srnn import BatchNorm, Bidirectional, Layer, Mean, Readout, Stack, init
from srnn._check import ConfigError, ShapeError
from srnn.activations import Relu, Soft
from srnn.neurons import ALIF, LIF, AdLIF, Leaky, SoftLIF, YinLIF
from srnn.nn.networks import NetworkState, UniformStart, Zeros, count_parameters, single_layers
from srnn.surrogates import FastSigmoid

FLOAT = torch.float64


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)


def ecg() -> Stack:
    """The ECG network of Yin 2021: the hidden layer does not adapt."""
    hidden = ALIF(init.Constant(20.0), init.Constant(7.0), 0.1, 0.0)
    out = ALIF(init.Constant(20.0), init.Constant(100.0), 0.1, 1.8)
    return Stack(Layer(4, 36, hidden, recurrent_bias=True), Layer(36, 6, out, recurrent=False))


def small(**kwargs) -> Stack:
    neuron = ALIF(init.Normal(4.0, 0.5), init.Normal(9.0, 1.0), 0.05)
    return Stack(
        Layer(3, 5, neuron, recurrent_bias=True, **kwargs),
        Layer(5, 4, LIF(threshold=0.05), **kwargs),
        Readout(4, 2, **kwargs),
    )


# ── parameters ────────────────────────────────────────────────────────────────────────────────────


def test_the_ecg_network():
    """1,818 trained numbers; nothing reads the 36 τ_adp of the hidden layer."""
    net = ecg()
    assert {k: tuple(p.shape) for k, p in net.named_parameters()} == {
        "layers.0.weight": (36, 4),
        "layers.0.bias": (36,),
        "layers.0.recurrent": (36, 36),
        "layers.0.recurrent_bias": (36,),
        "layers.0.constants.tau_m": (36,),
        "layers.0.constants.tau_adp": (36,),
        "layers.1.weight": (6, 36),
        "layers.1.bias": (6,),
        "layers.1.constants.tau_m": (6,),
        "layers.1.constants.tau_adp": (6,),
    }
    assert sum(p.numel() for p in net.parameters()) == 1818
    assert count_parameters(net) == (1782, 36)
    assert (net.inputs, net.outputs) == (4, 6)


def test_counting_leaves_no_trace():
    net = ecg()
    before, weights = torch.get_rng_state(), copy.deepcopy(net.state_dict())
    count_parameters(net)
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(v, weights[k]) for k, v in net.state_dict().items())
    assert all(p.grad is None for p in net.parameters())
    assert net.training


def test_counting_works_on_a_frozen_network_and_without_gradients():
    net = ecg().requires_grad_(False)
    with torch.no_grad():
        assert count_parameters(net) == (1782, 36)
    assert not any(p.requires_grad for p in net.parameters())


@pytest.mark.parametrize(
    ("layers", "used", "unused"),
    [
        (lambda: [Layer(4, 6, SoftLIF())], 24 + 6 + 36 + 6, 0),
        (lambda: [Layer(4, 6, SoftLIF(), zero_diagonal=True)], 24 + 6 + 30 + 6, 6),
        (lambda: [Layer(4, 6, SoftLIF(), recurrent=False, sparsity=0.5)], 12 + 6 + 6, 12),
        (lambda: [Layer(4, 6, ALIF(beta=0.0)), Readout(6, 2)], 24 + 6 + 36 + 6 + 12 + 2 + 2, 6),
        (
            lambda: [Layer(4, 6, ALIF(beta=init.Fixed([0.0] * 2 + [1.8] * 4)), Relu())],
            24 + 6 + 36 + 6 + 4,
            2,
        ),
        (lambda: [Bidirectional(layer := Layer(4, 6, LIF()), layer, Mean())], 24 + 6 + 36 + 6, 0),
        (lambda: [Bidirectional(Layer(4, 6, LIF()))], 2 * (24 + 6 + 36 + 6), 0),
        (
            lambda: [Layer(4, 6, LIF(), bias=False, norm=BatchNorm(), dropout=0.5)],
            24 + 36 + 6 + 12,
            0,
        ),
    ],
)
def test_used_and_unused_parameters(layers, used, unused):
    assert count_parameters(Stack(*layers())) == (used, unused)


def test_published_parameter_counts():
    """Bittar & Garner 2022, Table 5 and 9 on SHD, 3 x 128; the published counts hold the diagonal
    of V, which nothing reads.
    """
    for neuron, recurrent, published in (
        (SoftLIF(), False, 109_096),
        (AdLIF(), False, 109_864),
        (SoftLIF(), True, 141_864),
        (AdLIF(), True, 142_632),
    ):
        kwargs = {"recurrent": recurrent, "zero_diagonal": recurrent}
        net = Stack(
            Layer(700, 128, neuron, **kwargs),
            Layer(128, 128, neuron, **kwargs),
            Readout(128, 20, Leaky()),
        )
        assert sum(p.numel() for p in net.parameters()) == published
        assert count_parameters(net) == ((published - 256, 256) if recurrent else (published, 0))


# ── state in and out ──────────────────────────────────────────────────────────────────────────────


def flat(state: NetworkState | dict[str, Tensor] | Tensor) -> list[Tensor]:
    if isinstance(state, Tensor):
        return [state]
    return [
        t for part in (state.values() if isinstance(state, dict) else state) for t in flat(part)
    ]


@pytest.mark.parametrize("cut", [1, 4, 9])
def test_a_recording_may_be_run_in_pieces(cut):
    """Outputs, final state, and the gradients that flow back through the carried state are those of
    the whole.
    """
    net = small(dtype=FLOAT)
    x = 2 * torch.randn(3, 10, 3, dtype=FLOAT)
    g = torch.randn(3, 10, 2, dtype=FLOAT)
    whole = net(x, record=True)
    (whole.potential * g).sum().backward()
    wanted = {k: p.grad.clone() for k, p in net.named_parameters()}
    net.zero_grad()
    first = net(x[:, :cut], record=True)
    second = net(x[:, cut:], state=first.state, record=True)
    assert torch.equal(
        torch.cat((first.trace.outputs[0], second.trace.outputs[0]), 1), whole.trace.outputs[0]
    )
    torch.testing.assert_close(
        torch.cat((first.potential, second.potential), 1), whole.potential, rtol=1e-11, atol=1e-13
    )
    for a, b in zip(flat(second.state), flat(whole.state), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-11, atol=1e-13)
    (second.potential * g[:, cut:]).sum().backward(retain_graph=True)
    alone = net.layers[0].weight.grad.clone()
    (first.potential * g[:, :cut]).sum().backward()
    assert 5 < int(whole.trace.outputs[0].count_nonzero()) < 145
    assert alone.any()
    for k, p in net.named_parameters():
        torch.testing.assert_close(p.grad, wanted[k], rtol=1e-9, atol=1e-11)
    cold = net(x[:, cut:])
    assert not torch.allclose(cold.potential, second.potential)


def test_a_detached_state_stops_the_gradient():
    net = small(dtype=FLOAT)
    x = torch.randn(2, 4, 3, dtype=FLOAT, requires_grad=True)
    carried = tuple({k: v.detach() for k, v in part.items()} for part in net(x).state)
    net(torch.randn(2, 4, 3, dtype=FLOAT), state=carried).potential.sum().backward()
    assert x.grad is None


def test_a_call_changes_nothing():
    """The network keeps no state and does not write into the one it is given: two calls give the
    same.
    """
    net, x = small(), torch.randn(2, 6, 3)
    start = net.start(2)
    before = [v.clone() for v in flat(start)]
    one, two = net(x, state=start), net(x, state=start)
    assert torch.equal(one.potential, two.potential)
    assert all(torch.equal(a, b) for a, b in zip(flat(start), before, strict=True))
    assert torch.equal(net(x).potential, one.potential)
    assert x.is_leaf


def test_copies_and_state_dicts():
    net, x = small(norm=BatchNorm(), sparsity=0.5), torch.randn(2, 6, 3)
    net(x)
    net.eval()
    twin = copy.deepcopy(net)
    torch.manual_seed(9)
    loaded = small(norm=BatchNorm(), sparsity=0.5).eval()
    assert not torch.equal(loaded(x).potential, net(x).potential)
    loaded.load_state_dict(net.state_dict())  # masks and running statistics included
    assert torch.equal(loaded(x).potential, net(x).potential)
    assert torch.equal(twin(x).potential, net(x).potential)
    with torch.no_grad():
        twin.layers[0].weight.add_(1.0)
    assert not torch.equal(twin.layers[0].weight, net.layers[0].weight)


def test_layers_follow_each_other_within_the_same_step():
    """An input spike at step 2 is an output spike of the third layer at step 2."""
    layers = [Layer(1, 1, YinLIF(0.5, 0.5), recurrent=False, bias=False) for _ in range(3)]
    for layer in layers:
        torch.nn.init.ones_(layer.weight)
    x = torch.tensor([0.0, 0.0, 1.0, 0.0]).view(1, 4, 1)
    assert torch.equal(Stack(*layers)(x).output, x)


# ── output and trace ──────────────────────────────────────────────────────────────────────────────


def test_the_trace_holds_every_layer():
    net, x = small(), torch.randn(2, 6, 3)
    out = net(x, record=True)
    assert (
        [tuple(v.shape) for v in out.trace.outputs]
        == [tuple(v.shape) for v in out.trace.potentials]
        == [(2, 6, 5), (2, 6, 4), (2, 6, 2)]
    )
    assert out.trace.spiking == (True, True, False)
    assert out.trace.lengths.tolist() == [6, 6]
    assert torch.equal(out.trace.input, x)
    assert torch.equal(out.trace.potentials[-1], out.potential)
    assert net(x).trace is None
    below = net.layers[0](x, potential=True)
    assert torch.equal(out.trace.potentials[0], below.potential)
    assert torch.equal(out.trace.outputs[0], below.emitted)
    assert set(out.trace.outputs[0].unique().tolist()) == {0.0, 1.0}


def test_the_network_is_its_layers_one_after_the_other():
    net, x = small(), torch.randn(2, 6, 3)
    h = x
    for layer, start in zip(net.parts(), net.start(2), strict=True):
        run = layer(h, None, start, potential=True)
        h = run.output
    assert torch.equal(net(x).potential, run.potential)
    assert torch.equal(net(x).output, h)


def test_walking_the_layers():
    net = Stack(
        Bidirectional(Layer(2, 3, LIF(), Soft(FastSigmoid())), merge=Mean()), Layer(3, 4, ALIF())
    )
    assert len(single_layers(net)) == 3
    assert [part.emits.binary for part in net.parts()] == [False, True]
    assert [tuple(v.shape) for v in flat(net.start(5))] == [(5, 3)] * 4 + [(5, 4)] * 3


def test_which_backend():
    net = small()
    choice = net.which_backend(torch.zeros(1, 1, 3))
    assert choice.name == "cpu"
    assert choice.reason.startswith("kernel compiled by ")
    assert net.which_backend(backend="cpu") == ("cpu", "asked for")
    assert net.which_backend(backend="reference") == ("reference", "asked for")
    x = torch.randn(2, 5, 3)
    assert torch.equal(net(x, backend="cpu").potential, net(x).potential)
    torch.testing.assert_close(net(x, backend="reference").potential, net(x).potential)
    for call in (lambda: net.which_backend(backend="refrence"), lambda: net(x, backend="refrence")):
        with pytest.raises(
            ConfigError,
            match=r"^backend: there is no 'refrence'\. Did you mean 'reference'\? "
            r"Known: auto, cpu, reference, triton\.$",
        ):
            call()


# ── where a recording starts ──────────────────────────────────────────────────────────────────────


def test_zeros_is_the_networks_own_start():
    net = small()
    given = Zeros()(net, 3)
    assert [v.tolist() for v in flat(given)] == [v.tolist() for v in flat(net.start(3))]
    assert len(flat(given)) == 3 + 2 + 2


def test_uniform_start():
    """Potentials from U[low, high) in every layer, everything else at its own start; graded: the
    output is that same number.
    """
    net = Stack(
        Bidirectional(Layer(2, 40, ALIF()), merge=Mean()), Layer(40, 40, LIF(), dtype=FLOAT)
    )
    state = UniformStart(0.1, 0.4)(net, 30)
    layers = [*state[0], state[1]]
    for part in layers:
        assert 0.1 <= part["u"].min() < 0.11
        assert 0.39 < part["u"].max() <= 0.4
        assert not part["s"].any()
    assert not layers[0]["eta"].any()
    assert [part["u"].dtype for part in layers] == [torch.float32, torch.float32, FLOAT]
    assert not torch.equal(layers[0]["u"], layers[1]["u"])
    graded = UniformStart(graded=True)(net, 30)
    assert all(torch.equal(part["u"], part["s"]) for part in (*graded[0], graded[1]))
    assert graded[1]["s"].unique().numel() == 1200
    assert net.layers[0](torch.zeros(30, 2, 2), None, graded[0]).output.shape == (30, 2, 40)


def test_a_seeded_start_is_the_same_every_time():
    net, start = small(), UniformStart(graded=True)
    before = torch.get_rng_state()
    one, two = (start(net, 4, torch.Generator().manual_seed(5)) for _ in range(2))
    other = start(net, 4, torch.Generator().manual_seed(6))
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(a, b) for a, b in zip(flat(one), flat(two), strict=True))
    assert not torch.equal(one[0]["u"], other[0]["u"])
    x = torch.randn(4, 5, 3)
    assert torch.equal(net(x, state=one).potential, net(x, state=two).potential)
    assert not torch.equal(net(x, state=one).potential, net(x).potential)
    torch.manual_seed(1)
    free = start(net, 4)
    assert not torch.equal(free[0]["u"], start(net, 4)[0]["u"])


# ── errors ────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda net, x: net(x, state=net.start(2)[:2]),
            "Stack: state is 2 parts for 3 layers; pass the tuple that `start(batch)` or a "
            "call returned.",
        ),
        (
            lambda net, x: net(x, state=net.start(3)),
            "Layer(3 → 5, ALIF): state['u'] has shape (3, 5); expected (B=2, N=5).",
        ),
        (
            lambda net, x: net(x[0]),
            "Stack: x has shape (6, 3); expected (B, T, C=3) = recordings, time steps, "
            "channels.\n  For a single recording pass",
        ),
        (
            lambda net, x: net(x.mT),
            "Stack: x has shape (2, 3, 6); expected (B, T, C=3) = "
            "recordings, time steps, channels.\n  Axis 1 has length 3.",
        ),
        (
            lambda net, x: net(x.int()),
            "Stack: x has dtype torch.int32; expected a floating type. Pass x.float().",
        ),
        (
            lambda net, x: net(x.double()),
            "Layer(3 → 5, ALIF): x has dtype torch.float64, the "
            "layer torch.float32. Pass x.to(torch.float32).",
        ),
        (
            lambda net, x: net(x, lengths=torch.tensor([7, 1])),
            "Stack: lengths holds 7; expected 0 ≤ L ≤ T=6. Lengths count steps, not samples or",
        ),
        (
            lambda net, x: net(x, lengths=torch.tensor([6.0, 1.0])),
            "Stack: lengths has dtype torch.float32; expected integers. Pass lengths.long().",
        ),
        (
            lambda net, x: net(x, lengths=torch.tensor([6])),
            "Stack: lengths has shape (1,); "
            "expected (B=2,), one number of valid steps a recording.",
        ),
    ],
)
def test_calls_that_do_not_fit(call, message):
    with pytest.raises(ShapeError, match="^" + re.escape(message)):
        call(small(), torch.randn(2, 6, 3))


def test_unused_numbers_are_a_matter_of_structure_not_of_values():
    """The count is the same before and after training: zero weights or constants beyond their
    bounds do not make a number unused.
    """
    net = Stack(Layer(4, 6, SoftLIF()), Readout(6, 2, weight_init=init.Zeros()))
    before = count_parameters(net)
    with torch.no_grad():
        net.layers[0].constants.alpha[:3] = 2.0
        net.layers[0].weight.zero_()
    assert count_parameters(net) == before == (4 * 6 + 6 + 6 * 6 + 6 + 6 * 2 + 2 + 2, 0)
    adapting = ALIF(beta=init.Constant(0.0))  # β starts at 0 but is trained, so τ_adp counts
    assert count_parameters(Stack(Layer(2, 3, adapting), Readout(3, 2)))[1] == 0
    assert count_parameters(Stack(Layer(2, 3, ALIF(beta=0.0)), Readout(3, 2)))[1] == 3
