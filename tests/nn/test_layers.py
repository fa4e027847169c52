"""Layers: parameters and where they lie, masks, norms, dropout, state in and out, and the errors
that bad input gets.
"""

from __future__ import annotations

import copy
import math
import re
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor, nn

from srnn import BatchNorm, Bidirectional, Concat, Layer, LayerNorm, Mean, Readout, Stack, init
from srnn._check import ConfigError, DataError, ShapeError
from srnn.activations import Identity, Relu, Soft, Spike
from srnn.init import Constant, FanIn, Fixed, Normal, Orthogonal, Uniform, XavierUniform, Zeros
from srnn.neurons import ALIF, IF, LIF, AdLIF, Leaky, SoftLIF, YinLIF
from srnn.surrogates import Boxcar, MultiGaussian

FLOAT = torch.float64


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)


# ── parameters ────────────────────────────────────────────────────────────────────────────────────


def test_parameters_lie_at_plain_paths():
    layer = Layer(
        3,
        4,
        ALIF(b0=Constant(0.1, shared=True)),
        recurrent_bias=True,
        norm=BatchNorm(),
        recurrent_sparsity=0.5,
        sparsity=0.25,
    )
    assert {k: tuple(p.shape) for k, p in layer.named_parameters()} == {
        "weight": (4, 3),
        "bias": (4,),
        "recurrent": (4, 4),
        "recurrent_bias": (4,),
        "norm.weight": (4,),
        "norm.bias": (4,),
        "constants.tau_m": (4,),
        "constants.tau_adp": (4,),
        "constants.b0": (),
    }
    buffers = {
        "weight_mask",
        "recurrent_mask",
        "constants.beta",
        "norm.running_mean",
        "norm.running_var",
        "norm.num_batches_tracked",
    }
    assert {k for k, _ in layer.named_buffers()} == buffers
    assert set(layer.state_dict()) == buffers | {k for k, _ in layer.named_parameters()}


@pytest.mark.parametrize(
    ("kwargs", "present"),
    [
        ({}, {"weight", "bias", "recurrent"}),
        ({"bias": False}, {"weight", "recurrent"}),
        ({"recurrent": False}, {"weight", "bias"}),
        ({"recurrent_bias": True}, {"weight", "bias", "recurrent", "recurrent_bias"}),
        ({"recurrent": False, "bias": False}, {"weight"}),
    ],
)
def test_what_is_asked_for_is_what_there_is(kwargs, present):
    assert {k for k, _ in Layer(2, 3, YinLIF(), **kwargs).named_parameters()} == present


def test_readout_is_a_plain_layer():
    readout = Readout(4, 3)
    assert (readout.inputs, readout.outputs) == (4, 3)
    assert (readout.neuron, readout.activation, readout.recurrent) == (Leaky(), Identity(), None)
    assert {k for k, _ in readout.named_parameters()} == {"weight", "bias", "constants.tau_m"}
    assert Readout(4, 3, SoftLIF(), bias=False).neuron == SoftLIF()


def test_weights_start_as_they_are_told():
    layer = Layer(50, 40, LIF(), recurrent_bias=True)
    bound = math.sqrt(6 / 90)
    assert 0.9 * bound < layer.weight.abs().max() <= bound  # Xavier
    # orthogonal
    torch.testing.assert_close(
        layer.recurrent.T @ layer.recurrent, torch.eye(40), rtol=0, atol=1e-5
    )
    assert not layer.bias.any()
    assert not layer.recurrent_bias.any()
    own = Layer(50, 40, LIF(), weight_init=FanIn(), recurrent_init=Zeros())
    assert 0.9 * 50**-0.5 < own.weight.abs().max() <= 50**-0.5
    assert not own.recurrent.any()
    layer = Layer(50, 40, LIF(), weight_init=XavierUniform(2.0), recurrent_init=Orthogonal(0.5))
    assert bound < layer.weight.abs().max() <= 2 * bound
    torch.testing.assert_close(
        layer.recurrent.T @ layer.recurrent, 0.25 * torch.eye(40), rtol=0, atol=1e-5
    )


