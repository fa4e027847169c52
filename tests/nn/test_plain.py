"""What a module does that its class does not say: every form of a network honours it, or refuses it
by name.
"""

from __future__ import annotations

import warnings
from contextlib import contextmanager
from functools import partial

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import nn
from torch.nn.utils import parametrizations, parametrize, prune, spectral_norm, weight_norm

from srnn import ALIF, Layer, Readout, Stack, compress, energy
from srnn._check import ConfigError
from srnn.activations import Identity, Spike
from srnn.cells import LiGRU
from srnn.export.described import described
from srnn.export.nir import to_nir
from srnn.export.onnx import to_onnx
from srnn.export.state import to_state
from srnn.export.torch_export import to_torch
from srnn.neurons import IF, LIF, Leaky
from srnn.nn.baselines import CausalConv, Tandem
from srnn.nn.layers import BatchNorm, LayerNorm
from srnn.nn.networks import count_parameters
from srnn.stream import Decision, Stream

C, N, K, T = 4, 6, 3, 8


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)


def network() -> Stack:
    return Stack(Layer(C, N, LIF(), norm=BatchNorm(), recurrent=False), Readout(N, K)).eval()


def signal() -> torch.Tensor:
    return 3 * torch.rand(2, T, C)


# ── departures ────────────────────────────────────────────────────────────────────────────────────


def halved(module, args, out):
    return out._replace(output=out.output / 2)


class Doubled(Layer):
    def forward(self, x, lengths=None, state=None, *, potential=False, backend="auto"):
        return super().forward(2 * x, lengths, state, potential=potential, backend=backend)


class Weighted(Layer):
    def weights(self):
        weight, recurrent = super().weights()
        return 2 * weight, recurrent


class Shifted(Layer):
    def normed(self, x, weight, bias, valid, *, backend):
        return 1 + super().normed(x, weight, bias, valid, backend=backend)


class Scaled(Stack):
    def forward(self, x, *args, **kwargs):
        return super().forward(2 * x, *args, **kwargs)


def with_hook() -> Stack:
    net = network()
    net.layers[0].register_forward_hook(halved)
    return net


def with_pre_hook() -> Stack:
    net = network()
    net.layers[1].register_forward_pre_hook(lambda module, args: (2 * args[0], *args[1:]))
    return net


def with_hooked_norm() -> Stack:
    net = network()
    net.layers[0].norm.register_forward_hook(lambda module, args, out: 2 * out)
    return net


def with_hooked_constants() -> Stack:
    net = network()
    net.layers[1].constants.register_forward_hook(
        lambda module, args, out: {k: 2 * v for k, v in out.items()}
    )
    return net


def with_other_norm() -> Stack:
    net = network()
    net.layers[0].norm = nn.RMSNorm(N)
    return net


def with_weightless_norm() -> Stack:
    net = network()
    net.layers[0].norm = nn.BatchNorm1d(N, affine=False)
    return net.eval()


def with_subclass(kind) -> Stack:
    norm = BatchNorm() if kind is Shifted else None
    return Stack(kind(C, N, LIF(), norm=norm, recurrent=False), Readout(N, K)).eval()


def with_hooked_convolution() -> Stack:
    net = Stack(CausalConv(C, N, 2), Readout(N, K)).eval()
    net.layers[0].conv.register_forward_hook(lambda module, args, out: 2 * out)
    return net


PARTS = {
    "layers.0 (Layer) has a forward hook": with_hook,
    "layers.1 (Readout) has a forward pre-hook": with_pre_hook,
    "layers.0.norm (BatchNorm1d) has a forward hook": with_hooked_norm,
    "layers.1.constants (Constants) has a forward hook": with_hooked_constants,
    "layers.0 (Layer) has a norm of another kind, RMSNorm": with_other_norm,
    "layers.0 (Layer) has a norm without weights": with_weightless_norm,
    "layers.0 (Doubled) has forward of its own": partial(with_subclass, Doubled),
    "layers.0 (Weighted) has weights of its own": partial(with_subclass, Weighted),
    "layers.0 (Shifted) has normed of its own": partial(with_subclass, Shifted),
    "layers.0.conv (Conv1d) has a forward hook": with_hooked_convolution,
}


