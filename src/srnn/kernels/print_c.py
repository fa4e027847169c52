"""Print a traced neuron as C11: the functions that `c/scan.c` calls at every step."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import NamedTuple

from srnn.kernels.graph import TAKES_TRUTH, TRUTH, Graph, Op, Value, currents
from srnn.kernels.trace import Program

_INFIX = {
    "add": "+",
    "sub": "-",
    "mul": "*",
    "div": "/",
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
    "not": "!{}".format,
    "reciprocal": "1 / {}".format,
    "where": "{} ? {} : {}".format,
    "relu": "{0} <= 0 ? 0 : {0}".format,
    "minimum": "{0} < {1} || {0} != {0} ? {0} : {1}".format,
    "maximum": "{0} > {1} || {0} != {0} ? {0} : {1}".format,
    "sign": "({0} > 0) - ({0} < 0)".format,
    "softplus": "{0} > 20 ? {0} : log1p_real(exp_real({0} > 20 ? 20 : {0}))".format,
}
_CALLS = (
    "abs",
    "exp",
    "expm1",
    "tanh",
    "sigmoid",
    "log",
    "log1p",
    "erf",
    "sqrt",
    "sin",
    "cos",
    "pow",
)


_STEP = "const real *restrict I, real *restrict s, real *restrict h, real *restrict pot"
_ADVANCE = (
    "const real *restrict I, const real *restrict s, const real *restrict h, real *restrict next"
)
_ADJOINT = (
    "real *restrict I, const real *restrict s, const real *restrict h, const real *restrict now,\n"
    "             const real *restrict gout, const real *restrict gpot,\n"
    "             real *restrict gs, real *restrict gh, real *restrict gc"
)
"""Arguments of the three functions after those they share, as `neuron_t` of c/scan.c has them."""


class Printed(NamedTuple):
    """C source of a neuron, and how many values derived from its constants it keeps behind them."""

    source: str
    derived: int


def print_neuron(program: Program) -> Printed:
    """Return the C source of a traced neuron: prepare, step, advance, adjoint (see `c/scan.c`)."""
    fixed = program.constant_ops()
    step, advance, adjoint = (
        _live(g, g.outputs, fixed) for g in (program.step, program.advance, program.adjoint)
    )
    used = {a for ops in (step, advance, adjoint) for op in ops for a in op.args}
    used |= {
        v
        for graph in (program.step, program.advance, program.adjoint)
        for v in graph.outputs.values()
    }
    kept = [op.result for op in program.step.ops if op.result in fixed and op.result in used]
    rows = {name: k for k, name in enumerate((*program.constants, *kept))}
    gates = currents(program.gates)

    def planes(array: str, names: Iterable[str]) -> dict[str, str]:
        return {name: f"{array}[{k} * plane + i]" for k, name in enumerate(names)}

    states = [f"state.{k}" for k in program.states]
    before = planes("I", gates) | {"s": "s[i]"} | planes("h", states)
    later = {"now": "now[i]", "gout": "gout[i]", "gpotential": "gpot[i]", "gs": "gs[i]"} | planes(
        "gh", [f"g{k}" for k in states]
    )
    earlier = (
        planes("I", [f"g{k}" for k in gates])
        | {"gs": "gs[i]"}
        | planes("gh", [f"g{k}" for k in states])
    )
    sums = {f"g{name}": f"gc[{k} * NP + n]" for k, name in enumerate(program.coeffs)}
    printer = _Printer(
        rows, {op.result for op in program.step.ops if op.name in TRUTH and op.result not in fixed}
    )
    after = {"s": "s[i]"} | planes("h", states) | {"potential": "pot[i]"}
    parts = [
        f"/* {program.name}, printed from its traced step. Constants: "
        f"{', '.join(program.constants)}. */",
        '#include "neuron.h"',
        printer.prepare(fixed, kept),
        printer.function("step", _STEP, step, program.step, before, after),
        printer.function(
            "advance", _ADVANCE, advance, program.advance, before, planes("next", states)
        ),
        printer.function(
            "adjoint", _ADJOINT, adjoint, program.adjoint, before | later, earlier, sums
        ),
    ]
    return Printed("\n\n".join(parts) + "\n", len(kept))


def print_statements(
    graph: Graph,
    inputs: Mapping[str, str],
    outputs: Mapping[str, str],
    truths: Collection[str] = (),
) -> list[str]:
    """Return the C statements of one neuron's step, numbers being `real`. inputs, outputs: where
    each value of the graph is read or put.

    truths: outputs that are 0 or 1 and are put as an uint8_t.
    """
    printer = _Printer({}, {op.result for op in graph.ops if op.name in TRUTH})
    # a truth value as a number, (x > 0).float()
    copies = {op.result: op.args[0] for op in graph.ops if op.name == "copy"}
    bits = {name: copies.get(str(v), v) for name, v in graph.outputs.items() if name in truths}
    idle = {graph.outputs[name] for name in bits if not _read(graph.outputs[name], graph, bits)}
    ops = [op for op in graph.ops if op.name != "copy" or op.result not in idle]
    numbers = {name: place for name, place in outputs.items() if name not in bits}
    lines = printer.statements(ops, {**graph.outputs, **bits}, inputs, numbers, {})
    return lines + [f"{outputs[name]} = (uint8_t){printer.truth(v)};" for name, v in bits.items()]


def _read(name: Value, graph: Graph, bits: Mapping[str, Value]) -> bool:
    """Return whether an operation, or an output that is a number, reads a value."""
    return any(name in op.args for op in graph.ops) or any(
        v == name for k, v in graph.outputs.items() if k not in bits
    )


def _live(graph: Graph, outputs: Iterable[str], fixed: dict[str, Op]) -> list[Op]:
    return [op for op in graph.needed(outputs) if op.result not in fixed]


class _Printer:
    """rows: where constants, and what is derived from them, stand. truths: the values that are 0 or
    1 and an int in C.
    """

    def __init__(self, rows: dict[str, int], truths: set[str]) -> None:
        self.rows, self.truths = rows, truths

    def _value(self, v: Value, names: dict[str, str], truth: bool = False) -> str:
        """Return a value as a number, or as a truth value."""
        if isinstance(v, float):
            text = f"(real){v!r}".replace("inf", "INFINITY").replace("nan", "NAN")
            return f"({text} != 0)" if truth else text
        if truth:
            return names[v] if v in self.truths else f"({names[v]} != 0)"
        return f"(real){names[v]}" if v in self.truths else names[v]

    def truth(self, v: Value) -> str:
        """Return a value of an operation as a truth value."""
        return self._value(v, {v: v} if isinstance(v, str) else {}, truth=True)

    def _line(self, op: Op, names: dict[str, str]) -> str:
        truths = TAKES_TRUTH.get(op.name, 0)
        args = [self._value(a, names, k < truths) for k, a in enumerate(op.args)]
        if op.name == "copy":
            text = args[0]
        elif op.name in _CALLS:
            text = f"{op.name}_real({', '.join(args)})"
        else:
            text = _FORMS[op.name](*args)
        return f"const {'int' if op.result in self.truths else 'real'} {op.result} = {text};"

    def prepare(self, fixed: dict[str, Op], kept: list[str]) -> str:
        """Print what is computed once a call: everything that depends on constants alone."""
        wanted = set(kept)
        for op in reversed(fixed.values()):
            if op.result in wanted:
                wanted.update(a for a in op.args if isinstance(a, str))
        names = {
            name: f"c[{row} * NP + n]" for name, row in self.rows.items() if name not in fixed
        } | {k: k for k in fixed}
        lines = [self._line(op, names) for op in fixed.values() if op.result in wanted]
        lines += [f"c[{self.rows[k]} * NP + n] = {k};" for k in kept]
        body = "".join(f"\n        {line}" for line in lines)
        return (
            f"void prepare(long NP, real *c) {{\n    for (long n = 0; n < NP; n++) {{{body}\n"
            f"    }}\n}}"
        )

    def statements(
        self,
        ops: Sequence[Op],
        results: Mapping[str, Value],
        inputs: Mapping[str, str],
        outputs: Mapping[str, str],
        sums: Mapping[str, str],
    ) -> list[str]:
        """Print operations: read what they use from `inputs`, compute, then set `outputs` and add
        to `sums`. All three: name → place in C.
        """
        used = {a for op in ops for a in op.args if isinstance(a, str)} | {
            v for v in results.values() if isinstance(v, str)
        }
        names = {k: f"{k.replace('.', '_')}_" for k in inputs} | {
            op.result: op.result for op in ops
        }
        lines = [f"const real {names[k]} = {where};" for k, where in inputs.items() if k in used]
        lines += [self._line(op, names) for op in ops]
        lines += [f"{where} = {self._value(results[k], names)};" for k, where in outputs.items()]
        lines += [f"{where} += {self._value(results[k], names)};" for k, where in sums.items()]
        return lines

    def function(
        self,
        name: str,
        arguments: str,
        ops: list[Op],
        graph: Graph,
        inputs: dict[str, str],
        outputs: dict[str, str],
        sums: dict[str, str] | None = None,
    ) -> str:
        """Print one function over the recordings of a tile: every input is read before any output
        is written.
        """
        constants = {k: f"c[{row} * NP + n]" for k, row in self.rows.items()}
        lines = self.statements(ops, graph.outputs, constants | inputs, outputs, sums or {})
        index = ["const long i = r * NP + n;"] if any("i]" in line for line in lines) else []
        body = "".join(f"\n            {line}" for line in (*index, *lines))
        return (
            f"void {name}(long rows, const unsigned char *live, long NP, long plane, const "
            f"real *restrict c,\n             {arguments}) {{\n"
            "    for (long r = 0; r < rows; r++) {\n        if (!live[r]) continue;\n"
            "        EACH(n, NP) {"
            f"{body}\n        }}\n    }}\n}}"
        )
