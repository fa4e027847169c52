"""Print an integer step (`fixed.FixedStep`) as C99; `c/fixed.h` holds the functions it calls."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from srnn.kernels.fixed import FixedStep, Name

_COMPARE = {"gt": ">", "ge": ">=", "lt": "<", "le": "<=", "eq": "==", "ne": "!="}
_FORMS: dict[str, Callable[..., str]] = {
    "add": "saturated((int64_t){} + {})".format,
    "sub": "saturated((int64_t){} - {})".format,
    "mul": "saturated(rounded((int64_t){} * {}, {}))".format,
    "scale": "saturated(rounded((int64_t){} * {}, {}))".format,
    "select": "{} ? {} : 0".format,
    "number": "{} ? {} : 0".format,
    "where": "{} ? {} : {}".format,
    "minimum": "{0} < {1} ? {0} : {1}".format,
    "maximum": "{0} > {1} ? {0} : {1}".format,
    "abs": "saturated({0} < 0 ? -(int64_t){0} : {0})".format,
    "sign": "{0} > 0 ? {1} : {0} < 0 ? -{1} : 0".format,
    **{name: f"{{}} {sign} {{}}".format for name, sign in _COMPARE.items()},
    "and": "{} && {}".format,
    "or": "{} || {}".format,
    "not": "!{}".format,
}


def print_fixed(
    step: FixedStep, inputs: Mapping[str, str], outputs: Mapping[str, str]
) -> list[str]:
    """Return the C statements of one neuron's step. inputs, outputs: name → where the value is read
    or put; tables are inputs too.
    """
    used = {a for op in step.ops for a in op.args} | set(step.outputs.values())
    names = {k: f"{k.replace('.', '_')}_" for k in inputs} | {
        op.result: op.result for op in step.ops
    }

    def text(v: Name) -> str:
        return names[v] if isinstance(v, str) else str(v) if v >= 0 else f"({v})"

    def kind(name: str) -> str:
        return "int" if name in step.bits else "int32_t"

    lines = [f"const {kind(k)} {names[k]} = {where};" for k, where in inputs.items() if k in used]
    for op in step.ops:
        args = [text(a) for a in op.args]
        form = (
            _FORMS[op.name](*args) if op.name in _FORMS else f"{op.name}_fixed({', '.join(args)})"
        )
        lines.append(f"const {kind(op.result)} {op.result} = {form};")
    for name, where in outputs.items():
        value = step.outputs[name]
        lines.append(f"{where} = {'(uint8_t)' if value in step.bits else ''}{text(value)};")
    return lines
