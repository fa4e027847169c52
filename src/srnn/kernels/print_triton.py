"""Print a traced neuron as two Triton kernels, one layer over time: `triton/scan.txt` with the
neuron's step and adjoint in it.

A program takes a tile of ROWS recordings and WIDTH neurons of one model through the steps [first,
last). Two ways to run them, one text:

    RECURRENT   WIDTH covers all neurons; R stays on the chip, and R s and Rᵀ dI are taken inside
                the loop
    otherwise   neurons know nothing of each other: without R all steps in one launch, with R one
                step a launch, the products between them

Every model has its own numbers, one after the other in each array; B recordings, T steps, N
neurons, G gates, S states, Q coefficients, K constants:

    current (B, T, G N)              in the end with R s, and its gradient
    output, potential                (B, T, N), and g_output, g_potential
    state, carry (S + 1, B, N)       in and out
    kept (T, S, B, N)                the states before each step
    recurrent (G N, N)
    constants (K, N)
    lengths (B)
    g_constants (Q, B, N)            added to

No two programs add to one number, so that the same call gives the same bits. What the next step
needs is read a step ahead.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from srnn.kernels.graph import TAKES_TRUTH, TRUTH, Graph, Op, Value, currents
from srnn.kernels.trace import Program

_INFIX = {
    "add": "+",
    "sub": "-",
    "mul": "*",
    "gt": ">",
    "ge": ">=",
    "lt": "<",
    "le": "<=",
    "eq": "==",
    "ne": "!=",
    "and": "&",
    "or": "|",
}
_FORMS: dict[str, Callable[..., str]] = {
    **{name: f"{{}} {sign} {{}}".format for name, sign in _INFIX.items()},
    "rsub": "{1} - {0}".format,
    "neg": "-{}".format,
    "not": "{} == 0".format,
    "div": "divided({}, {})".format,
    "reciprocal": "divided(one, {})".format,
    "where": "tl.where({}, {}, {})".format,
    "relu": "tl.where({0} <= 0, 0.0, {0})".format,
    "minimum": "tl.where(({0} < {1}) | ({0} != {0}), {0}, {1})".format,
    "maximum": "tl.where(({0} > {1}) | ({0} != {0}), {0}, {1})".format,
    "sign": "({0} > 0).to(real) - ({0} < 0).to(real)".format,
    "copy": "{}".format,
    "sqrt": "root({})".format,
    **{name: f"tl.{name}({{}})".format for name in ("abs", "exp", "log", "erf", "sin", "cos")},
    **{name: f"{name}({{}})".format for name in ("expm1", "tanh", "sigmoid", "log1p", "softplus")},
    "pow": "power({}, {})".format,
}
_LOAD = """reach = mine & (@ < until) & (@ >= first)
next_s = tl.load(output + (begun + @ - 1) * N + at, mask=mine & (@ > 0) & (@ >= first), other=0)
next_I{g} = tl.load(current + ((begun + @) * $G + {g}) * N + at_current, mask=reach, other=0)
next_h{i} = tl.load(kept + ((m * T + @) * $S + {i}) * B * N + flat, mask=reach, other=0)
if OUTPUT:
    next_gout = tl.load(g_output + (begun + @) * N + at, mask=reach, other=0)
