"""The cpu backend as a part of torch: compiled graphs, copies, autocast, second derivatives, what
is kept for backward, who shares a kernel.
"""

from __future__ import annotations

import copy
import io
import pickle
from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch
import torch._dynamo.testing
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from srnn import ALIF, Layer, LayerNorm, Leaky, Readout, SoftLIF, Stack, surrogates
from srnn._check import ConfigError
from srnn.activations import Identity, Relu, Soft, Spike
from srnn.cells import Elman, LiGRU
from srnn.init import Constant, Init, Uniform
from srnn.kernels import cpu
from srnn.neuron import Coeffs, Neuron, Params, State


def network(dtype: torch.dtype = torch.float32) -> Stack:
    torch.manual_seed(0)
    neuron = ALIF(Uniform(2.0, 6.0), Uniform(3.0, 9.0), 0.1)
    return Stack(
        Layer(3, 16, neuron, recurrent_bias=True, dtype=dtype),
        Layer(16, 12, LiGRU(), Identity(), dtype=dtype),
        Layer(12, 8, SoftLIF(), Relu(), recurrent=False, dtype=dtype),
        Readout(8, 2, dtype=dtype),
    )


def signal(dtype: torch.dtype = torch.float32) -> Tensor:
    return 3 * torch.randn(5, 20, 3, generator=torch.Generator().manual_seed(1), dtype=dtype)


def gradients(net: torch.nn.Module, run: Callable[[], Tensor]) -> list[Tensor]:
    """The result and the gradient of every parameter."""
    net.zero_grad()
    out = run()
    out.square().sum().backward()
    return [out.detach(), *(p.grad.clone() for p in net.parameters() if p.grad is not None)]


# ── torch.compile ─────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def compiling():
    """Compiled graphs of one test do not stay; deterministic filling of memory is left to eager
    code.
    """
    torch.use_deterministic_algorithms(False)
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


@pytest.mark.parametrize(
    ("backend", "lengths"),
    [("cpu", None), ("auto", torch.tensor([20, 3, 0, 7, 20]))],
    ids=["whole", "lengths"],
)
def test_compiled_without_a_graph_break(compiling, backend, lengths):
    """One graph, traced through autograd too; results and gradients are those of the
    eager network.
    """
    net, x = network(), signal()
    counter = torch._dynamo.testing.CompileCounterWithBackend("aot_eager")
    compiled = torch.compile(net, fullgraph=True, backend=counter)
    plain = gradients(net, lambda: net(x, lengths, backend=backend).potential)
    traced = gradients(net, lambda: compiled(x, lengths, backend=backend).potential)
    assert counter.frame_count == 1
    assert len(plain) == len(traced) == 1 + len([p for p in net.parameters() if p.grad is not None])
    for a, b in zip(plain, traced, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)
    with torch.no_grad():
        assert torch.equal(
            compiled(x, lengths, backend=backend).potential,
            net(x, lengths, backend=backend).potential,
        )


def test_compiled_for_another_batch_and_length(compiling):
    net = Stack(Layer(3, 4, ALIF()), Readout(4, 2))
    compiled = torch.compile(net, fullgraph=True, backend="aot_eager")
    for batch, steps in ((5, 20), (9, 20), (17, 33)):
        x = torch.randn(batch, steps, 3)
        torch.testing.assert_close(compiled(x).potential, net(x).potential, rtol=1e-5, atol=1e-6)


def test_compiled_with_state_and_record(compiling):
    net, x = network(), signal()
    compiled = torch.compile(net, fullgraph=True, backend="aot_eager")
    state = net(x).state
    a, b = compiled(x, state=state, record=True), net(x, state=state, record=True)
    for mine, wanted in (
        (a.potential, b.potential),
        (a.state[0]["u"], b.state[0]["u"]),
        (a.trace.outputs[0], b.trace.outputs[0]),
    ):
        torch.testing.assert_close(mine, wanted, rtol=1e-5, atol=1e-6)


class Calls(TorchDispatchMode):
    """Every call of the package's operations: name, arguments, results."""

    def __init__(self) -> None:
        super().__init__()
        self.made: list[tuple[str, tuple[object, ...], object]] = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        if str(func).startswith("srnn."):
            self.made.append((str(func).split(".")[1], args, out))
        return out


