"""A network as C99 in whole numbers: no float anywhere.

The same operations as `IntegerStack.run`.
"""

from __future__ import annotations

import torch

from srnn.export.c_source import (
    Table,
    current_places,
    field,
    fixed_functions,
    helpers,
    inputs_of,
    product,
    remember,
    resets,
    table,
    template,
)
from srnn.export.integer import IntegerLayer, IntegerMatrix, IntegerStack
from srnn.export.model import Source
from srnn.kernels.print_fixed import print_fixed


def integer_source(net: IntegerStack, sparse: bool | None) -> Source:
    """Return the body of model.c, the fields of the state and the formats."""
    tables, functions, fields, reset, calls = (
        list[Table](),
        list[str](),
        list[str](),
        list[str](),
        list[str](),
    )
    below, last = "x", len(net.layers) - 1
    for k, layer in enumerate(net.layers):
        spikes = k > 0 and net.layers[k - 1].binary
        made, text = _layer(k, layer, k == 0, k == last, net.bits, sparse)
        starts, lines = resets(k, layer, "int32_t", lambda v: str(int(v)))
        tables += made + starts
        reset += lines
        functions.append(text)
        fields.append(field(k, layer, "int32_t", "uint8_t" if spikes else "int16_t"))
        calls.append(f"layer{k}(state, {below}{', scores' if k == last else ''});")
        below = f"state->layer{k}.s"
    body = "\n\n".join(functions)
    weights = (
        template(f"weight{net.bits}.c")
        + "\n"
        + template("fixed.c").replace("@WEIGHT@", _KIND[net.bits])
    )
    shift_check, functions_of = fixed_functions().split("\n\n", 1)
    top = f"{shift_check}\n\n{helpers(body, (functions_of, weights))}"
    macros = (
        f"#define MODEL_INPUT_FRACTION {net.input.fraction}",
        f"#define MODEL_INPUT_LIMIT {net.input.limit}",
        f"#define MODEL_SCORE_FRACTION {net.layers[-1].fraction}",
    )
    formats = [
        f"layer{k}: {layer.fraction} bits behind the point" + _seen(layer)
        for k, layer in enumerate(net.layers)
    ]
    notes = (
        f"Whole numbers only; weights of {net.bits} bits with a scale for each row.",
        f"x: value 2^{net.input.fraction} rounded, "
        f"sizes up to {net.input.limit}"
        + (" (events, counts)." if not net.input.fraction else "."),
        f"scores: value 2^{net.layers[-1].fraction}.",
        *formats,
        "",
    )
    return Source(
        (),
        top,
        tuple(tables),
        body,
        tuple(fields),
        tuple(reset),
        tuple(calls),
        "int16_t",
        "int32_t",
        _GIVEN,
        _SHOWN,
        macros,
        notes,
    )


_GIVEN = """const double whole = rint(ldexp(value, MODEL_INPUT_FRACTION));
    const double limit = MODEL_INPUT_LIMIT;
    return (int16_t)(whole > limit ? limit : whole < -limit ? -limit : whole);"""
_SHOWN = "ldexp((double)score, -MODEL_SCORE_FRACTION)"
"""How the example reads a real number and prints a score (`Source`)."""


_KIND = {8: "int8_t", 4: "uint8_t"}


def _seen(layer: IntegerLayer) -> str:
    return "" if layer.fed is None else f", its outputs enter products with {layer.fed.fraction}"


def _layer(
    k: int, layer: IntegerLayer, first: bool, last: bool, bits: int, sparse: bool | None
) -> tuple[list[Table], str]:
    """Return the tables and the function of one layer."""
    name, rows, n, own = f"layer{k}", layer.neurons * layer.gates, layer.neurons, f"state->layer{k}"
    spikes = layer.seen is None
    kind = "uint8_t" if spikes else "int16_t" if first else "int32_t"
    head = (
        f"/* {layer.who} */\nstatic void {name}(model_state *state, const {kind} "
        f"*below{', int32_t *scores' if last else ''}) {{"
    )
    tables, lines, terms = list[Table](), [f"int32_t I[{rows}];"], list[str]()

    def multiply(matrix: IntegerMatrix, what: str, target: str) -> None:
        terms.append(f"rounded((int64_t){target}[n] * {name}_{what}_scale[n], {matrix.shift})")
        tables.append(table("int32_t", f"{name}_{what}_scale", matrix.multiplier.numpy()))

    def add(q: torch.Tensor, what: str, target: str, x: str, binary: bool) -> None:
        made = product(f"{name}_{what}", q.numpy(), _KIND[bits], target, x, binary, sparse, bits)
        tables.extend(made.tables)
        lines.append(made.call)

    if layer.matrix is None:
        left, value = layer.fraction - layer.below, "(int64_t)below[n]"
        terms.append(
            f"{value} * ((int64_t)1 << {left})" if left >= 0 else f"rounded({value}, {-left})"
        )
    else:
        below = "below"
        if not spikes and not first:
            assert layer.seen is not None
            below = "seen"
            lines += [
                f"int16_t seen[{layer.inputs}];",
                f"narrow(seen, below, {layer.inputs}, {layer.below - layer.seen.fraction}, "
                f"{layer.seen.limit});",
            ]
        lines.append("memset(I, 0, sizeof I);")
        blocks = torch.split(layer.matrix.q, layer.inputs, 1)
        for j, (block, delay) in enumerate(zip(blocks, layer.delays, strict=True)):
            add(
                block,
                f"weight{j if len(blocks) > 1 else ''}",
                "I",
                inputs_of(own, below, layer, delay),
                spikes,
            )
        lines += remember(own, below, layer)
        multiply(layer.matrix, "weight", "I")
    if layer.recurrent is not None:
        x = f"{own}.s"
        if layer.fed is not None:
            x = "fed"
            lines += [
                f"int16_t fed[{n}];",
                f"narrow(fed, {own}.s, {n}, "
                f"{layer.fraction - layer.fed.fraction}, {layer.fed.limit});",
            ]
        lines += [f"int32_t again[{rows}];", "memset(again, 0, sizeof again);"]
        add(layer.recurrent.q, "recurrent", "again", x, layer.fed is None)
        multiply(layer.recurrent, "recurrent", "again")
    if bool(layer.bias.any()):
        tables.append(table("int32_t", f"{name}_bias", layer.bias.numpy()))
        terms.append(f"{name}_bias[n]")
    lines.append(f"for (int32_t n = 0; n < {rows}; n++) I[n] = saturated({' + '.join(terms)});")
    places = current_places(layer)
    places |= {
        "s" if key == "s" else f"state.{key}": f"{own}.{key.replace('.', '_')}[n]"
        for key in layer.start
    }
    outputs = {key: place for key, place in places.items() if not key.startswith("I")}
    if last:
        outputs["potential"] = "scores[n]"
    for key, values in layer.step.tables.items():
        places[key] = f"{name}_{key.split('.', 1)[1].replace('.', '_')}[n]"
        tables.append(table("int32_t", places[key][:-3], values.expand(n).numpy()))
    statements = print_fixed(layer.step, places, outputs)
    loop = (
        f"for (int32_t n = 0; n < {n}; n++) {{\n        "
        + "\n        ".join(statements)
        + "\n    }"
    )
    return tables, "\n    ".join((head, *lines, loop)) + "\n}"