def test_the_seed_decides_and_reset_draws_anew():
    layers = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        layers.append(Layer(3, 4, ALIF(), sparsity=0.5, norm=BatchNorm()))
    one, same, other = (layer.state_dict() for layer in layers)
    assert all(torch.equal(one[k], same[k]) for k in one)
    assert not torch.equal(one["weight"], other["weight"])
    mask = layers[0].weight_mask.clone()
    for number in (layers[0].bias, layers[0].norm.weight, layers[0].norm.running_mean):
        number.data.fill_(3.0)
    layers[0].reset_parameters()
    assert (layers[0].norm.weight == 1).all()
    assert not layers[0].norm.running_mean.any()
    assert not torch.equal(layers[0].weight, layers[1].weight)
    assert not torch.equal(layers[0].constants.tau_m, layers[1].constants.tau_m)
    assert not layers[0].bias.any()
    assert torch.equal(layers[0].weight_mask, mask)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_dtype_and_device(dtype):
    layer = Layer(
        3,
        4,
        AdLIF(),
        norm=LayerNorm(),
        recurrent_bias=True,
        zero_diagonal=True,
        device=torch.device("cpu"),
        dtype=dtype,
    )
    assert {p.dtype for p in layer.parameters()} == {dtype}
    assert layer.constants.threshold.dtype == dtype
    run = layer(torch.randn(2, 3, 3, dtype=dtype), potential=True)
    assert {run.output.dtype, run.potential.dtype, *(v.dtype for v in run.state.values())} == {
        dtype
    }
    meta = Layer(
        3,
        4,
        AdLIF(),
        norm=BatchNorm(),
        sparsity=0.5,
        zero_diagonal=True,
        device=torch.device("meta"),
    )
    assert {t.device.type for t in (*meta.parameters(), *meta.buffers())} == {"meta"}


def test_a_layer_moves_as_a_whole():
    layer = Layer(3, 4, ALIF(), zero_diagonal=True).double()
    assert {p.dtype for p in layer.parameters()} == {FLOAT}
    assert layer.recurrent_mask.dtype == torch.bool
    assert layer(torch.randn(1, 2, 3, dtype=FLOAT)).output.dtype == FLOAT


# ── what the equation says ────────────────────────────────────────────────────────────────────────


def test_alif_layer_written_out():
    """I = W x + b + R s + b_R and the neuron's equation as plain loops over numbers: 20 steps,
    every spike equal.
    """
    layer = Layer(
        3, 5, ALIF(Normal(6.0, 1.0), Normal(12.0, 2.0), 0.05, 1.2), recurrent_bias=True, dtype=FLOAT
    )
    with torch.no_grad():
        layer.bias.uniform_(-0.2, 0.4)
        layer.recurrent_bias.uniform_(-0.2, 0.4)
    x = 2 * torch.randn(2, 20, 3, dtype=FLOAT)
    run = layer(x, potential=True)
    W, b, R, b_R = (
        p.tolist() for p in (layer.weight, layer.bias, layer.recurrent, layer.recurrent_bias)
    )
    alpha, rho = (
        [math.exp(-1 / t) for t in p.tolist()]
        for p in (layer.constants.tau_m, layer.constants.tau_adp)
    )
    spikes = 0
    for r in range(2):
        u, eta, s = [0.0] * 5, [0.0] * 5, [0.0] * 5
        for t in range(20):
            drive = [
                sum(W[n][c] * x[r, t, c].item() for c in range(3))
                + b[n]
                + sum(R[n][m] * s[m] for m in range(5))
                + b_R[n]
                for n in range(5)
            ]
            for n in range(5):
                eta[n] = rho[n] * eta[n] + (1 - rho[n]) * s[n]
                u[n] = alpha[n] * u[n] + (1 - alpha[n]) * drive[n] - (0.05 + 1.2 * eta[n]) * s[n]
            s = [float(u[n] - (0.05 + 1.2 * eta[n]) > 0) for n in range(5)]
            assert run.output[r, t].tolist() == s
            assert run.potential[r, t].tolist() == pytest.approx(u, rel=1e-9, abs=1e-12)
            spikes += sum(s)
        assert run.state["eta"][r].tolist() == pytest.approx(eta, rel=1e-9)
    assert 20 < spikes < 180


def test_without_memory_a_layer_is_torch_linear():
    """A decay of exp(-1000) = 0 and no activation: W x + b, by torch.nn.Linear."""
    layer = Readout(4, 3, Leaky(Constant(1e-3)), dtype=FLOAT)
    with torch.no_grad():
        layer.bias.normal_()
    linear = nn.Linear(4, 3, dtype=FLOAT)
    linear.load_state_dict({"weight": layer.weight.data, "bias": layer.bias.data})
    x = torch.randn(2, 5, 4, dtype=FLOAT)
    torch.testing.assert_close(layer(x).output, linear(x), rtol=1e-13, atol=1e-14)


