"""Run any neuron over time. The loop of `kernels.reference` is the definition of a layer; every
other backend is compared with it.

The driver owns what a neuron does not: the products, the activation, the lengths, the choice of
backend.

    "reference"   a Python loop over time under autograd: any device, any dtype, any neuron
    "cpu"         compiled from the traced step (`srnn.kernels`): float32 and float64 on the CPU
    "triton"      printed from the same trace for a GPU, float32 and float64; how it runs follows
                  from the size (`kernels.gpu.plan`)
    "auto"        "cpu" or "triton" where it can run the layer, else "reference"; which, and why, is
                  visible in `choose`
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from srnn._build import BuildError
from srnn._check import ConfigError, check_choice
from srnn.activations import Activation
from srnn.kernels import cpu, gpu, reference
from srnn.kernels.pairs import join, split
from srnn.kernels.reference import transformed as transformed
from srnn.kernels.trace import TraceError, numbers
from srnn.neuron import Coeffs, Neuron, State

BACKENDS = ("auto", "reference", "cpu", "triton")
"""What `backend=` may be."""


class Choice(NamedTuple):
    """The backend that runs, and why."""

    name: str
    reason: str


class Scanned(NamedTuple):
    """What a scan returns: output (B, T, N), potential (B, T, N) if it was asked for, and the state
    after each recording's last step.
    """

    output: Tensor
    potential: Tensor | None
    state: State


@cpu.constant_result
def choose(
    backend: str,
    key: str,
    device: str,
    dtype: torch.dtype,
    neurons: int = 0,
    recurrent: bool = True,
) -> Choice:
    """Return the backend that runs a layer when `backend` is asked for, and why.

    key: from `kernels.cpu.register`. device: the type, "cpu" or "cuda". Compiles the kernel where
    it has not been yet.
    neurons, recurrent: of the layer, where the reason shall say how the triton kernels run it.
    Raises `ConfigError` for an unknown name, and where "cpu" or "triton" is asked for and cannot
    run the layer.
    """
    check_choice("backend", backend, BACKENDS)
    if backend == "reference":
        return Choice("reference", "asked for")
    name = backend if backend != "auto" else "cpu" if device == "cpu" else "triton"
    why_not = gpu.why_not if name == "triton" else _why_not_cpu
    reason = why_not(key, device, dtype)
    if reason is not None and backend == "auto":
        return Choice("reference", reason)
    if reason is not None:
        repair = "" if 'backend="reference"' in reason else ' Use backend="auto" or "reference".'
        raise ConfigError(f'backend="{backend}" cannot run this layer: {reason}.{repair}')
    _operations(name)
    if name == "triton" and neurons:
        return Choice(
            "triton", gpu.described(key, gpu.product_type(device, dtype), neurons, recurrent)
        )
    if backend != "auto":
        return Choice(name, "asked for")
    made = f"kernel compiled by {cpu.compiler_name()}" if name == "cpu" else "printed for Triton"
    return Choice(name, made)


def _operations(name: str) -> None:
    """Make the kernels operations of torch, before anybody can use them; torch loads much for it,
    which a stream can do without.
    """
    if name == "triton":
        from srnn.kernels import gpu_ops  # noqa: F401
    else:
        from srnn.kernels import ops  # noqa: F401


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
    """Return W x + b for all steps: x (B, T, C), weight (N, C). backend: as chosen.

    On the cpu backend, what is zero in x costs nothing; on the triton backend factors are rounded
    under autocast, sums are not.
    """
    if backend == "triton":
        product = gpu.product_type(x.device.type, weight.dtype)
        with torch.autocast(x.device.type, enabled=False):
            return functional.linear(
                gpu.rounded_to(x.to(weight.dtype), product), gpu.rounded_to(weight, product), bias
            )
    if backend != "cpu":
        return reference.product(x, weight, bias)
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

    current:   (B, T, G·N), the feed-forward part of the input current for all steps, biases
               included; G = neuron.gates. With weight W (G·N, C) and bias b (G·N,) or None: the
               layer's input x (B, T, C) in its place; the current is W x + b.
    recurrent: R (G·N, N), multiplying the layer's own output of the step before, or None.
    coeffs:    from `neuron.coeffs`, each (N,) or ().
    state:     (B, N) tensors: the neuron's states and "s", the output before the first step (may be
               graded).
    lengths:   (B,) integers, 0 ≤ L ≤ T, or None = T. From step L on output and potential are 0 and
               the state is frozen.
    potential: also return the observable potential of every step.
    """
    job = Job(
        neuron,
        activation,
        current,
        recurrent,
        coeffs,
        state,
        weight,
        bias,
        lengths,
        potential,
        backend,
    )
    return meeting(job) if meeting is not None else run_many([job])[0]


class Job(NamedTuple):
    """One layer of one model over time: the arguments of `run`."""

    neuron: Neuron
    activation: Activation
    current: Tensor
    recurrent: Tensor | None
    coeffs: Coeffs
    state: State
    weight: Tensor | None
    bias: Tensor | None
    lengths: Tensor | None
    potential: bool
    backend: str


meeting: Callable[[Job], Scanned] | None = None
"""Where `run` takes its job while several models run in lockstep (`srnn.kernels.lockstep`)."""


def alike(job: Job) -> tuple[Any, ...]:
    """Return what jobs that `run_many` takes together have in common."""
    numbers = tuple(
        None if t is None else (t.shape, t.dtype)
        for t in (job.recurrent, job.weight, job.bias, *job.coeffs.values())
    )
    sizes = tuple((t.shape[-1], t.dtype, t.device) for t in (job.current, job.state["s"]))
    return (
        cpu.register(job.neuron, job.activation),
        tuple(job.coeffs),
        job.potential,
        job.backend,
        numbers,
        sizes,
    )


