"""Compression: integers in place of weights, connections and neurons that are gone, and what is
left to store.
"""

from __future__ import annotations

import copy
import itertools
import re
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import srnn
from srnn import (
    BatchNorm,
    Bidirectional,
    Layer,
    LayerNorm,
    Mean,
    Readout,
    Stack,
    cells,
    compress,
    energy,
    init,
)
from srnn._check import ConfigError
from srnn.activations import Identity, Relu, Soft
from srnn.kernels.fixed_weights import quantise, rounded
from srnn.nn.baselines import CausalConv, CumulativeReadout, Tandem
from srnn.nn.networks import count_parameters, single_layers
from srnn.surrogates import FastSigmoid

FLOATS = st.floats(-1e6, 1e6, width=32, allow_subnormal=True)
MATRICES = (
    st.integers(1, 5)
    .flatmap(lambda n: st.lists(st.lists(FLOATS, min_size=n, max_size=n), min_size=1, max_size=4))
    .map(torch.tensor)
)
BITS = st.integers(2, 16)
WIDE = init.XavierUniform(4.0)


def network(neuron=None, hidden=12, **kwargs):
    torch.manual_seed(0)
    neuron = neuron or srnn.ALIF(
        tau_m=init.Normal(10.0, 2.0),
        beta=init.Fixed([0.0] * (hidden // 2) + [1.8] * (hidden - hidden // 2)),
    )
    return Stack(
        Layer(5, hidden, neuron, recurrent_bias=True, weight_init=WIDE, **kwargs),
        Layer(hidden, 7, srnn.ALIF(), weight_init=WIDE),
        Readout(7, 3),
    )


def signal(steps=30, channels=5, batch=3):
    return (
        torch.rand(batch, steps, channels, generator=torch.Generator().manual_seed(1)) < 0.4
    ).float()


def matrices(net):
    return [m for layer in single_layers(net) for m in layer.weights() if m is not None]


def zeros(net):
    return sum(int((m == 0).sum()) for m in matrices(net)) / sum(m.numel() for m in matrices(net))


# ── bits ──────────────────────────────────────────────────────────────────────────────────────────


@settings(deadline=None)
@given(MATRICES, BITS)
def test_a_weight_is_a_whole_number_of_scales_and_at_most_half_a_scale_away(weight, bits):
    q, scale = quantise(weight, bits)
    assert (q.dtype, scale.dtype, scale.shape) == (
        torch.int8 if bits <= 8 else torch.int16,
        torch.float64,
        (len(weight),),
    )
    assert bool((scale > 0).all())
    assert int(q.abs().max()) <= 2 ** (bits - 1) - 1
    assert bool(((q == 0) | (weight != 0)).all())
    error = (q.double() * scale.unsqueeze(1) - weight.double()).abs()
    assert bool((error <= 0.5 * scale.unsqueeze(1) * (1 + 1e-12)).all())
    # the largest of a row is the largest number there is
    for row, digits in zip(weight, q, strict=True):
        assert int(digits.abs().max()) == (2 ** (bits - 1) - 1 if bool(row.any()) else 0)


@settings(deadline=None)
@given(MATRICES, BITS, st.sampled_from([torch.float32, torch.float64]))
def test_integers_times_a_scale_give_the_same_integers_again(weight, bits, dtype):
    weight = weight.to(dtype)
    q, scale = quantise(weight, bits)
    weight = rounded(weight, bits)
    again, other = quantise(weight, bits)
    # the products of denormal float32 numbers have few digits
    normal = weight.abs().amax(1) > 1e-30
    assert torch.equal(again[normal], q[normal])
    torch.testing.assert_close(other[normal], scale[normal], rtol=1e-7, atol=0.0)
    assert torch.equal(rounded(weight, bits)[normal], weight[normal]), (
        "rounded once, nothing changes any more"
    )


def test_halves_go_to_the_even_number_and_a_row_of_zeros_has_scale_1():
    q, scale = quantise(
        torch.tensor([[127.0, 0.5, 1.5, -2.5], [0.0, 0.0, 0.0, 0.0], [-7.0, 1.0, 0.0, 0.25]]), 8
    )
    assert q[0].tolist() == [127, 0, 2, -2]
    assert (q[1].tolist(), scale.tolist()[:2]) == ([0, 0, 0, 0], [1.0, 1.0])
    assert quantise(torch.tensor([[-7.0, 3.4, 0.0, 0.25]]), 4)[0].tolist() == [[-7, 3, 0, 0]]


def test_the_gradient_goes_straight_through_and_not_to_what_was_removed():
    weight = torch.randn(4, 6, requires_grad=True)
    slope = torch.randn(4, 6)
    (rounded(weight, 4) * slope).sum().backward()
    assert torch.equal(weight.grad, slope)
    q, scale = quantise(weight, 4)
    assert torch.equal(rounded(weight, 4), (q.double() * scale.unsqueeze(1)).float())

    layer = Layer(6, 4, srnn.LIF(), sparsity=0.5, bits=8)
    out = layer(signal(channels=6), potential=True).potential.square().sum()
    out.backward()
    gone = ~layer.weight_mask
    assert int(gone.sum()) == 12
    assert bool((layer.weight.grad[gone] == 0).all())
    assert int((layer.weight.grad[~gone] != 0).sum()) >= 10
    assert bool((layer.weights()[0][gone] == 0).all())


def test_a_network_of_integers_is_the_network_with_rounded_weights():
    """The rounded weights are computed once a call, before the loop: the same bits as a network
    that has them as its own.
    """
    net = network()
    fine = copy.deepcopy(net)
    compress.set_bits(net, 4)
    with torch.no_grad():
        for layer in single_layers(fine):
            layer.weight.copy_(rounded(layer.weight, 4))
            if layer.recurrent is not None:
                layer.recurrent.copy_(rounded(layer.recurrent, 4))
    for backend in ("cpu", "reference"):
        a, b = (
            net(signal(), record=True, backend=backend),
            fine(signal(), record=True, backend=backend),
        )
        assert torch.equal(a.potential, b.potential)
        assert a.trace.spikes() == b.trace.spikes() > 20
    assert torch.equal(copy.deepcopy(net)(signal()).potential, net(signal()).potential)
    compress.set_bits(net, None)
    assert not torch.equal(net(signal()).potential, fine(signal()).potential)


@pytest.mark.parametrize(
    "neuron", [srnn.ALIF(), srnn.AdLIF(), srnn.LIF()], ids=lambda n: type(n).__name__
)
@pytest.mark.parametrize("bits", [8, 4])
def test_the_kernels_and_the_reference_agree_on_integers_and_pruned_matrices(neuron, bits):
    torch.manual_seed(0)
    net = Stack(Layer(5, 9, neuron, Soft(FastSigmoid())), Readout(9, 3)).double()
    compress.set_bits(net, bits)
    compress.prune(net, 0.5)
    grads, outs = [], []
    for backend in ("cpu", "reference"):
        net.zero_grad()
        out = net(signal().double(), lengths=torch.tensor([30, 7, 19]), backend=backend).potential
        out.sin().sum().backward()
        outs.append(out.detach())
        grads.append(
            {name: p.grad.clone() for name, p in net.named_parameters() if p.grad is not None}
        )
    torch.testing.assert_close(*outs)
    assert grads[0].keys() == grads[1].keys()
    assert len(grads[0]) >= 6
    for name, grad in grads[0].items():
        torch.testing.assert_close(grad, grads[1][name], msg=name)


def test_training_moves_weights_that_the_rounding_hides():
    """Steps far below a scale add up: the weight that is trained stays as precise as it was."""
    torch.manual_seed(0)
    layer, teacher = (Layer(4, 3, srnn.Leaky(2.0), Identity(), recurrent=False) for _ in range(2))
    layer.bits = 4
    x = torch.randn(8, 5, 4)
    goal = teacher(x, potential=True).potential.detach()
    optimiser = torch.optim.SGD([layer.weight], lr=1e-3)
    losses, step = [], 0.0
    for _ in range(200):
        loss = (layer(x, potential=True).potential - goal).square().sum()
        optimiser.zero_grad()
        loss.backward()
        before = layer.weight.detach().clone()
        optimiser.step()
        step = max(step, float((layer.weight.detach() - before).abs().max()))
        losses.append(float(loss.detach()))
    assert step < 0.5 * float(quantise(layer.weight, 4)[1].min())
    assert min(losses[-10:]) < 0.1 * losses[0]


def test_what_cannot_be_is_refused():
    net = network()
    for bits in (1, 17, 8.0, True, "8"):
        with pytest.raises(ConfigError, match=r"bits is .*; expected a whole number from 2 to 16"):
            compress.set_bits(net, bits)
    with pytest.raises(ConfigError, match="bits is 0"):
        Layer(3, 3, srnn.LIF(), bits=0)
    with pytest.raises(ConfigError, match=r"sparsity is 1\.5"):
        compress.prune(net, 1.5)
    first = copy.deepcopy(net.state_dict())
    with pytest.raises(
        ConfigError,
        match=r"would leave Layer\(7 → 3, Leaky\) without any input. "
        r"Use scope=.layer. or a smaller",
    ):
        compress.prune(net, 0.9)
    assert all(bool(m.all()) for name, m in net.state_dict().items() if name.endswith("_mask"))
    assert all(torch.equal(t, net.state_dict()[name]) for name, t in first.items())
    with pytest.raises(ConfigError, match="Use a smaller sparsity"):
        compress.prune(net, 1.0, "layer")
    with pytest.raises(ConfigError, match=r"scope: there is no 'row'.*Known: global, layer"):
        compress.prune(net, 0.5, "row")
    conv = Stack(CausalConv(5, 4), Readout(4, 3))
    for action in (
        lambda: compress.set_bits(conv, 8),
        lambda: compress.prune(conv, 0.5),
        lambda: compress.size(conv),
    ):
        with pytest.raises(ConfigError, match="part 0 of the network is a CausalConv"):
            action()
    with pytest.raises(ConfigError, match="has a CausalConv"):
        compress.widths(conv, 0.5)
    readout = Stack(Layer(5, 4, cells.GRU(), Identity()), CumulativeReadout(4, 3))
    with pytest.raises(ConfigError, match="part 1 of the network is a CumulativeReadout"):
        compress.set_bits(readout, 8)
    with pytest.raises(ConfigError, match="hidden layers of 12, 7 neurons"):
        compress.remove_neurons(net, (13, 7))
    with pytest.raises(ConfigError, match="a number for each"):
        compress.remove_neurons(net, (3,))


# ── connections ───────────────────────────────────────────────────────────────────────────────────


@settings(deadline=None, max_examples=40)
@given(st.floats(0.0, 0.8), st.sampled_from(compress.SCOPES))
def test_the_largest_weights_stay_and_their_number_is_exact(sparsity, scope):
    net = Stack(
        Layer(5, 12, srnn.ALIF()),
        Layer(12, 7, srnn.LIF(), weight_init=init.XavierUniform(1.5)),
        Readout(7, 3),
    )
    before = copy.deepcopy(net)
    left = compress.prune(net, sparsity, scope)
    groups = list(zip(matrices(net), matrices(before), strict=True))
    if scope == "global":
        assert left == round((1 - sparsity) * compress.size(net).entries)
        groups = [
            (
                torch.cat([a.flatten() for a, _ in groups]),
                torch.cat([b.flatten() for _, b in groups]),
            )
        ]
    assert (
        left
        == sum(round((1 - sparsity) * b.numel()) for _, b in groups)
        == compress.size(net).connections
    )
    for after, full in groups:
        kept, gone = full[after != 0].abs(), full[after == 0].abs()
        if len(kept) and len(gone):
            assert bool(kept.min() >= gone.max())
    assert compress.prune(net, sparsity, scope) == left, "once more changes nothing"


def test_what_was_never_there_stays_away_and_counts():
    torch.manual_seed(0)
    net = Stack(Layer(5, 8, srnn.ALIF(), zero_diagonal=True, sparsity=0.25), Readout(8, 3))
    first = net.parts()[0].weight_mask.clone()
    assert compress.prune(net, 0.05) == 5 * 8 - 10 + 8 * 7 + 24, "fewer than that are left already"
    compress.prune(net, 0.5)
    layer = net.parts()[0]
    assert compress.size(net).connections == round(0.5 * (40 + 64 + 24))
    assert not bool((layer.weight_mask & ~first).any())
    assert not bool(layer.recurrent_mask.diagonal().any())


def test_gradual_pruning_takes_most_at_first_and_ends_at_the_target():
    found = [compress.gradual(0.9, k, 10) for k in range(12)]
    assert found[9:] == [0.9, 0.9, 0.9]
    steps = [b - a for a, b in zip([0.0, *found], found, strict=False)]
    assert all(a >= b for a, b in itertools.pairwise(steps))
    assert compress.gradual(0.9, 0, 1) == 0.9
    assert found[0] == pytest.approx(0.9 * (1 - 0.9**3))


@pytest.mark.parametrize("backend", ["cpu", "reference"])
def test_removed_connections_stay_removed_while_the_others_train(backend):
    net = network()
    compress.prune(net, 0.6, "layer")
    compress.set_bits(net, 8)
    masks = [
        m.clone()
        for layer in single_layers(net)
        for m in (layer.weight_mask, layer.recurrent_mask)
        if m is not None
    ]
    before = [m.detach().clone() for m in matrices(net)]
    optimiser = torch.optim.Adam(net.parameters(), lr=1e-2, weight_decay=1e-3)
    for _ in range(5):
        loss = net(signal(), backend=backend).potential.square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    for mask, a, b in zip(masks, before, matrices(net), strict=True):
        assert bool((b[~mask] == 0).all())
        assert not torch.equal(a, b)
    assert zeros(net) >= 0.59


def test_a_pruned_network_is_counted_as_what_is_left():
    net = network()
    used, unused = count_parameters(net)
    activity = energy.Activity.assumed(net, 0.1)
    full = energy.count(net, activity)
    entries = compress.size(net).entries
    compress.prune(net, 0.75, "layer")
    compress.set_bits(net, 8)
    left = compress.size(net).connections
    pruned = energy.count(net, activity)
    assert full.synaptic().ac - pruned.synaptic().ac == pytest.approx(0.1 * (entries - left))
    assert full.mac == pruned.mac
    for rules in ("yin2021", "bittar2022"):
        both = [energy.counts(n, activity)[rules].ac for n in (network(), net)]
        assert both[0] - both[1] == pytest.approx(0.1 * (entries - left))
    fewer, gone = count_parameters(net)
    assert fewer + gone == used + unused
    assert gone - unused >= entries - left  # neurons that nothing reads any more count too
    assert energy.count(net, activity, process=energy.INT8).energy < 0.2 * full.energy


# ── neurons ───────────────────────────────────────────────────────────────────────────────────────


def silenced(net, gone):
    """Return the network in which the outputs of these neurons of the first part go nowhere."""
    net = copy.deepcopy(net)
    part, above = net.parts()[0], net.parts()[1]
    with torch.no_grad():
        for d, layer in enumerate(
            [part] if isinstance(part, Layer) else [part.forward_layer, part.backward_layer]
        ):
            own = gone[d]
            if layer.recurrent is not None:
                layer.recurrent[:, own] = 0
            first = d * layer.neurons if part.outputs > layer.neurons else 0
            for reader in (
                [above] if isinstance(above, Layer) else [above.forward_layer, above.backward_layer]
            ):
                reader.weight[:, own + first] = 0
    return net


def lost(scores, keep, n):
    return [
        torch.tensor(
            [
                k
                for k in range(n)
                if k not in set(s.argsort(descending=True, stable=True)[:keep].tolist())
            ]
        )
        for s in scores
    ]


PARTS = {
    "lists of constants": lambda: network(),
    "no recurrence": lambda: Stack(Layer(5, 12, srnn.LIF(), recurrent=False), Readout(12, 3)),
    "zero diagonal, sparse": lambda: Stack(
        Layer(
            5,
            12,
            srnn.AdLIF(),
            zero_diagonal=True,
            sparsity=0.3,
            recurrent_sparsity=0.2,
            weight_init=WIDE,
        ),
        Readout(12, 3),
    ),
    "batch norm": lambda: Stack(Layer(5, 12, srnn.SparchAdLIF(), norm=BatchNorm()), Readout(12, 3)),
    "relu twin": lambda: Stack(Layer(5, 12, srnn.ALIF(), Relu()), Readout(12, 3)),
    "adex": lambda: Stack(
        Layer(
            5,
            12,
            srnn.AdEx(u_rest=init.Fixed([-70.0 + k for k in range(12)])),
            weight_init=init.XavierUniform(400.0),
        ),
        Readout(12, 3),
    ),
    "gated": lambda: Stack(Layer(5, 12, cells.LSTM(), Identity()), Readout(12, 3)),
    "light gru": lambda: Stack(
        Layer(5, 12, cells.LiGRU(), Identity(), norm=BatchNorm()), Readout(12, 3)
    ),
    "both directions": lambda: Stack(
        Bidirectional(Layer(5, 12, srnn.ALIF())), Layer(24, 4, srnn.LIF()), Readout(4, 3)
    ),
    "averaged": lambda: Stack(
        Bidirectional(Layer(5, 12, srnn.ALIF()), merge=Mean()),
        Bidirectional(Layer(12, 4, srnn.LIF())),
        Readout(8, 3),
    ),
    "shared weights": lambda: (lambda layer: Stack(Bidirectional(layer, layer), Readout(24, 3)))(
        Layer(5, 12, srnn.ALIF())
    ),
}


@pytest.mark.parametrize("kind", PARTS)
def test_a_network_without_neurons_is_that_with_them_silenced(kind):
    torch.manual_seed(0)
    net = PARTS[kind]()
    with torch.no_grad():
        net.parts()[0](torch.rand(4, 9, 5))  # moves the statistics of a batch norm
    net.eval()
    part = net.parts()[0]
    directions = [part] if isinstance(part, Layer) else [part.forward_layer, part.backward_layer]
    scores = compress.importance(net)[0].view(len(directions), -1)
    tied = kind in ("averaged", "shared weights")
    gone = lost(scores.sum(0, keepdim=True).expand_as(scores) if tied else scores, 7, 12)
    keep = (7, *compress.widths(net, 0.0)[1:])
    small, quiet = compress.remove_neurons(net, keep), silenced(net, gone)
    assert small.parts()[0].outputs == (14 if kind in ("both directions", "shared weights") else 7)
    x, lengths = signal(), torch.tensor([30, 7, 19])
    a, b = small(x, lengths=lengths, record=True), quiet(x, lengths=lengths, record=True)
    torch.testing.assert_close(a.potential, b.potential, rtol=1e-6, atol=1e-6)
    assert bool(a.trace.outputs[0].abs().sum() > 0)
    assert net.parts()[0].outputs != small.parts()[0].outputs, (
        "the network it came from stays as it was"
    )
    small.train()(x).potential.sum().backward()
    assert all(p.grad is None or p.grad.shape == p.shape for p in small.parameters())
    for layer in single_layers(small):
        layer.reset_parameters()
    assert small(x).potential.shape == (3, 30, 3)


def test_which_neurons_stay():
    net = network()
    assert compress.widths(net, 0.5) == (6, 3)
    assert compress.widths(net, 1.0) == (1, 1)
    with torch.no_grad():
        net.parts()[1].weight[:, [2, 5]] *= 100
    small = compress.remove_neurons(net, (2, 7))
    assert torch.equal(small.parts()[0].weight, net.parts()[0].weight[[2, 5]])
    assert torch.equal(small.parts()[0].constants.beta, net.parts()[0].constants.beta[[2, 5]])
    rates = [torch.zeros(12), torch.ones(7), torch.ones(3)]
    rates[0][[1, 7]] = 0.5
    small = compress.remove_neurons(net, (2, 7), compress.importance(net, rates))
    assert torch.equal(small.parts()[0].recurrent, net.parts()[0].recurrent[[1, 7]][:, [1, 7]])
    varied = Stack(Layer(5, 4, srnn.ALIF(), Soft(FastSigmoid(torch.ones(4)))), Readout(4, 3))
    with pytest.raises(ConfigError, match="one number a neuron"):
        compress.remove_neurons(varied, (2,))


def test_layer_norm_can_lose_neurons_and_tandem_layers_cannot():
    net = Stack(Layer(5, 12, srnn.ALIF(), norm=LayerNorm()), Readout(12, 3))
    assert compress.remove_neurons(net, (4,))(signal()).potential.shape == (3, 30, 3)
    tandem = Stack(Tandem(Layer(5, 6, srnn.IF(1.0), recurrent=False, bias=False)), Readout(6, 3))
    with pytest.raises(ConfigError, match="has a Tandem"):
        compress.remove_neurons(tandem, (3,))


def test_tandem_layers_use_what_is_left_of_their_weights():
    torch.manual_seed(0)
    net = Stack(Tandem(Layer(5, 6, srnn.IF(0.3), recurrent=False, bias=False)), Readout(6, 3))
    compress.prune(net, 0.5)
    compress.set_bits(net, 4)
    layer = net.parts()[0].layer
    fine = copy.deepcopy(net)
    with torch.no_grad():
        for a, b in zip(single_layers(fine), single_layers(net), strict=True):
            a.weight.copy_(b.weights()[0])
    compress.set_bits(fine, None)
    assert torch.equal(net(signal()).potential, fine(signal()).potential)
    net(signal()).potential.square().sum().backward()
    assert bool((layer.weight.grad[~layer.weight_mask] == 0).all())
    assert int((layer.weight.grad[layer.weight_mask] != 0).sum()) >= 3


def test_the_python_of_the_docs_runs():
    text = (Path(__file__).parents[1] / "docs" / "compress.md").read_text()
    (code,) = re.findall(r"```python\n(.*?)```", text, re.S)
    names = {}
    exec(code, names)
    assert [part.outputs for part in names["net"].parts()] == [36, 6]
    assert compress.size(names["small"]).connections == round(0.5 * (18 * 4 + 18 * 18 + 6 * 18))
    assert {layer.bits for layer in single_layers(names["small"])} == {8}


# ── bytes ─────────────────────────────────────────────────────────────────────────────────────────


def test_bytes_by_hand():
    torch.manual_seed(0)
    net = Stack(Layer(10, 8, srnn.LIF(10.0, 1.0), bias=True), Readout(8, 4, srnn.Leaky(5.0)))
    others = 4 * (8 + 2 + 4 + 1)  # biases; tau and threshold, each one for all
    assert compress.size(net).as_dict() == {
        "entries": 80 + 64 + 32,
        "connections": 176,
        "bytes": 4 * 176 + others,
    }
    compress.set_bits(net, 4)
    assert compress.size(net).bytes == 176 // 2 + 4 * (8 + 8 + 4) + others
    compress.set_bits(net, 8)
    # a map: entries / 8 + what is left; shorter than every entry, and than lists
    compress.prune(net, 0.5, "layer")
    assert compress.size(net).bytes == (10 + 40) + (8 + 32) + (4 + 16) + 4 * 20 + others
    compress.prune(net, 0.98, "layer")  # 2, 1, 1 left: a list a row would be 2 · rows + 2 for each
    assert compress.size(net).bytes == (10 + 2) + (8 + 1) + (4 + 1) + 4 * 20 + others
    wide = Stack(
        Layer(400, 2, srnn.LIF(10.0, 1.0), recurrent=False, bias=False),
        Readout(2, 2, srnn.Leaky(5.0), bias=False),
    )
    # 8 of 800: lists, with columns of 2 bytes; 4 of 4
    wide.parts()[0].weight_mask = torch.arange(800).view(2, 400) % 100 == 0
    assert compress.size(wide).bytes == (2 * 2 + 8 * (2 + 4)) + 4 * 4 + 4 * 3