def test_without_memory_a_recurrent_layer_is_torch_rnn():
    """The same with feedback and max(0, x): torch.nn.RNN with its two biases, outputs, final state
    and gradients.
    """
    layer = Layer(
        4,
        3,
        SoftLIF(alpha=Fixed(0.0), threshold=Fixed(0.0)),
        Relu(),
        recurrent_bias=True,
        dtype=FLOAT,
    )
    with torch.no_grad():
        layer.bias.normal_()
        layer.recurrent_bias.normal_()
    rnn = nn.RNN(4, 3, nonlinearity="relu", batch_first=True, dtype=FLOAT)
    names = {
        "weight_ih_l0": "weight",
        "weight_hh_l0": "recurrent",
        "bias_ih_l0": "bias",
        "bias_hh_l0": "recurrent_bias",
    }
    rnn.load_state_dict({theirs: getattr(layer, ours).data for theirs, ours in names.items()})
    x = torch.randn(2, 6, 4, dtype=FLOAT)
    (output, end), run = rnn(x), layer(x)
    torch.testing.assert_close(run.output, output, rtol=1e-12, atol=1e-13)
    torch.testing.assert_close(run.state["s"], end[0], rtol=1e-12, atol=1e-13)
    g = torch.randn_like(output)
    (output * g).sum().backward()
    (run.output * g).sum().backward()
    for theirs, ours in names.items():
        torch.testing.assert_close(
            getattr(layer, ours).grad, getattr(rnn, theirs).grad, rtol=1e-10, atol=1e-12
        )
    assert 0 < (output > 0).double().mean() < 1


def test_both_biases_get_the_same_gradient():
    layer = Layer(3, 4, ALIF(), recurrent_bias=True)
    layer(torch.randn(2, 6, 3)).output.sum().backward()
    assert layer.bias.grad.any()
    assert torch.equal(layer.bias.grad, layer.recurrent_bias.grad)


# ── masks ─────────────────────────────────────────────────────────────────────────────────────────


def test_zero_diagonal():
    """No neuron feeds itself: the diagonal has no effect, and no gradient."""
    layer = Layer(3, 4, LIF(threshold=0.05), Soft(), zero_diagonal=True, dtype=FLOAT)
    x = torch.randn(2, 8, 3, dtype=FLOAT)
    before = layer(x, potential=True)
    before.potential.sum().backward()
    assert not layer.recurrent.grad.diagonal().any()
    assert int(layer.recurrent.grad.count_nonzero()) == 12
    with torch.no_grad():
        layer.recurrent.diagonal().fill_(1e6)
    assert torch.equal(layer(x, potential=True).potential, before.potential)
    free = Layer(3, 4, LIF(threshold=0.05), Soft(), dtype=FLOAT)
    free.load_state_dict(layer.state_dict(), strict=False)
    assert not torch.equal(free(x, potential=True).potential, before.potential)


def test_sparsity_keeps_the_published_number_of_connections():
    """Bittar & Garner 2022, Table 9: parameters of adLIF 3 x 128 on SHD, a fraction of the first
    layer's connections removed.
    """
    neuron = AdLIF()
    rest = 109_864 - 700 * 128
    for removed, published in (
        (0.0, 109_864),
        (0.1, 100_904),
        (0.5, 65_064),
        (0.9, 29_224),
        (0.95, 24_744),
        (0.99, 21_160),
    ):
        first = Layer(700, 128, neuron, recurrent=False, sparsity=removed)
        kept = first.weight.numel() if first.weight_mask is None else int(first.weight_mask.sum())
        assert kept + rest == published
    others = [Layer(128, 128, neuron, recurrent=False), Readout(128, 20, SoftLIF())]
    assert sum(p.numel() for layer in (first, *others) for p in layer.parameters()) == 109_864


def test_sparsity_of_both_matrices():
    """Table 10 spreads one fraction over all hidden W and V; here each matrix loses
    its own share.
    """
    layer = Layer(
        700,
        1024,
        AdLIF(),
        sparsity=0.9,
        recurrent_sparsity=0.9,
        weight_init=Zeros(),
        recurrent_init=Zeros(),
    )
    assert (int(layer.weight_mask.sum()), int(layer.recurrent_mask.sum())) == (71_680, 104_858)
    # 0.29 · 100 is 28.999999999999996
    assert int(Layer(10, 10, LIF(), sparsity=0.29).weight_mask.sum()) == 71
    shares = layer.weight_mask.float().mean(1)
    assert shares.std() < 0.03  # at random, not row by row
    assert shares.std() > 0.005


def test_removed_connections_have_no_effect_and_no_gradient():
    layer = Layer(
        6,
        5,
        LIF(threshold=0.05),
        sparsity=0.4,
        recurrent_sparsity=0.2,
        zero_diagonal=True,
        dtype=FLOAT,
    )
    assert (int(layer.weight_mask.sum()), int((~layer.weight_mask).sum())) == (18, 12)
    assert 15 <= int(layer.recurrent_mask.sum()) < 20  # 5 of 25 removed, and the diagonal
    assert not layer.recurrent_mask.diagonal().any()
    x = torch.randn(2, 8, 6, dtype=FLOAT)
    before = layer(x).output
    before.sum().backward()
    assert not layer.weight.grad[~layer.weight_mask].any()
    assert not layer.recurrent.grad[~layer.recurrent_mask].any()
    assert layer.weight.grad[layer.weight_mask].all()
    with torch.no_grad():
        layer.weight[~layer.weight_mask] = 1e6
        layer.recurrent[~layer.recurrent_mask] = 1e6
    assert torch.equal(layer(x).output, before)


