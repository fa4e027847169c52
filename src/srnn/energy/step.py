"""What one neuron's step costs, counted from its trace."""

from __future__ import annotations

from collections import Counter

from srnn.kernels.graph import Graph
from srnn.kernels.pairs import split
from srnn.kernels.trace import trace_step
from srnn.nn.layers import Layer

_TRANSCENDENTAL = {
    "exp",
    "log",
    "log1p",
    "expm1",
    "sigmoid",
    "tanh",
    "erf",
    "sin",
    "cos",
    "sqrt",
    "softplus",
    "pow",
    "reciprocal",
}
_FREE = {"copy", "neg"}


def operations(layer: Layer) -> Counter[str]:
    """Count one neuron's step.

    product:        of numbers that change from step to step, or of one and a constant
    decay:          1 where one of the products is the potential u times a constant, else 0
    folded:         constant · input current, which could be folded into the weights
    select:         product with the neuron's own binary spike
    add:            additions, comparisons and other simple operations
    rectify:        those of them that are max(0, ·)
    transcendental: exp, σ, tanh …
    """
    graph: Graph = trace_step(layer.neuron)
    kind: dict[str, str] = {}
    coeffs = split(layer.coeffs())
    for name in graph.inputs:
        if name.startswith("c."):
            value = coeffs[name[2:]]
            kind[name] = "zero" if not value.requires_grad and not bool(value.any()) else "constant"
        elif name == "s":
            kind[name] = "spike" if layer.activation.binary else "value"
        else:
            kind[name] = (
                "current"
                if name.startswith("I")
                else "membrane"
                if name in ("state.u", "state.u.re")
                else "value"
            )
    tally: Counter[str] = Counter()
    for op in graph.ops:
        kinds = ["constant" if isinstance(a, float) else kind[a] for a in op.args]
        result, counted = _judge(op.name, ["value" if k == "membrane" else k for k in kinds])
        if "membrane" in kinds and result == "value":
            others = set(kinds) - {"membrane"}
            if op.name in ("mul", "div") and others == {"constant"}:
                tally["decay"] = 1
            elif others <= {"spike", "constant"}:  # u after a reset is still the membrane
                result = "membrane"
        kind[op.result] = result
        tally[counted] += 1
        tally["rectify"] += op.name == "relu" or (op.name == "maximum" and 0.0 in op.args)
    return tally


def _judge(name: str, kinds: list[str]) -> tuple[str, str]:
    """Return (kind of the result, what is counted) of one operation on arguments of these kinds."""
    distinct = set(kinds)
    if distinct <= {"constant", "zero"}:
        return ("zero" if name == "mul" and "zero" in distinct else "constant"), "free"
    if name in _FREE:
        return kinds[-1], "free"
    if name in _TRANSCENDENTAL:
        return "value", "transcendental"
    if name in ("mul", "div"):
        if "zero" in distinct:
            return "zero", "free"
        if "spike" in distinct:
            return ("spike" if distinct <= {"spike", "constant"} else "value"), "select"
        if distinct == {"current", "constant"} and not (name == "div" and kinds[1] == "current"):
            return "current", "folded"
        return "value", "product"
    if distinct - {"zero"} and distinct <= {"spike", "constant", "zero"}:
        return "spike", "free"  # one of two constants, chosen by the spike
    rest = distinct - {"zero"}
    if "zero" in distinct and len(kinds) == 2:
        return next(iter(rest)), "free"
    return "value", "add"