RULES = {
    "recurrent, smooth": (ALIF(), Soft(), {"recurrent_bias": True}, None),
    "recurrent, spiking, lengths": (ALIF(), Spike(), {}, torch.tensor([3, 0])),
    "gated, without recurrence and bias": (
        LiGRU(),
        Identity(),
        {"recurrent": False, "bias": False},
        None,
    ),
    "with norm": (ALIF(), Soft(), {"norm": LayerNorm()}, None),
}


@pytest.mark.parametrize("name", RULES)
def test_the_operations_keep_torchs_rules(compiling, name):
    """Every call a layer makes: schema, registration with autograd, shapes without values, the same
    results through a traced graph.
    """
    neuron, activation, kwargs, lengths = RULES[name]
    torch.manual_seed(0)
    layer = Layer(3, 4, neuron, activation, dtype=torch.float64, **kwargs)
    x = torch.randn(2, 9, 3, dtype=torch.float64, requires_grad=True)
    with Calls() as calls:
        layer(x, lengths, potential=True, backend="cpu").potential.sum().backward()
    forward = [(op, args) for op, args, _ in calls.made if "backward" not in op]
    assert [op for op, _, _ in calls.made if "backward" in op] == [
        f"{op}_backward" for op, _ in reversed(forward)
    ]
    assert {op for op, _ in forward} == ({"scan", "linear"} if name == "with norm" else {"scan"})
    for op, args in forward:
        leaves = [
            a.detach().clone().requires_grad_(a.is_floating_point()) if isinstance(a, Tensor) else a
            for a in args
        ]
        torch.library.opcheck(getattr(torch.ops.srnn, op).default, tuple(leaves))


# ── copies ────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("how", ["deepcopy", "pickle", "torch.save"])
def test_copies_of_a_network_that_has_run(how):
    net, x = network(), signal()
    before = gradients(net, lambda: net(x, backend="cpu").potential)
    if how == "deepcopy":
        other = copy.deepcopy(net)
    elif how == "pickle":
        other = pickle.loads(pickle.dumps(net))
    else:
        torch.save(net, file := io.BytesIO())
        other = torch.load(io.BytesIO(file.getvalue()), weights_only=False)
    after = gradients(other, lambda: other(x, backend="cpu").potential)
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))
    with torch.no_grad():
        other.layers[0].weight.zero_()
    assert torch.equal(net(x, backend="cpu").potential, before[0])


# ── number types ──────────────────────────────────────────────────────────────────────────────────


def test_autocast_computes_in_float32():
    """A spike train in half precision is another spike train: the kernel does not take part."""
    net, x = network(), signal()
    plain = gradients(net, lambda: net(x, backend="cpu").potential)

    def run() -> Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            return net(x, backend="cpu").potential

    cast = gradients(net, run)
    assert cast[0].dtype is torch.float32
    for a, b in zip(plain, cast, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)


def test_autocast_takes_what_comes_from_below():
    """What a module below has turned to bfloat16 is computed on in float32."""
    net, x = network(), signal().bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        out = net(x, backend="cpu").potential
    assert out.dtype is torch.float32
    torch.testing.assert_close(out, net(x.float(), backend="cpu").potential, rtol=1e-5, atol=1e-6)


def test_float64_stays_float64_under_autocast():
    net, x = network(torch.float64), signal(torch.float64)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(net(x, backend="cpu").potential, net(x, backend="cpu").potential)
        assert net(x, backend="cpu").potential.dtype is torch.float64


# ── backward ──────────────────────────────────────────────────────────────────────────────────────

NO_SECOND = (
    r"^The cpu and triton backends have no second derivative \(create_graph=True\)\. "
    r'Use backend="reference", which torch differentiates any number of times\.$'
)


@pytest.mark.parametrize("what", ["scan", "linear"])
def test_a_second_derivative_is_refused(what):
    layer = Layer(3, 4, SoftLIF(), Soft(), dtype=torch.float64)
    x = torch.randn(2, 5, 3, dtype=torch.float64, requires_grad=True)
    wrt = x if what == "linear" else layer.recurrent
    second = {}
    for backend in ("cpu", "reference"):
        (grad,) = torch.autograd.grad(
            layer(x, backend=backend).output.square().sum(), wrt, create_graph=True
        )
        second[backend] = grad.square().sum()
    torch.testing.assert_close(second["cpu"], second["reference"])
    assert torch.autograd.grad(second["reference"], layer.weight)[0].abs().sum() > 0
    with pytest.raises(ConfigError, match=NO_SECOND):
        torch.autograd.grad(second["cpu"], layer.weight)