# ── constants ─────────────────────────────────────────────────────────────────────────────────────


def test_bounds_hold_in_the_forward_pass_only():
    """A value outside its range acts as the bound, gets no gradient, and stays what it is."""
    layer = Layer(2, 3, SoftLIF(alpha=Uniform(0.6, 0.96, clamp=True)), dtype=FLOAT)
    with torch.no_grad():
        layer.constants.alpha.copy_(torch.tensor([0.1, 0.8, 1.7], dtype=FLOAT))
    x = torch.randn(2, 6, 2, dtype=FLOAT)
    run = layer(x, potential=True)
    run.potential.sum().backward()
    assert layer.constants()["alpha"].tolist() == [0.6, 0.8, 0.96]
    assert layer.constants.alpha.tolist() == [0.1, 0.8, 1.7]
    assert (layer.constants.alpha.grad != 0).tolist() == [False, True, False]
    inside = copy.deepcopy(layer)
    with torch.no_grad():
        inside.constants.alpha.copy_(torch.tensor([0.6, 0.8, 0.96], dtype=FLOAT))
    assert torch.equal(inside(x, potential=True).potential, run.potential)
    free = Layer(2, 3, SoftLIF(alpha=Uniform(0.6, 0.96)), dtype=FLOAT)
    free.load_state_dict(layer.state_dict())
    assert not torch.equal(free(x, potential=True).potential, run.potential)


def test_a_mixture_of_adaptive_and_plain_neurons():
    """LSNN style, Fixed β one by one: each part of the layer is what a layer of that kind is."""
    mixed = Layer(
        3,
        4,
        ALIF(Constant(6.0), Constant(9.0), 0.05, Fixed([0.0, 0.0, 1.8, 1.8])),
        recurrent=False,
        dtype=FLOAT,
    )
    x = 3 * torch.randn(2, 12, 3, dtype=FLOAT)
    output = mixed(x).output
    for beta, part in ((0.0, slice(0, 2)), (1.8, slice(2, 4))):
        pure = Layer(
            3, 4, ALIF(Constant(6.0), Constant(9.0), 0.05, beta), recurrent=False, dtype=FLOAT
        )
        pure.load_state_dict(
            {
                k: torch.tensor(beta, dtype=FLOAT) if k.endswith("beta") else v
                for k, v in mixed.state_dict().items()
            }
        )
        assert torch.equal(pure(x).output[..., part], output[..., part])
        assert not torch.equal(pure(x).output, output)
    assert not mixed.constants.beta.requires_grad
    assert "constants.beta" not in dict(mixed.named_parameters())


@pytest.mark.parametrize(
    ("value", "shape", "trained"),
    [
        (0.3, (), False),
        (Constant(0.3), (4,), True),
        (Constant(0.3, shared=True), (), True),
        (Normal(0.3, 0.1, train=False), (4,), False),
        (Uniform(0.2, 0.4), (4,), True),
        (Fixed([0.1, 0.2, 0.3, 0.4]), (4,), False),
    ],
)
def test_a_constant_is_what_its_initialiser_says(value, shape, trained):
    layer = Layer(3, 4, IF(threshold=value))
    threshold = layer.constants.threshold
    assert (tuple(threshold.shape), isinstance(threshold, nn.Parameter)) == (shape, trained)
    layer(torch.randn(1, 3, 3)).output.sum().backward()
    assert (threshold.grad is not None) == trained


# ── norm and dropout ──────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("norm", [BatchNorm(), LayerNorm()])
def test_the_recurrent_part_is_never_normalised(norm):
    """The same current as norm(W x + b), handed to a layer without norm: the same spikes, feedback
    and b_R included.
    """
    layer = Layer(3, 4, SoftLIF(threshold=0.3), norm=norm, recurrent_bias=True, dtype=FLOAT).eval()
    with torch.no_grad():
        for p in (layer.bias, layer.recurrent_bias, layer.norm.weight, layer.norm.bias):
            p.uniform_(0.2, 1.0)
    plain = Layer(4, 4, SoftLIF(threshold=0.3), recurrent_bias=True, bias=False, dtype=FLOAT)
    with torch.no_grad():
        plain.weight.copy_(torch.eye(4))
        for name in ("recurrent", "recurrent_bias"):
            getattr(plain, name).copy_(getattr(layer, name))
        plain.constants.alpha.copy_(layer.constants.alpha)
    x = 2 * torch.randn(3, 7, 3, dtype=FLOAT)
    current = nn.functional.linear(x, layer.weight, layer.bias)
    theirs = (
        nn.BatchNorm1d(4, dtype=FLOAT).eval()
        if isinstance(norm, BatchNorm)
        else nn.LayerNorm(4, dtype=FLOAT)
    )
    theirs.load_state_dict(layer.norm.state_dict())
    ours, wanted = (
        layer(x, potential=True),
        plain(theirs(current.flatten(0, 1)).view_as(current), potential=True),
    )
    torch.testing.assert_close(ours.potential, wanted.potential, rtol=1e-12, atol=1e-13)
    assert torch.equal(ours.output, wanted.output)
    assert 5 < ours.output.sum() < 79