def hooked_network() -> Stack:
    net = network()
    net.register_forward_hook(lambda module, args, out: out._replace(potential=2 * out.potential))
    return net


def pre_hooked_network() -> Stack:
    net = network()
    net.register_forward_pre_hook(lambda module, args: (2 * args[0],))
    return net


def network_of_a_subclass() -> Stack:
    return Scaled(*network().layers).eval()


WHOLE = {
    "the network (Stack) has a forward hook": hooked_network,
    "the network (Stack) has a forward pre-hook": pre_hooked_network,
    "the network (Scaled) has forward of its own": network_of_a_subclass,
}


def counted(net: Stack) -> object:
    return energy.count(net, energy.Activity.assumed(net, 0.1))


def written(form, net: Stack, folder) -> object:
    return form(net, folder / "net.safetensors")


READERS = {
    "Export to C": lambda net, folder: described(net),
    "to_onnx": lambda net, folder: to_onnx(net, folder / "net.onnx"),
    "to_state": lambda net, folder: to_state(net, folder / "net.safetensors"),
    "to_nir": lambda net, folder: to_nir(net, dt=1e-3),
    "energy.count": lambda net, folder: counted(net),
    "bits": lambda net, folder: compress.set_bits(net, 8),
    "connections": lambda net, folder: compress.prune(net, 0.5),
    "size": lambda net, folder: compress.size(net),
    "remove_neurons": lambda net, folder: compress.remove_neurons(net, (3,)),
}


@pytest.mark.parametrize("reader", READERS)
def test_what_reads_the_parts_of_a_network_refuses_by_name(reader, tmp_path):
    READERS[reader](network(), tmp_path)  # without any of it, it works
    for file in tmp_path.iterdir():
        file.unlink()
    refused = 0
    for words, build in {**PARTS, **WHOLE}.items():
        with pytest.raises(ConfigError) as error:
            READERS[reader](build(), tmp_path)
        assert str(error.value).startswith(f"{reader}: {words}"), words
        refused += 1
    assert refused == len(PARTS) + len(WHOLE) == 13
    assert not list(tmp_path.iterdir())


@contextmanager
def everywhere(hook):
    handle = nn.modules.module.register_module_forward_hook(hook)
    try:
        yield
    finally:
        handle.remove()


def test_a_hook_for_every_module_is_seen(tmp_path):
    net, x = network(), signal()
    plain = net(x).potential
    with everywhere(lambda m, args, out: 2 * out if isinstance(m, nn.BatchNorm1d) else None):
        for reader, read in READERS.items():
            with pytest.raises(ConfigError, match=f"{reader}: torch has a forward hook"):
                read(net, tmp_path)
        whole = net(x).potential
        got = Stream(net, batch=2, decision=Decision("last")).push(x).scores
    assert not torch.allclose(whole, plain)
    assert np.allclose(got, whole.detach().numpy(), atol=1e-6)


