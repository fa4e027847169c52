"""A network as C99 with float weights and state.

The step of each layer is printed from its trace, as the cpu kernels are.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from srnn.export.c_source import (
    Table,
    current_places,
    field,
    float_functions,
    helpers,
    inputs_of,
    number,
    product,
    remember,
    resets,
    table,
    template,
)
from srnn.export.described import Described
from srnn.export.model import Source
from srnn.kernels.print_c import print_statements

_TOP = """typedef float real;
typedef int32_t whole;
#define MANTISSA 23
#define LIBM(name) name##f
#if defined(FP_FAST_FMAF) || defined(__FP_FAST_FMAF)
#define FMA(a, b, c) fmaf(a, b, c)
#else
#define FMA(a, b, c) ((a) * (b) + (c))
#endif"""


def float_source(layers: Sequence[Described], sparse: bool | None) -> Source:
    """Return the body of model.c, the fields of the state and what a table of sizes needs."""
    tables, functions, fields, reset, calls = (
        list[Table](),
        list[str](),
        list[str](),
        list[str](),
        list[str](),
    )
    below = "x"
    for k, layer in enumerate(layers):
        spikes_below = k > 0 and layers[k - 1].binary
        made = _layer(k, layer, "below", spikes_below, k == len(layers) - 1, sparse)
        tables += made[0]
        functions.append(made[1])
        fields.append(field(k, layer, "float", "uint8_t" if spikes_below else "float"))
        starts, lines = resets(k, layer, "real", number)
        tables += starts
        reset += lines
        calls.append(f"layer{k}(state, {below}{', scores' if k == len(layers) - 1 else ''});")
        below = f"state->layer{k}.s"
    body = "\n\n".join(functions)
    used = helpers(body, (float_functions(), template("float.c")))
    top = "\n\n".join(part for part in (_TOP, used) if part)
    uses_math = (
        any(word in used for word in ("LIBM", "FMA", "INFINITY"))
        or "INFINITY" in body
        or "NAN" in body
    )
    headers = ("<math.h>",) if uses_math else ()
    given, shown = "return (float)value;", "(double)score"
    return Source(
        headers,
        top,
        tuple(tables),
        body,
        tuple(fields),
        tuple(reset),
        tuple(calls),
        "float",
        "float",
        given,
        shown,
    )


def _layer(
    k: int, layer: Described, x: str, spikes_below: bool, last: bool, sparse: bool | None
) -> tuple[list[Table], str]:
    """Return the tables and the function of one layer."""
    name, rows, n = f"layer{k}", layer.neurons * layer.gates, layer.neurons
    own = f"state->{name}"
    tables, lines = list[Table](), list[str]()
    if layer.weight is None:
        lines.append(f"for (int32_t n = 0; n < {rows}; n++) I[n] = {x}[n];")
    else:
        if bool(layer.bias.any()):
            tables.append(table("real", f"{name}_bias", layer.bias.numpy()))
            lines.append(f"for (int32_t n = 0; n < {rows}; n++) I[n] = {name}_bias[n];")
        else:
            lines.append(f"for (int32_t n = 0; n < {rows}; n++) I[n] = 0;")
        blocks = torch.split(layer.weight, layer.inputs, 1)
        for j, (block, delay) in enumerate(zip(blocks, layer.delays, strict=True)):
            seen = inputs_of(own, x, layer, delay)
            made = product(
                f"{name}_weight{j if len(blocks) > 1 else ''}",
                block.numpy(),
                "real",
                "I",
                seen,
                spikes_below,
                sparse,
            )
            tables += made.tables
            lines.append(made.call)
    if layer.norm is not None:
        tables += [
            table("real", f"{name}_gain", layer.norm.gain.numpy()),
            table("real", f"{name}_shift", layer.norm.shift.numpy()),
        ]
        lines.append(f"layer_norm(I, {rows}, {name}_gain, {name}_shift, {number(layer.norm.eps)});")
    if layer.recurrent is not None:
        made = product(
            f"{name}_recurrent",
            layer.recurrent.numpy(),
            "real",
            "I",
            f"{own}.s",
            layer.binary,
            sparse,
        )
        tables += made.tables
        lines.append(made.call)
    lines += remember(own, x, layer)
    graph = layer.step.graph
    places = current_places(layer)
    places |= {"s": f"(real){own}.s[n]" if layer.binary else f"{own}.s[n]"} | {
        f"state.{key}": f"{own}.{key.replace('.', '_')}[n]" for key in layer.step.states
    }
    outputs = {key: value for key, value in places.items() if key.startswith("state.")} | {
        "s": f"{own}.s[n]"
    }
    if last:
        outputs["potential"] = "scores[n]"
    for key, values in layer.step.tables.items():
        places[key] = f"{name}_{key.split('.', 1)[1].replace('.', '_')}[n]"
        tables.append(table("real", places[key][:-3], values.numpy()))
    kind = "uint8_t" if spikes_below else "float"
    statements = print_statements(graph, places, outputs, truths=("s",) if layer.binary else ())
    loop = (
        f"for (int32_t n = 0; n < {n}; n++) {{\n        "
        + "\n        ".join(statements)
        + "\n    }"
    )
    head = (
        f"/* {layer.who} */\nstatic void {name}(model_state *state, const {kind} "
        f"*{x}{', float *scores' if last else ''}) {{"
    )
    return tables, "\n    ".join((head, f"float I[{rows}];", *lines, loop)) + "\n}"