def test_norm_settings():
    built = Layer(2, 3, LIF(), norm=BatchNorm(momentum=0.2, eps=1e-3)).norm
    assert (built.momentum, built.eps) == (0.2, 1e-3)
    assert (BatchNorm().momentum, LayerNorm().eps) == (0.05, 1e-5)


def test_dropout_acts_on_the_way_up_only():
    layer = Layer(3, 40, LIF(threshold=0.05), dropout=0.5).train()
    x = torch.randn(4, 20, 3)
    run = layer(x, potential=True)
    assert set(run.output.unique().tolist()) == {0.0, 2.0}
    assert set(run.emitted.unique().tolist()) == {0.0, 1.0}
    share = int((run.output > 0).sum()) / int(run.emitted.count_nonzero())
    assert 0.4 < share < 0.6
    assert torch.equal(run.state["s"], run.emitted[:, -1])
    whole = layer.eval()(x, potential=True)
    assert torch.equal(whole.potential, run.potential)  # the feedback was whole in training too
    assert torch.equal(whole.output, run.emitted)
    net = Stack(layer, Readout(40, 2)).train()
    # the trace is before dropout
    assert torch.equal(net(x, record=True).trace.outputs[0], run.emitted)


# ── state ─────────────────────────────────────────────────────────────────────────────────────────


def test_start_is_the_neurons_own():
    start = Layer(3, 4, ALIF()).start(2)
    assert {k: tuple(v.shape) for k, v in start.items()} == {
        "u": (2, 4),
        "eta": (2, 4),
        "s": (2, 4),
    }
    assert not any(v.any() for v in start.values())
    start["u"][0, 0] = 1.0  # own memory for every entry
    assert start["u"].sum() == 1.0


def test_a_hard_reset_is_seen_in_the_potential():
    layer = Layer(1, 2, YinLIF(0.5, 0.5), recurrent=False, bias=False)
    with torch.no_grad():
        layer.weight.fill_(1.0)
    run = layer(torch.tensor([[[0.4], [0.4], [0.4]]]), potential=True)
    assert run.output[0, :, 0].tolist() == [0.0, 1.0, 0.0]
    assert run.potential[0, :, 0].tolist() == pytest.approx([0.4, 0.0, 0.4])
    assert layer(torch.zeros(1, 1, 1)).potential is None


def test_the_start_may_be_graded():
    """An output of 0.3 before the first step feeds back, and resets, by 0.3."""
    layer = Layer(1, 1, SoftLIF(alpha=Fixed(0.5), threshold=1.0), bias=False, dtype=FLOAT)
    with torch.no_grad():
        layer.weight.fill_(1.0)
        layer.recurrent.fill_(2.0)
    state = {
        "u": torch.tensor([[0.8]], dtype=FLOAT),
        "s": torch.tensor([[0.3]], dtype=FLOAT, requires_grad=True),
    }
    run = layer(torch.tensor([[[0.1]]], dtype=FLOAT), state=state, potential=True)
    assert run.potential.item() == pytest.approx(0.5 * 0.8 + 0.5 * (0.1 + 2.0 * 0.3) - 1.0 * 0.3)
    run.potential.sum().backward()
    assert state["s"].grad.item() == pytest.approx(0.5 * 2.0 - 1.0)


# ── bidirectional ─────────────────────────────────────────────────────────────────────────────────


def test_bidirectional_weights_own_or_shared():
    layer = Layer(3, 4, ALIF())
    own, shared = Bidirectional(layer), Bidirectional(layer, layer, Mean())
    assert (
        len(list(own.parameters()))
        == 2 * len(list(shared.parameters()))
        == 2 * len(list(layer.parameters()))
    )
    assert not torch.equal(own.forward_layer.weight, own.backward_layer.weight)
    assert (own.inputs, own.outputs, shared.outputs) == (3, 8, 4)
    assert own.merge == Concat()
    assert {k.split(".")[0] for k, _ in own.named_parameters()} == {
        "forward_layer",
        "backward_layer",
    }
    a, b = torch.zeros(1, 2, 4), torch.ones(1, 2, 4)
    assert Mean()(a, b).unique().tolist() == [0.5]
    assert Concat()(a, b).shape == (1, 2, 8)