if POTENTIAL:
    next_gpot = tl.load(g_potential + (begun + @) * N + at, mask=reach, other=0)"""
"""What the adjoint of step @ reads."""


def print_triton(program: Program) -> str:
    """Return the text of a Python module: the kernels `forward` and `backward` of a neuron."""
    text = (Path(__file__).parent / "triton" / "scan.txt").read_text()
    load = re.compile(r"^( *)\$load (.+)$", re.MULTILINE)
    text = load.sub(
        lambda m: "\n".join(m[1] + line.replace("@", f"({m[2]})") for line in _LOAD.split("\n")),
        text,
    )
    head, forward, backward = text.split("\n\n\n")
    head = head.replace("$name", program.name).replace(
        "$constants", ", ".join(program.constants) or "none"
    )
    step, adjoint = _Kernel(program, program.step), _Kernel(program, program.adjoint)
    forward = step.filled(
        forward, {"output": "s", "potential": "potential"}, {"state": step.states}
    )
    each = {"current": step.gates, "state": step.states, "sum": step.coeffs}
    backward = adjoint.filled(
        backward, {"s": "gs"}, {name: [f"g{k}" for k in names] for name, names in each.items()}
    )
    return f"{head}\n\n\n{forward}\n\n\n{backward}"


class _Kernel:
    """Fills one kernel's template.

    A line with {g}, {i}, {q} or {k} stands for one line a gate, state, coefficient or constant; $G,
    $S, $Q and $K are how many there are. $step are the operations of the step, $prepare those that
    depend on constants alone; {name} and <name> are results of the step.
    """

    def __init__(self, program: Program, graph: Graph) -> None:
        self.graph, self.constant = graph, program.constant_ops()
        self.truths = {op.result for op in graph.ops if op.name in TRUTH}
        self.gates, self.states, self.coeffs = (
            currents(program.gates),
            [f"state.{k}" for k in program.states],
            program.coeffs,
        )
        self.counts = {
            "g": len(self.gates),
            "i": len(self.states),
            "q": len(self.coeffs),
            "k": len(program.constants),
        }
        self.names = (
            {name: name for name in ("s", "now", "gout", "gs")}
            | {"gpotential": "gpot"}
            | {op.result: op.result for op in graph.ops}
        )
        for letter, names in (
            ("c", program.constants),
            ("I", self.gates),
            ("h", self.states),
            ("gh", [f"g{k}" for k in self.states]),
        ):
            self.names |= {name: f"{letter}{k}" for k, name in enumerate(names)}

    def filled(
        self, template: str, one: Mapping[str, str], each: Mapping[str, Sequence[str]]
    ) -> str:
        """Return the text of the kernel. one, each: what stands for <name> and, one after the
        other, for {name}: names of the graph's outputs.
        """
        lines, outputs = list[str](), self.graph.outputs
        for line in template.split("\n"):
            indent = line[: len(line) - len(line.lstrip())]
            if line.strip() == "$prepare":
                lines += [
                    f"{indent}one = tl.full((1, 1), 1.0, real)",
                    *(indent + self._line(op) for op in self._prepared()),
                ]
                continue
            if line.strip() == "$step":
                lines += [indent + self._line(op) for op in self._operations()]
                continue
            for name, output in one.items():
                line = line.replace(f"<{name}>", self._value(outputs[output]))
            for letter, count in zip("GSQK", self.counts.values(), strict=True):
                line = line.replace(f"${letter}", str(count))
            index = next((letter for letter in self.counts if f"{{{letter}}}" in line), None)
            if index is None:
                lines.append(line)
                continue
            for k in range(self.counts[index]):
                row = line.replace(f"{{{index}}}", str(k))
                for name, names in each.items():
                    if f"{{{name}}}" in row:
                        row = row.replace(f"{{{name}}}", self._value(outputs[names[k]]))
                lines.append(row)
        return "\n".join(lines)

    def _operations(self) -> list[Op]:
        return [
            op for op in self.graph.needed(self.graph.outputs) if op.result not in self.constant
        ]

    def _prepared(self) -> list[Op]:
        """Return what depends on constants alone and is needed, in order."""
        wanted = {a for op in self._operations() for a in op.args} | set(
            self.graph.outputs.values()
        )
        found = []
        for op in reversed(self.constant.values()):
            if op.result in wanted:
                wanted.update(op.args)
                found.append(op)
        return found[::-1]

    def _line(self, op: Op) -> str:
        truths = TAKES_TRUTH.get(op.name, 0)
        return (
            f"{op.result} = "
            f"{_FORMS[op.name](*(self._value(a, k < truths) for k, a in enumerate(op.args)))}"
        )

    def _value(self, v: Value, truth: bool = False) -> str:
        """Return a value as a number or a truth value; a literal as one of the kernel's type."""
        if isinstance(v, float):
            text = (
                f"tl.full((1, 1), {v!r}, real)"
                if math.isfinite(v)
                else f'tl.full((1, 1), float("{v!r}"), real)'
            )
            return f"({text} != 0)" if truth else text
        if v in self.truths:
            return self.names[v] if truth else f"{self.names[v]}.to(real)"
        return f"({self.names[v]} != 0)" if truth else self.names[v]