def run_many(jobs: Sequence[Job]) -> list[Scanned]:
    """Run the same layer of several models (`alike`), by Triton in one launch, else one after the
    other. Batches may differ in B and T.

    Each model gets what it gets alone: up to rounding where a product is taken at every step of the
    loop (`kernels.gpu.plan`: stepwise) or batches differ in B or T, else bit for bit.
    """
    job = jobs[0]
    key = cpu.register(job.neuron, job.activation)
    name = choose(job.backend, key, job.current.device.type, job.state["s"].dtype).name
    if name == "reference":
        return [_by_reference(job) for job in jobs]
    jobs = [_in_pairs(job) for job in jobs]
    return _by_triton(key, jobs) if name == "triton" else [_by_cpu(key, job) for job in jobs]


def _in_pairs(job: Job) -> Job:
    """Return a job as the kernels have it: complex numbers in two parts, the states in the
    neuron's order.
    """
    state = {k: job.state[k] for k in (*job.neuron.states, "s")}
    return job._replace(coeffs=split(job.coeffs), state=split(state))


def _by_reference(job: Job) -> Scanned:
    return Scanned(
        *reference.run(
            job.neuron,
            job.activation,
            job.current,
            job.recurrent,
            job.coeffs,
            job.state,
            weight=job.weight,
            bias=job.bias,
            lengths=job.lengths,
            potential=job.potential,
        )
    )


def _by_cpu(key: str, job: Job) -> Scanned:
    given = _inputs(job)
    output, seen, final, _, _ = torch.ops.srnn.scan(
        key, *given, job.potential, _differentiated(given), job.neuron.gates, len(job.coeffs)
    )
    # a hook on one of several results of an operation would be called with None where the loss
    # uses the others only; on a view of it, it is not called
    output, seen = (o.view_as(o) if o.requires_grad else o for o in (output, seen))
    return _scanned(job, output, seen, final)


def _by_triton(key: str, jobs: Sequence[Job]) -> list[Scanned]:
    """All models in one launch: every input gets a leading axis, recordings and steps that one has
    less are there and do not count.
    """
    # of a shorter type under autocast
    jobs = [j._replace(current=j.current.to(j.state["s"].dtype)) for j in jobs]
    job = jobs[0]
    product = gpu.product_type(job.current.device.type, job.current.dtype)
    sizes = [j.current.shape[:2] for j in jobs]
    batch, steps = map(max, zip(*sizes, strict=True))
    each = [_inputs(j) for j in jobs]
    if len(set(sizes)) > 1 or len({j.lengths is None for j in jobs}) > 1:
        each = [_padded(given, batch, steps) for given in each]
    given = [
        None if t[0] is None else t[0].unsqueeze(0) if len(t) == 1 else torch.stack(t)
        for t in zip(*each, strict=True)
    ]
    output, seen, final, _, _ = torch.ops.srnn.scan_models(
        key,
        *given,
        job.potential,
        _differentiated(given),
        job.neuron.gates,
        len(job.coeffs),
        product,
    )
    shown = seen if job.potential else output
    results = zip(jobs, sizes, output.unbind(), shown.unbind(), final.unbind(), strict=True)
    return [_scanned(j, o[:b, :t], p[:b, :t], f[:, :b]) for j, (b, t), o, p, f in results]


def _padded(given: list[Tensor | None], batch: int, steps: int) -> list[Tensor | None]:
    """Return the inputs of a kernel for so many recordings and steps."""
    x, *weights, state, ends = given
    assert x is not None
    assert state is not None
    more = batch - len(x)
    ends = torch.full((len(x),), x.shape[1], device=x.device) if ends is None else ends
    return [
        functional.pad(x, (0, 0, 0, steps - x.shape[1], 0, more)),
        *weights,
        functional.pad(state, (0, 0, 0, more)),
        functional.pad(ends, (0, more)),
    ]


def _inputs(job: Job) -> list[Tensor | None]:
    """Return what a kernel runs on, in the order of `kernels.cpu.Inputs`."""
    # under autocast x may be of a shorter type
    constants = constants_of(job.activation, job.coeffs, job.state["s"])
    before = torch.stack(list(job.state.values()))
    ends = None if job.lengths is None else job.lengths.to(job.current.device, torch.int64)
    given = (job.current, job.weight, job.bias, job.recurrent, constants, before, ends)
    return [None if t is None else t.contiguous() for t in given]


def _differentiated(given: Sequence[Tensor | None]) -> bool:
    return torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in given)


def _scanned(job: Job, output: Tensor, seen: Tensor, final: Tensor) -> Scanned:
    state = join(dict(zip(job.state, final.unbind(0), strict=True)))
    return Scanned(output, seen if job.potential else None, state)


def constants_of(activation: Activation, coeffs: Coeffs, like: Tensor) -> Tensor:
    """Return the constants of a kernel, (numbers, N): coefficients, both parts of complex ones, and
    the numbers of the activation, of the type of `like` (B, N).
    """
    n = like.shape[-1]
    held = [
        like.new_full((n,), v) if isinstance(v, int | float) else v.to(like).expand(n)
        for v in numbers(activation).values()
    ]
    return (
        torch.stack([*(c.to(like.dtype).expand(n) for c in split(coeffs).values()), *held])
        if coeffs or held
        else like.new_empty(0, n)
    )