def test_bidirectional_with_shared_weights_knows_no_direction():
    layer = Layer(3, 4, LIF(threshold=0.05), dtype=FLOAT)
    net = Bidirectional(layer, layer, Mean())
    x = torch.randn(2, 6, 3, dtype=FLOAT)
    run = net(x)
    torch.testing.assert_close(net(x.flip(1)).output.flip(1), run.output, rtol=1e-12, atol=1e-13)
    run.output.sum().backward()
    assert layer.weight.grad.any()


# ── errors ────────────────────────────────────────────────────────────────────────────────────────


def raises(kind: type[Exception], message: str):
    """The message is given whole, or as its beginning up to …"""
    return pytest.raises(kind, match="^" + re_escape(message))


def re_escape(text: str) -> str:
    return re.escape(text.removesuffix("…")) + ("" if text.endswith("…") else "$")


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        (
            (700, 32, 250),
            "Layer(700 → 128, ALIF): x has shape (700, 32, 250); expected (B, T, C=700) = "
            "recordings, time steps, channels.\n"
            "  Axis 0 has length 700. If it is the channel axis, pass x.permute(1, 2, 0).",
        ),
        (
            (32, 700, 250),
            "Layer(700 → 128, ALIF): x has shape (32, 700, 250); expected (B, T, C=700) = "
            "recordings, time steps, channels.\n"
            "  Axis 1 has length 700. If it is the channel axis, pass x.transpose(1, 2).",
        ),
        (
            (32, 250, 40),
            "Layer(700 → 128, ALIF): x has shape (32, 250, 40); expected (B, T, C=700) = "
            "recordings, time steps, channels.\n"
            "  No axis has length 700: build the network for 40 input channels, or encode "
            "the signal differently.",
        ),
        (
            (250, 700),
            "Layer(700 → 128, ALIF): x has shape (250, 700); expected (B, T, C=700) = "
            "recordings, time steps, channels.\n"
            "  For a single recording pass x.unsqueeze(0).",
        ),
        (
            (250, 3),
            "Layer(700 → 128, ALIF): x has shape (250, 3); expected (B, T, C=700) = "
            "recordings, time steps, channels.",
        ),
        (
            (0, 5, 700),
            "Layer(700 → 128, ALIF): x has shape (0, 5, 700): no recordings; expected (B, "
            "T, C=700) = recordings, time steps, channels, …",
        ),
        (
            (5, 0, 700),
            "Layer(700 → 128, ALIF): x has shape (5, 0, 700): no time steps; expected (B, "
            "T, C=700) = recordings, time steps, channels, …",
        ),
    ],
)
def test_input_of_the_wrong_shape(shape, message):
    layer = Layer(700, 128, ALIF(), weight_init=Zeros(), recurrent_init=Zeros())
    with raises(ShapeError, message):
        layer(torch.zeros(shape))
    with raises(ShapeError, message.replace("Layer(700 → 128, ALIF)", "Stack")):
        Stack(layer)(torch.zeros(shape))
    with raises(
        ShapeError,
        message.replace("Layer(700 → 128, ALIF)", "Bidirectional(Layer(700 → 128, ALIF))"),
    ):
        Bidirectional(layer, layer)(torch.zeros(shape))


def test_a_single_channel_without_its_axis():
    with raises(
        ShapeError,
        "Layer(1 → 2, LIF): x has shape (5, 9); expected (B, T, C=1) = recordings, "
        "time steps, channels.\n  For a single channel …",
    ):
        Layer(1, 2, LIF())(torch.zeros(5, 9))


@pytest.mark.parametrize(
    ("dtype", "message"),
    [
        (
            torch.int64,
            "Layer(3 → 4, LIF): x has dtype torch.int64; expected a floating type. Pass x.float().",
        ),
        (
            torch.bool,
            "Layer(3 → 4, LIF): x has dtype torch.bool; expected a floating type. Pass x.float().",
        ),
        (
            torch.float64,
            "Layer(3 → 4, LIF): x has dtype torch.float64, the layer torch.float32. "
            "Pass x.to(torch.float32).",
        ),
    ],
)
def test_input_of_the_wrong_type(dtype, message):
    with raises(ShapeError, message):
        Layer(3, 4, LIF())(torch.zeros(2, 5, 3, dtype=dtype))


@pytest.mark.parametrize(
    ("lengths", "message"),
    [
        (
            [5, 6],
            "{}: lengths holds 6; expected 0 ≤ L ≤ T=5. Lengths count steps, not samples or "
            "seconds.",
        ),
        (
            [-1, 5],
            "{}: lengths holds -1; expected 0 ≤ L ≤ T=5. Lengths count steps, not samples "
            "or seconds.",
        ),
        (
            [1.0, 2.0],
            "{}: lengths has dtype torch.float32; expected integers. Pass lengths.long().",
        ),
        (
            [5, 5, 5],
            "{}: lengths has shape (3,); expected (B=2,), one number of valid steps a recording.",
        ),
        (
            [[5, 5]],
            "{}: lengths has shape (1, 2); expected (B=2,), one number of valid steps a recording.",
        ),
    ],
)
def test_lengths_that_do_not_fit(lengths, message):
    layer = Layer(3, 4, LIF())
    nets = {"Layer(3 → 4, LIF)": layer, "Stack": Stack(layer)}
    for who, net in nets.items():
        with raises(ShapeError, message.format(who)):
            net(torch.zeros(2, 5, 3), lengths=torch.tensor(lengths))