class Kept:
    """Bytes of distinct storages saved for the backward pass."""

    def __init__(self, *without: Tensor) -> None:
        self.without, self.storages = {t.untyped_storage().data_ptr() for t in without}, {}

    def __enter__(self) -> Kept:
        def pack(t: Tensor) -> Tensor:
            storage = t.untyped_storage()
            if storage.data_ptr() not in self.without:
                self.storages[storage.data_ptr()] = storage.nbytes()
            return t

        self.hooks = torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t)
        self.hooks.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self.hooks.__exit__(*error)

    @property
    def bytes(self) -> int:
        return sum(self.storages.values())


@pytest.mark.parametrize("steps", [100, 400])
@pytest.mark.parametrize("depth", [1, 3])
def test_memory_held_for_backward(depth, steps):
    """At most 12 bytes for each recording, step and neuron: the current and the output, and the
    states of every eighth step.
    """
    batch, n = 32, 64
    net = Stack(*(Layer(n, n, ALIF(), dtype=torch.float32) for _ in range(depth)))
    x = (torch.rand(batch, steps, n) < 0.1).float()
    with Kept(x, *net.parameters()) as kept:
        out = net(x, backend="cpu").output
    assert out.requires_grad
    each = kept.bytes / (batch * steps * n * depth)
    assert 4 <= each <= 12, each


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_nothing_is_kept_where_there_is_no_backward(mode):
    net, x = network(), signal()
    with Kept() as kept, mode(), Calls() as calls:
        out = net(x, backend="cpu")
    assert kept.bytes == 0
    assert not out.potential.requires_grad
    for layer, (_, _, results) in zip(
        net.layers, [call for call in calls.made if call[0] == "scan"], strict=True
    ):
        seen = 2 if layer is net.layers[-1] else 1  # output, and the potential of the last layer
        assert (
            sum(v.numel() for v in results)
            == 5 * (20 * seen + len(layer.neuron.states) + 1) * layer.neurons
        )
    trained = net(x, backend="cpu")
    assert torch.equal(out.potential, trained.potential)
    trained.potential.sum().backward()
    if mode is torch.no_grad:
        net(x, state=out.state, backend="cpu").potential.sum().backward()


# ── which layers share a kernel ───────────────────────────────────────────────────────────────────


def test_what_has_the_same_operations_shares_a_library():
    def key(neuron: Neuron, activation: object = None) -> str:
        activation = Spike() if activation is None else activation
        return cpu.kernel(cpu.register(neuron, activation), torch.float32)._code._name

    assert (
        key(ALIF())
        == key(ALIF(beta=0.0))
        == key(ALIF(Uniform(1.0, 2.0), 3.0, Constant(0.1, shared=True)))
    )
    assert key(ALIF(), Spike(surrogates.MultiGaussian(h=0.3))) == key(ALIF())
    wider = cpu.register(ALIF(), Spike(surrogates.MultiGaussian(h=0.3)))
    # an activation's numbers are arguments: not even traced again
    assert wider == cpu.register(ALIF(), Spike())
    distinct = [
        key(ALIF()),
        key(SoftLIF()),
        key(ALIF(), Spike(at_threshold=True)),
        key(ALIF(), Spike(surrogates.Boxcar())),
        key(ALIF(), Soft()),
        key(ALIF(), Relu()),
        key(Elman(), Identity()),
        key(Elman(logistic=True), Identity()),
    ]
    assert len(set(distinct)) == len(distinct)


def leaky(sign: float) -> type[Neuron]:
    """Another class of the same name at every call, of which the equation differs."""

    @dataclass(frozen=True)
    class Mine(Neuron):
        k: Init = Constant(0.5)
        squared: bool = False

        def step(self, I: Tensor, s: Tensor, state: State, c: Coeffs) -> tuple[Tensor, State]:
            u = c["k"] * state["u"] + (sign * I * I if self.squared else sign * I)
            return u, {"u": u}

    return Mine


