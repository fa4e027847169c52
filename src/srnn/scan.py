"""Run any neuron over time. The reference loop below is the definition of a layer; every other backend is compared with it.

The driver owns what a neuron does not: the products, the activation, the lengths, the choice of backend.

    "reference"   a Python loop over time under autograd: any device, any dtype, any neuron
    "cpu"         compiled from the traced step (`srnn.kernels`): float32 and float64 on the CPU
    "auto"        "cpu" where it can run the layer, else "reference"; which, and why, is visible in `choose`
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from srnn._build import BuildError
from srnn._check import ConfigError, check_choice
from srnn.activations import Activation
from srnn.kernels import cpu
from srnn.kernels.trace import TraceError, numbers
from srnn.neuron import Coeffs, Neuron, State

BACKENDS = ("auto", "reference", "cpu")
"""What `backend=` may be."""


class Choice(NamedTuple):
    """The backend that runs, and why."""

    name: str
    reason: str


class Scanned(NamedTuple):
    """What a scan returns: output (B, T, N), potential (B, T, N) if it was asked for, and the state after each recording's last step."""

    output: Tensor
    potential: Tensor | None
    state: State


@cpu.constant_result
def choose(backend: str, key: str, device: str, dtype: torch.dtype) -> Choice:
    """Return the backend that runs a layer when `backend` is asked for, and why.

    key: from `kernels.cpu.register`. device: the type, "cpu" or "cuda". Compiles the kernel where it has not been yet.
    Raises `ConfigError` for an unknown name, and where "cpu" is asked for and cannot run the layer.
    """
    check_choice("backend", backend, BACKENDS)
    if backend == "reference":
        return Choice("reference", "asked for")
    reason = _why_not_cpu(key, device, dtype)
    if reason is None:
        return Choice("cpu", "asked for" if backend == "cpu" else f"kernel compiled by {cpu.compiler_name()}")
    if backend == "cpu":
        repair = "" if 'backend="reference"' in reason else ' Use backend="auto" or "reference".'
        raise ConfigError(f'backend="cpu" cannot run this layer: {reason}.{repair}')
    return Choice("reference", reason)


def transformed() -> bool:
    """Return whether torch.func or forward-mode differentiation is at work, which the kernels cannot take part in."""
    if torch.compiler.is_compiling():
        return False
    return torch.autograd.forward_ad._current_level >= 0 or torch._C._functorch.peek_interpreter_stack() is not None


def _why_not_cpu(key: str, device: str, dtype: torch.dtype) -> str | None:
    if device != "cpu":
        return f"the cpu kernels are for the CPU, x is on {device}"
    if dtype not in cpu.DTYPES:
        return f"the cpu kernels know float32 and float64, not {dtype}"
    try:
        cpu.kernel(key, dtype)
    except (TraceError, BuildError) as error:
        return str(error).rstrip(".")
    return None


def linear(x: Tensor, weight: Tensor, bias: Tensor | None, *, backend: str) -> Tensor:
    """Return W x + b for all steps: x (B, T, C), weight (N, C). On the cpu backend, what is zero in x costs nothing. backend: as chosen."""
    if backend != "cpu":
        return functional.linear(x, weight, bias)
    y: Tensor = torch.ops.srnn.linear(x.contiguous(), weight.contiguous(), bias)
    return y


def run(
    neuron: Neuron,
    activation: Activation,
    current: Tensor,
    recurrent: Tensor | None,
    coeffs: Coeffs,
    state: State,
    *,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    lengths: Tensor | None = None,
    potential: bool = False,
    backend: str = "auto",
) -> Scanned:
    """Run one layer over time.

    current:   (B, T, G·N), the feed-forward part of the input current for all steps, biases included; G = neuron.gates.
               With weight W (G·N, C) and bias b (G·N,) or None: the layer's input x (B, T, C) in its place; the current is W x + b.
    recurrent: R (G·N, N), multiplying the layer's own output of the step before, or None.
    coeffs:    from `neuron.coeffs`, each (N,) or ().
    state:     (B, N) tensors: the neuron's states and "s", the output before the first step (may be graded).
    lengths:   (B,) integers, 0 ≤ L ≤ T, or None = T. From step L on output and potential are 0 and the state is frozen.
    potential: also return the observable potential of every step.
    """
    key = cpu.register(neuron, activation)
    if choose(backend, key, current.device.type, state["s"].dtype).name == "reference":
        if weight is not None:
            current = functional.linear(current, weight, bias)
        return _reference(neuron, activation, current, recurrent, coeffs, state, lengths, potential)
    constants = constants_of(activation, coeffs, state["s"])  # under autocast x may be of a shorter type
    before = torch.stack([*(state[k] for k in neuron.states), state["s"]])
    ends = None if lengths is None else lengths.to(dtype=torch.int64)
    given = [None if t is None else t.contiguous() for t in (current, weight, bias, recurrent, constants, before, ends)]
    backward = torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in given)
    output, seen, final, _, _ = torch.ops.srnn.scan(key, *given, potential, backward, neuron.gates, len(coeffs))
    names = (*neuron.states, "s")
    return Scanned(output, seen if potential else None, dict(zip(names, final.unbind(0), strict=True)))


def constants_of(activation: Activation, coeffs: Coeffs, like: Tensor) -> Tensor:
    """Return the constants of a kernel, (numbers, N): coefficients, then the activation's numbers, of the type of `like` (B, N)."""
    n = like.shape[-1]
    held = [like.new_full((n,), v) if isinstance(v, int | float) else v.to(like).expand(n) for v in numbers(activation).values()]
    return torch.stack([*(c.expand(n) for c in coeffs.values()), *held]) if coeffs or held else like.new_empty(0, n)


def _reference(
    neuron: Neuron,
    activation: Activation,
    current: Tensor,
    recurrent: Tensor | None,
    coeffs: Coeffs,
    state: State,
    lengths: Tensor | None,
    potential: bool,
) -> Scanned:
    s, h = state["s"], {name: state[name] for name in neuron.states}
    outputs, potentials = [], []
    steps = current.shape[1]
    valids = [None] * steps if lengths is None else [(t < lengths.to(current.device)).unsqueeze(-1) for t in range(steps)]
    for I, v in zip(current.unbind(1), valids, strict=True):  # not current[:, t]: its backward would be quadratic in T
        if recurrent is not None:
            I = torch.addmm(I, s, recurrent.t())
        x, new = neuron.step(I if neuron.gates == 1 else I.chunk(neuron.gates, -1), s, h, coeffs)
        out = activation(x)
        pot = neuron.potential(out, new) if potential else None
        if v is None:
            s, h = out, new
        else:
            s, h = torch.where(v, out, s), {name: torch.where(v, new[name], h[name]) for name in neuron.states}
            out = torch.where(v, out, 0.0)
            pot = torch.where(v, pot, 0.0) if pot is not None else None
        outputs.append(out)
        if pot is not None:
            potentials.append(pot)
    return Scanned(torch.stack(outputs, 1), torch.stack(potentials, 1) if potential else None, {**h, "s": s})