def _state(batch: int = 2, **changes: Tensor) -> dict[str, Tensor]:
    return {**Layer(3, 4, ALIF()).start(batch), **changes}


@pytest.mark.parametrize(
    ("state", "message"),
    [
        (
            {"u": torch.zeros(2, 4)},
            "Layer(3 → 4, ALIF): state holds u; expected u, eta, s: what "
            "`start(batch)` or an earlier call returned.",
        ),
        (
            _state(w=torch.zeros(2, 4)),
            "Layer(3 → 4, ALIF): state holds eta, s, u, w; expected u, eta, s: …",
        ),
        ((_state(), _state()), "Layer(3 → 4, ALIF): state holds tuple; expected u, eta, s: …"),
        (
            _state(eta=torch.zeros(2, 5)),
            "Layer(3 → 4, ALIF): state['eta'] has shape (2, 5); expected (B=2, N=4).",
        ),
        (
            _state(u=torch.zeros(2, 4, dtype=FLOAT)),
            "Layer(3 → 4, ALIF): state['u'] has dtype torch.float64, the layer torch.float32.",
        ),
        (_state(3), "Layer(3 → 4, ALIF): state['u'] has shape (3, 4); expected (B=2, N=4)."),
    ],
)
def test_a_state_that_does_not_fit(state, message):
    with raises(ShapeError, message):
        Layer(3, 4, ALIF())(torch.zeros(2, 5, 3), state=state)


def test_a_bidirectional_state_is_a_pair():
    both = Bidirectional(Layer(3, 4, ALIF()))
    for state, kind in ((_state(), "dict"), ((_state(),), "tuple")):
        with raises(
            ShapeError,
            f"Bidirectional: state is a {kind}; expected the pair (forward, "
            "backward) that `start(batch)` returns.",
        ):
            both(torch.zeros(2, 5, 3), state=state)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Layer(0, 4, LIF()), "Layer(0 → 4): sizes must be integers of at least 1."),
        (lambda: Layer(4, 0, LIF()), "Layer(4 → 0): sizes must be integers of at least 1."),
        (
            lambda: Layer(3, 4, LIF(), Relu()),
            "Layer(3 → 4, LIF): Relu with a hard reset: (1 - "
            "s)·u turns negative where s > 1. Use …",
        ),
        (
            lambda: Layer(3, 4, YinLIF(), Identity()),
            "Layer(3 → 4, YinLIF): Identity with a hard reset: …",
        ),
        *(
            (
                lambda k=k, v=v: Layer(3, 4, LIF(), recurrent=False, **{k: v}),
                "Layer(3 → 4, LIF): recurrent_bias, zero_diagonal and recurrent_sparsity "
                "need recurrent=True.",
            )
            for k, v in (
                ("recurrent_bias", True),
                ("zero_diagonal", True),
                ("recurrent_sparsity", 0.5),
            )
        ),
        (lambda: Layer(4.5, 6, ALIF()), "Layer(4.5 → 6): sizes must be integers of at least 1."),
        (
            lambda: Layer(4, 6, ALIF),
            "Layer: neuron is the class ALIF; expected a neuron such as "
            "srnn.ALIF(). Write ALIF() with parentheses.",
        ),
        (
            lambda: Layer(4, 6, "LIF"),
            "Layer: neuron is 'LIF'; expected a neuron such as srnn.ALIF().",
        ),
        (
            lambda: Layer(4, 6, ALIF(), MultiGaussian()),
            "Layer: activation is MultiGaussian(h=0.15, s=6.0, sigma=0.5, gain=0.5); expected …",
        ),
        (
            lambda: Layer(3, 4, LIF(), dropout=1.5),
            "dropout is 1.5; expected a number of at least 0 and at most 1.",
        ),
        (
            lambda: Layer(3, 4, LIF(), sparsity=-0.1),
            "sparsity is -0.1; expected a number of at least 0 and at most 1.",
        ),
        (
            lambda: Layer(3, 4, LIF(), recurrent_sparsity=math.nan),
            "recurrent_sparsity is nan; expected a number of at least 0 and at most 1.",
        ),
        (lambda: Layer(3, 4, ALIF(beta=Fixed([0.0, 1.8]))), "ALIF.beta: Fixed holds 2 …"),
        (
            lambda: Bidirectional(Layer(3, 4, LIF()), Layer(3, 5, LIF())),
            "Bidirectional: the directions differ in size: Layer(3 → 4, LIF) and Layer(3 → "
            "5, LIF).",
        ),
        (lambda: Stack(), "Stack: no layers; expected at least one."),
        (
            lambda: Stack(Layer(3, 4, LIF()), Readout(5, 2)),
            "Stack: layer 0 gives 4 channels, layer 1 takes 5; they must be equal.",
        ),
    ],
)
def test_settings_that_cannot_work(build, message):
    with raises(ConfigError, message):
        build()


