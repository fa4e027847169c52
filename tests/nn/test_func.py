"""torch.func and forward mode on the reference loop, which "auto" chooses under them: every
transform with every activation, beside plain autograd.
"""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor
from torch.autograd import forward_ad
from torch.func import functional_call, grad, jacfwd, jacrev, jvp, stack_module_state, vjp, vmap

from srnn import ALIF, Layer, LayerNorm, Readout, Stack
from srnn.activations import Activation, Identity, Relu, Soft, Spike
from srnn.surrogates import FastSigmoid

B, T, C, N, K = 3, 5, 4, 6, 2
ACTIVATIONS: tuple[Activation, ...] = (
    Spike(),
    Spike(FastSigmoid(), at_threshold=True),
    Relu(),
    Identity(),
    Soft(FastSigmoid()),
)
every = pytest.mark.parametrize("activation", ACTIVATIONS, ids=lambda a: type(a).__name__)


def network(activation: Activation, seed: int = 0) -> Stack:
    torch.manual_seed(seed)
    layer = Layer(C, N, ALIF(b0=0.1), activation, norm=LayerNorm(), dtype=torch.float64)
    return Stack(layer, Readout(N, K, dtype=torch.float64)).eval()


def signal(seed: int = 1) -> Tensor:
    draw = torch.Generator().manual_seed(seed)
    return 2 * torch.randn(B, T, C, dtype=torch.float64, generator=draw)


def loss(params: dict[str, Tensor], net: Stack, x: Tensor) -> Tensor:
    return functional_call(net, params, (x,)).potential.square().sum()


def plain_gradients(net: Stack, x: Tensor) -> dict[str, Tensor]:
    net.zero_grad()
    net(x, backend="reference").potential.square().sum().backward()
    return {
        name: torch.zeros_like(p) if p.grad is None else p.grad
        for name, p in net.named_parameters()
    }


def trained(net: Stack) -> dict[str, Tensor]:
    return {name: p.detach() for name, p in net.named_parameters()}


@every
def test_grad(activation):
    net, x = network(activation), signal()
    found, wanted = grad(loss)(trained(net), net, x), plain_gradients(net, x)
    assert found.keys() == wanted.keys()
    for name, g in wanted.items():
        torch.testing.assert_close(found[name], g, msg=lambda m, name=name: f"{name}: {m}")
    assert sum(float(g.abs().sum()) > 0 for g in wanted.values()) >= 5


@every
def test_vjp_and_jacrev(activation):
    net, x = network(activation), signal()
    out, back = vjp(lambda x: net(x).potential, x)
    leaf = x.clone().requires_grad_()
    plain = net(leaf, backend="reference").potential
    torch.testing.assert_close(out, plain)
    (wanted,) = torch.autograd.grad(plain.sum(), leaf)
    torch.testing.assert_close(back(torch.ones_like(out))[0], wanted)
    one = x[:1, :2]
    rows = jacrev(lambda x: net(x).potential)(one)
    torch.testing.assert_close(rows, jacfwd(lambda x: net(x).potential)(one))


@every
def test_forward_mode(activation):
    """jvp and dual numbers: the transposed product of what vjp gives."""
    net, x = network(activation), signal()
    tangent = signal(2)
    out, forward = jvp(lambda x: net(x).potential, (x,), (tangent,))
    with forward_ad.dual_level():
        dual = net(forward_ad.make_dual(x, tangent)).potential
        torch.testing.assert_close(forward_ad.unpack_dual(dual).tangent, forward)
    leaf = x.clone().requires_grad_()
    weights = torch.randn_like(out)
    plain = (net(leaf, backend="reference").potential * weights).sum()
    (back,) = torch.autograd.grad(plain, leaf)
    torch.testing.assert_close((forward * weights).sum(), (back * tangent).sum())


@every
def test_vmap_over_recordings(activation):
    net, x = network(activation), signal()
    found = vmap(lambda one: net(one[None]).potential[0])(x)
    torch.testing.assert_close(found, net(x, backend="reference").potential)
    each = vmap(grad(loss), in_dims=(None, None, 0))(trained(net), net, x[:, None])
    summed = {name: g.sum(0) for name, g in each.items()}
    for name, g in plain_gradients(net, x).items():
        torch.testing.assert_close(summed[name], g)


@every
def test_vmap_over_models(activation):
    nets, x = [network(activation, seed) for seed in range(3)], signal()
    params, buffers = stack_module_state(nets)
    shell = copy.deepcopy(nets[0]).to("meta")

    def run(p: dict[str, Tensor], b: dict[str, Tensor]) -> Tensor:
        return functional_call(shell, (p, b), (x,)).potential

    found = vmap(run)(params, buffers)
    for k, net in enumerate(nets):
        torch.testing.assert_close(found[k], net(x, backend="reference").potential)


@every
def test_lengths_under_a_transform(activation):
    net, x = network(activation), signal()
    lengths = torch.tensor([5, 2, 0])
    out, _ = jvp(lambda x: net(x, lengths=lengths).potential, (x,), (signal(2),))
    torch.testing.assert_close(out, net(x, lengths=lengths, backend="reference").potential)