@pytest.mark.parametrize("backend", ["cpu", "reference"])
@pytest.mark.parametrize("words", PARTS)
@torch.no_grad()
def test_a_stream_honours_what_parts_do(words, backend):
    net, x = PARTS[words](), signal()
    whole = net(x, backend=backend)
    stream = Stream(net, batch=2, decision=Decision("last"), backend=backend)
    got = np.stack([stream.push(x[:, t]).scores for t in range(T)], 1)
    assert np.allclose(got, whole.potential.numpy(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("words", WHOLE)
def test_a_stream_refuses_what_the_network_does(words):
    with pytest.raises(ConfigError) as error:
        Stream(WHOLE[words]())
    assert str(error.value).startswith(f"Stream: {words}")


@pytest.mark.parametrize(
    "build", [with_hook, hooked_network, partial(with_subclass, Doubled), with_other_norm]
)
def test_a_program_of_torch_and_the_count_run_the_network_itself(build, tmp_path):
    net, x = build(), signal()
    program = torch.export.load(to_torch(net, tmp_path / "net.pt2", steps=T)).module()
    with torch.no_grad():
        assert torch.allclose(program(x)[0], net(x, backend="reference").potential, atol=1e-6)
    used, unused = count_parameters(net)
    assert used + unused == sum(p.numel() for p in net.parameters())


def test_the_count_sees_a_hook_that_cuts_a_layer_off():
    net = Stack(Layer(C, N, ALIF()), Readout(N, K))
    _, before = count_parameters(net)
    net.layers[0].register_forward_hook(lambda m, a, out: out._replace(output=0 * out.output))
    below = sum(p.numel() for p in net.layers[0].parameters())
    assert count_parameters(net)[1] == before + below + K * N


def test_a_method_set_on_an_object_cannot_be_copied(tmp_path):
    def build() -> Stack:
        net = network()
        old = net.layers[0].forward
        net.layers[0].forward = lambda x, *args, **kwargs: old(2 * x, *args, **kwargs)
        return net

    copies = {
        "stream": lambda net, folder: Stream(net),
        "count": lambda net, folder: count_parameters(net),
        "torch": lambda net, folder: to_torch(net, folder / "net.pt2"),
    }
    for name, form in {**READERS, **copies}.items():
        with pytest.raises(
            ConfigError, match=r"layers.0 \(Layer\)(: forward was set| has forward)"
        ):
            form(build(), tmp_path), name


def test_backward_hooks_are_no_matter():
    net = network()
    for module in net.modules():
        module.register_full_backward_hook(lambda module, given, found: None)
    assert len(described(net)) == 2
    assert counted(net).mac > 0


def test_a_tandem_layer_is_read_not_called():
    class Own(Layer):
        forward = Doubled.forward

    with pytest.raises(ConfigError, match=r"Tandem: its layer \(Own\) has forward of its own"):
        Tandem(Own(C, N, IF(), recurrent=False, bias=False))


# ── weights that torch computes ───────────────────────────────────────────────────────────────────


def old(f, *names):
    def put(layer: Layer) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            for name in names:
                f(layer, name)

    return put


class Cubed(nn.Module):
    def forward(self, x):
        return x**3


COMPUTED = {
    "parametrization": lambda k: parametrize.register_parametrization(k, "weight", Cubed()),
    "of a constant": lambda k: parametrize.register_parametrization(
        k.constants, "tau_m", nn.Softplus()
    ),
    "weight_norm": lambda k: parametrizations.weight_norm(k, "recurrent"),
    "spectral_norm": lambda k: parametrizations.spectral_norm(k, "weight"),
    "old weight_norm": old(weight_norm, "weight", "recurrent"),
    "old spectral_norm": old(spectral_norm, "weight"),
    "pruned": lambda k: prune.l1_unstructured(k, "weight", amount=0.5),
    "pruned twice": lambda k: [
        prune.random_unstructured(k, name, amount=0.5) for name in ("weight", "recurrent") * 2
    ],
}


@pytest.mark.parametrize("how", COMPUTED)
def test_computed_weights_are_those_of_now_in_every_form(how, tmp_path):
    net = Stack(Layer(C, N, ALIF()), Readout(N, K))
    COMPUTED[how](net.layers[0])
    x = signal()
    net(x).potential.sum().backward()
    optimiser = torch.optim.SGD(net.parameters(), lr=0.1)
    optimiser.step()  # what was computed for the last call is stale now
    net.eval()
    read = described(net)[0]
    tensors = load_file(to_state(net, tmp_path / "net.safetensors")[0])
    to_onnx(net, tmp_path / "net.onnx")
    assert counted(net).ac > 0
    stream = Stream(net, batch=2, decision=Decision("last"))
    assert stream.backend == Stream(Stack(Layer(C, N, ALIF()))).backend
    got = np.stack([stream.push(x[:, t]).scores for t in range(T)], 1)
    used, unused = count_parameters(net)
    with torch.no_grad():
        whole = net(x, backend="cpu")
    layer = net.layers[0]
    for name in ("weight", "recurrent"):
        assert torch.equal(getattr(read, name), getattr(layer, name).detach())
        assert torch.equal(tensors[f"layer0.{name}"], getattr(layer, name).detach())
    assert np.array_equal(got, whole.potential.double().numpy())
    assert used + unused == sum(p.numel() for p in net.parameters())
    pruned = int((layer.weight == 0).sum()) + int((layer.recurrent == 0).sum())
    assert unused == (pruned if how.startswith("pruned") else 0)
    if how.startswith("pruned"):
        assert pruned >= N * C // 2
    compress.prune(net, 0.6)
    compress.set_bits(net, 8)
    with pytest.raises(ConfigError, match=r"remove_neurons: .* has weights that torch computes"):
        compress.remove_neurons(net, (3,))
    with pytest.raises(ConfigError, match=r"size: .* has weights that torch computes"):
        compress.size(net)
    if how != "of a constant":
        with pytest.raises(ConfigError, match="is computed from other parameters"):
            layer.reset_parameters()


# ── another neuron or activation after building ───────────────────────────────────────────────────


def test_a_layer_takes_another_neuron_only_with_the_constants_it_has():
    layer = Layer(C, N, ALIF(beta=1.8))
    for other in (LIF(), ALIF(beta=0.0), ALIF(), Leaky()):
        if other == layer.neuron:
            continue
        with pytest.raises(ConfigError, match="has other constants than"):
            layer.neuron = other
    layer.neuron = ALIF(beta=1.8)
    with pytest.raises(ConfigError, match="neuron is the class LIF"):
        layer.neuron = LIF
    with pytest.raises(ConfigError, match=r"LIF|Identity"):
        Layer(C, N, LIF()).activation = Identity()


@torch.no_grad()
def test_every_form_follows_another_activation():
    net, x = Stack(Layer(C, N, LiGRU(), Identity()), Readout(N, K)), signal()
    net.layers[0].activation = Spike(at_threshold=True)
    whole = net(x)
    got = Stream(net, batch=2, decision=Decision("last")).push(x).scores
    assert np.array_equal(got, whole.potential.double().numpy())
    assert described(net)[0].binary


def test_a_spike_of_ones_own_is_no_spike_of_nir():
    class Double(Spike):
        def forward(self, x):
            return 2 * super().forward(x)

    with pytest.raises(ConfigError, match="LIF with Double"):
        to_nir(Stack(Layer(C, N, LIF(), Double(), recurrent=False)), dt=1e-3)


def test_layers_with_a_layer_norm_are_plain():
    assert len(described(Stack(Layer(C, N, ALIF(), norm=LayerNorm()), Readout(N, K)))) == 2


def test_an_activation_with_a_call_of_its_own_runs_on_the_reference_loop():
    class Doubled(Identity):
        def __call__(self, x):
            return 2 * x

    x = signal()
    soft = Layer(C, N, Leaky(), Doubled(), recurrent=False)
    plain = Layer(C, N, Leaky(), Identity(), recurrent=False)
    plain.load_state_dict(soft.state_dict())
    assert soft.which_backend().name == "reference"
    assert "Doubled has a __call__ beside forward" in soft.which_backend().reason
    torch.testing.assert_close(soft(x).output, 2 * plain(x).output)
    with pytest.raises(ConfigError, match="__call__ beside forward"):
        soft(x, backend="cpu")

    class Half(Identity):  # whose __call__ does not call it
        def forward(self, x):
            return x / 2

    assert Layer(C, N, ALIF(), Half()).which_backend().name == "reference"