@pytest.mark.parametrize(
    "activation", [Spike(Boxcar()), Spike(at_threshold=True), Soft(MultiGaussian())]
)
def test_spikes_sharp_or_smooth_may_reset_hard(activation):
    assert Layer(3, 4, LIF(), activation).activation is activation


def test_relu_has_its_place():
    run = Layer(3, 4, ALIF(), Relu())(3 * torch.randn(2, 6, 3))
    assert run.output.min() == 0
    assert run.output.max() > 0
    assert run.output.unique().numel() > 3


def test_the_layer_says_what_it_is_made_of():
    text = repr(Layer(3, 4, LIF(), Spike(Boxcar()), recurrent=False, weight_init=init.Zeros()))
    assert "3 → 4, LIF(" in text
    assert "Spike(surrogate=Boxcar(" in text
    assert "recurrent=False" in text


def test_slips_of_a_newcomer_are_told_at_once():
    """Initialisers that fill nothing, neurons that break the contract, things of the wrong kind:
    refused when the layer is made.
    """

    @dataclass(frozen=True)
    class Column(SoftLIF):
        def step(self, I, s, state, c):
            x, new = super().step(I, s, state, c)
            return x.sum(-1, keepdim=True), new

    @dataclass(frozen=True)
    class Forgets(SoftLIF):
        states = ("u", "w")

    @dataclass(frozen=True)
    class Nameless(SoftLIF):
        states = ("v",)

        def step(self, I, s, state, c):
            return state["v"] + I, {"v": state["v"] + I}

    class Undecorated(SoftLIF):
        tau: float = 3.0

    slips = [
        (lambda: Layer(3, 4, SoftLIF(), weight_init=Orthogonal), "weight_init=<class"),
        (
            lambda: Layer(3, 4, SoftLIF(), recurrent_init=lambda w: None),
            "left values unset; expected a callable that fills a tensor in place, as "
            "Orthogonal() does.",
        ),
        (
            lambda: Layer(3, 4, Column()),
            "Column.step: x has shape (2, 1) for input (2, 4); every "
            "operation must be elementwise.",
        ),
        (
            lambda: Layer(3, 4, Forgets()),
            "Forgets.step returns the states u; expected u, w, as in `states`.",
        ),
        (lambda: Layer(3, 4, Nameless()), "Nameless has no state 'u'"),
        (
            lambda: Layer(3, 4, Undecorated()),
            "Undecorated: tau is no constant yet; decorate the class with @dataclass(frozen=True).",
        ),
        (
            lambda: Layer(3, 4, SoftLIF(), norm=BatchNorm),
            "Layer: norm is the class BatchNorm; expected srnn.BatchNorm() or srnn.LayerNorm().",
        ),
        (
            lambda: Bidirectional(Layer(3, 4, SoftLIF()), Mean()),
            "Bidirectional: backward_layer is Mean(); expected a Layer",
        ),
        (
            lambda: Bidirectional(Layer(3, 4, SoftLIF()), merge="mean"),
            "Bidirectional: merge is 'mean'; expected srnn.Concat() or srnn.Mean().",
        ),
        (
            lambda: Stack([Layer(3, 4, SoftLIF())]),
            "expected Layer, Readout or Bidirectional, as in Stack(first, second).",
        ),
        (
            lambda: Spike("boxcar"),
            "Spike: surrogate is 'boxcar'; expected a surrogate such as srnn.surrogates.Boxcar().",
        ),
    ]
    for build, message in slips:
        with pytest.raises(ConfigError) as refused:
            build()
        assert message in str(refused.value)
    assert len(slips) == 11


def test_a_signal_that_is_not_finite_is_refused_where_it_counts():
    net = Stack(Layer(3, 4, SoftLIF()), Readout(4, 2))
    x = torch.zeros(2, 5, 3)
    x[1, 3, 2] = torch.nan
    with pytest.raises(
        DataError,
        match="Stack: x is nan at recording 1, step 3, channel 2; expected finite numbers",
    ):
        net(x)
    assert bool(torch.isfinite(net(x, torch.tensor([5, 3])).potential).all())
    x[0, 0, 0] = torch.inf
    with pytest.raises(DataError, match="x is inf at recording 0, step 0, channel 0"):
        net(x, torch.tensor([5, 3]))