def test_classes_of_the_same_name_do_not_share_one():
    up, down = leaky(1.0), leaky(-1.0)
    assert up.__qualname__ == down.__qualname__
    torch.manual_seed(0)
    layers = [
        Layer(2, 3, neuron, Identity(), recurrent=False)
        for neuron in (up(), down(), up(k=0.9), up(squared=True))
    ]
    x, names = (
        torch.randn(4, 6, 2),
        [cpu.register(layer.neuron, layer.activation) for layer in layers],
    )
    assert len(set(names)) == 4
    for layer in layers:
        layer.load_state_dict(
            {
                **layers[0].state_dict(),
                **{k: v for k, v in layer.state_dict().items() if "constants" in k},
            }
        )
        torch.testing.assert_close(
            layer(x, backend="cpu").output, layer(x, backend="reference").output
        )
    outputs = [layer(x, backend="cpu").output for layer in layers]
    assert torch.equal(outputs[0], -outputs[1])
    assert not torch.allclose(outputs[0], outputs[2])
    assert not torch.allclose(outputs[0], outputs[3])


@dataclass(frozen=True)
class Peeking(Neuron):
    """Reads a field in its step, and returns other coefficients for another value."""

    threshold: float = 1.0

    def coeffs(self, p: Params) -> Coeffs:
        return p if self.threshold == 1.0 else {}

    def step(self, I: Tensor, s: Tensor, state: State, c: Coeffs) -> tuple[Tensor, State]:
        u = 0.9 * state["u"] + I - self.threshold * s
        return u - self.threshold, {"u": u}


@dataclass(frozen=True, slots=True)
class Slotted(Neuron):
    """Keeps its option in a slot."""

    k: float = 0.3
    hard: bool = False

    def step(self, I: Tensor, s: Tensor, state: State, c: Coeffs) -> tuple[Tensor, State]:
        u = 0.5 * state["u"] + I - (2.0 if self.hard else 1.0) * s
        return u - c["k"], {"u": u}


@pytest.mark.parametrize(
    "neurons",
    [(Peeking(), Peeking(0.2)), (Slotted(), Slotted(hard=True))],
    ids=["a field read in step", "slots"],
)
def test_what_a_step_reads_from_its_object_is_in_its_kernel(neurons):
    x = torch.rand(3, 20, 4)
    for neuron in neurons:
        torch.manual_seed(0)
        layer = Layer(4, 5, neuron)
        torch.testing.assert_close(
            layer(x, potential=True, backend="cpu").potential,
            layer(x, potential=True, backend="reference").potential,
        )


def test_the_numbers_of_a_surrogate_reach_the_kernel():
    """Two layers that share a kernel, each with a surrogate of its own width."""
    torch.manual_seed(0)
    x, grads = torch.randn(4, 6, 2), []
    for width in (0.5, 2.0):
        torch.manual_seed(0)
        layer = Layer(2, 3, SoftLIF(), Spike(surrogates.Triangular(width=width)))
        pair = [
            torch.autograd.grad(layer(x, backend=b).output.sum(), layer.weight)[0]
            for b in ("cpu", "reference")
        ]
        torch.testing.assert_close(*pair)
        grads.append(pair[0])
    assert not torch.allclose(*grads)


def test_a_number_of_a_surrogate_that_is_trained():
    """Soft is differentiated in full: a slope that is a parameter has its gradient, on whatever
    backend is chosen.
    """
    torch.manual_seed(0)
    x = torch.randn(4, 6, 2)
    slope = torch.tensor(2.0, requires_grad=True)
    layer = Layer(2, 3, SoftLIF(), Soft(surrogates.FastSigmoid(slope=slope)))
    torch.testing.assert_close(
        *(
            torch.autograd.grad(layer(x, backend=b).output.sum(), slope)[0]
            for b in ("auto", "reference")
        )
    )


def test_forward_mode_runs_on_the_reference_loop():
    """The kernels have no forward derivative; a silent 0 would be wrong."""
    torch.manual_seed(0)
    layer = Layer(2, 3, Leaky(), Identity(), recurrent=False, dtype=torch.float64)
    x, v = torch.randn(2, 2, 5, 2, dtype=torch.float64)
    _, tangent = torch.func.jvp(lambda x: layer(x).output.sum(), (x,), (v,))
    assert layer.which_backend().name == "cpu"
    x.requires_grad_()
    (grad,) = torch.autograd.grad(layer(x).output.sum(), x)
    assert float(tangent.detach()) == pytest.approx(float((grad * v).sum().detach()))
    assert float(tangent.detach()) != 0
