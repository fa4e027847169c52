"""Networks as ONNX models, printed from the traced steps of their neurons.

    to_onnx(net, "cell.onnx", form="cell")    one step
    to_onnx(net, "net.onnx", form="scan")     whole recordings: one Scan, whose body is that step

Both are written with plain operators (set 17), nothing custom. Norms are as they evaluate, dropout
is none, sparse connections are zeros.

    cell
        inputs   x (batch, C), and each state, (batch, N): "layer0.u", "layer0.s" (the output of
                 the step before) …
        outputs  potential, output (batch, K), and each state after the step: "layer0.u.next",
                 "layer0.s.next" …
    scan
        inputs   x (batch, steps, C); and, each with a default, lengths (batch,) int64: the valid
                 steps of each recording, or all of them, and the states before the first step,
                 (batch, N): the network's own start
        outputs  potential, output (batch, steps, K); with outputs=True "layer0.output" …
                 (batch, steps, N) of every layer; "layer0.u.next" … after each recording's own
                 last step. What lies beyond a length is not read, and 0 in what comes out

The metadata entry "srnn" of the model is JSON: form, opset, layers (their number), and the start
value of each state (a number, or one for each neuron).
"""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

# isort: skip  (after onnx_graph, which says how to install it)
from onnx import TensorProto, checker, helper, numpy_helper
from torch import Tensor

from srnn import _files
from srnn._check import check_choice
from srnn.export import onnx_parts
from srnn.export.onnx_graph import OPSET, Nodes, onnx_type
from srnn.export.onnx_parts import States, Stepped
from srnn.nn.bidirectional import Bidirectional, Concat
from srnn.nn.layers import Layer, Part
from srnn.nn.networks import Stack
from srnn.nn.plain import check_plain

FORMS = ("cell", "scan")
_NO_LIMIT = int(np.iinfo(np.int64).max)


def to_onnx(
    net: Stack, path: str | Path, *, form: Literal["cell", "scan"] = "scan", outputs: bool = True
) -> Path:
    """Write a network as an ONNX model; return the path.

    net: float32 or float64; the model computes in that type. outputs: the scan also gives the
    outputs of every layer. Raises `ConfigError` for another form, for a part that has none, and for
    a cell of a network that needs whole recordings; `TraceError` for a neuron whose step cannot be
    traced.
    """
    check_choice("to_onnx: form", form, FORMS)
    check_plain("to_onnx", net)
    dtype = next(net.parameters()).dtype
    onnx_type(dtype)
    for k, part in enumerate(net.parts()):
        onnx_parts.check(part, k, cell=form == "cell")
    with torch.no_grad():
        model = _cell(net, dtype) if form == "cell" else _scan(net, dtype, outputs)
    checker.check_model(model, full_check=True)
    _files.write(Path(path), model.SerializeToString())
    return Path(path)


def starts(net: Stack) -> dict[str, Tensor]:
    """Return the state before the first step, (1, N) each, under the names the model has for it."""
    return {
        f"layer{k}.{name}": value
        for k, part in enumerate(net.parts())
        for name, value in onnx_parts.start(part).items()
    }


def _own(all_states: dict[str, str], prefix: str) -> States:
    """Return the states of one part, by the names the part has for them."""
    return {
        name.removeprefix(f"{prefix}."): tensor
        for name, tensor in all_states.items()
        if name.startswith(f"{prefix}.")
    }


def _cell(net: Stack, dtype: torch.dtype) -> Any:
    nodes, given = Nodes(dtype), starts(net)
    names = {name: name for name in given}
    h, run = "x", Stepped("x", "x", {})
    for k, part in enumerate(net.parts()):
        run = onnx_parts.step(nodes, part, f"layer{k}", h, _own(names, f"layer{k}"), None)
        h = run.output
        for name, value in run.states.items():
            nodes.emit("Identity", value, name=f"layer{k}.{name}.next")
    nodes.emit("Identity", run.potential, name="potential")
    nodes.emit("Identity", run.output, name="output")
    inputs = [
        _tensor(nodes, "x", "batch", net.inputs),
        *(_tensor(nodes, k, "batch", v.shape[1]) for k, v in given.items()),
    ]
    results = [_tensor(nodes, name, "batch", net.outputs) for name in ("potential", "output")]
    results += [_tensor(nodes, f"{k}.next", "batch", v.shape[1]) for k, v in given.items()]
    return _model(nodes, net, "cell", inputs, results)


def _scan(net: Stack, dtype: torch.dtype, outputs: bool) -> Any:
    whole = _Whole(net, Nodes(dtype))
    nodes, last = whole.nodes, len(net.parts()) - 1
    h, potential, layers = whole.x, "", list[tuple[str, int]]()
    for bidirectional, group in itertools.groupby(
        enumerate(net.parts()), lambda k_part: isinstance(k_part[1], Bidirectional)
    ):
        for members in [[member] for member in group] if bidirectional else [list(group)]:
            found = (
                whole.both_ways(*members[0], h)
                if bidirectional
                else whole.forwards(members, h, f"scan{members[0][0]}")
            )
            h, potential = found.outputs[-1], found.potential
            layers += zip(found.emitted, (whole.widths[k] for k, _ in members), strict=True)
    whole.masked(potential, "potential")
    whole.masked(h, "output")
    results = [
        _tensor(nodes, name, "batch", "steps", net.outputs) for name in ("potential", "output")
    ]
    for k, (value, n) in enumerate(layers if outputs else []):
        results.append(_tensor(nodes, whole.masked(value, f"layer{k}.output"), "batch", "steps", n))
    results += [_tensor(nodes, f"{k}.next", "batch", v.shape[1]) for k, v in whole.given.items()]
    assert last == len(layers) - 1
    inputs = [
        _tensor(nodes, "x", "batch", "steps", net.inputs),
        helper.make_tensor_value_info("lengths", TensorProto.INT64, ["recordings"]),
    ]
    inputs += [_tensor(nodes, k, "recordings", v.shape[1]) for k, v in whole.given.items()]
    return _model(nodes, net, "scan", inputs, results)


class _Ran:
    """What some parts give on whole recordings: outputs and what they emitted, (B, T, N), of each
    of them; the potential of the last.
    """

    def __init__(self, outputs: list[str], emitted: list[str], potential: str) -> None:
        self.outputs, self.emitted, self.potential = outputs, emitted, potential


class _Whole:
    """A model on whole recordings while it is built."""

    def __init__(self, net: Stack, nodes: Nodes) -> None:
        self.nodes, self.given = nodes, starts(net)
        self.widths = [
            2 * p.forward_layer.neurons if isinstance(p, Bidirectional) else p.outputs
            for p in net.parts()
        ]
        nodes.weights["lengths"] = numpy_helper.from_array(np.array([_NO_LIMIT]), "lengths")
        shape = nodes.emit("Shape", "x")
        batch, self.steps = (nodes.emit("Gather", shape, nodes.integers(k), axis=0) for k in (0, 1))
        end = nodes.emit("Squeeze", self.steps)
        times = nodes.emit(
            "Range", nodes.integers(0, scalar=True), end, nodes.integers(1, scalar=True)
        )
        valid = nodes.emit("Less", times, nodes.emit("Unsqueeze", "lengths", nodes.integers(1)))
        # (B, T, 1), or (1, T, 1) where all are valid
        self.valid = nodes.emit("Unsqueeze", valid, nodes.integers(2))
        self.x = nodes.emit("Where", self.valid, "x", nodes.number(0.0))
        self.lengths = nodes.emit("Min", nodes.emit("Expand", "lengths", batch), self.steps)  # (B,)
        self.state = {}
        for name, value in self.given.items():
            whole_shape = nodes.emit("Concat", batch, nodes.integers(value.shape[1]), axis=0)
            self.state[name] = nodes.emit("Expand", nodes.weight(name, value), whole_shape)

    def masked(self, value: str, name: str) -> str:
        """Name what the model gives, 0 beyond each length."""
        return self.nodes.emit("Where", self.valid, value, self.nodes.number(0.0), name=name)

    def per_step(self) -> str:
        """Return (B, 1), one over the steps of each recording."""
        steps = self.nodes.emit(
            "Cast", self.nodes.emit("Max", self.lengths, self.nodes.integers(1)), to=self.nodes.type
        )
        return self.nodes.emit(
            "Unsqueeze", self.nodes.emit("Reciprocal", steps), self.nodes.integers(1)
        )

    def forwards(self, members: list[tuple[int, Part]], x: str, name: str) -> _Ran:
        """Run parts one above the other, in one Scan."""
        return self._over_time([(f"layer{k}", part) for k, part in members], x, name)

    def both_ways(self, k: int, part: Part, x: str) -> _Ran:
        """Run the two directions of a bidirectional layer, a Scan each."""
        assert isinstance(part, Bidirectional)
        nodes = self.nodes
        there = self._over_time([(f"layer{k}.forward", part.forward_layer)], x, f"scan{k}.forward")
        back = self._over_time(
            [(f"layer{k}.backward", part.backward_layer)], self._reversed(x), f"scan{k}.backward"
        )
        side_by_side = [
            nodes.emit("Concat", a, self._reversed(b), axis=2)
            for a, b in ((there.outputs[0], back.outputs[0]),)
        ]

        def merged(a: str, b: str) -> str:
            if isinstance(part.merge, Concat):
                return nodes.emit("Concat", a, self._reversed(b), axis=2)
            return nodes.emit("Mul", nodes.emit("Add", a, self._reversed(b)), nodes.number(0.5))

        return _Ran(
            [merged(there.outputs[0], back.outputs[0])],
            side_by_side,
            merged(there.potential, back.potential),
        )

    def _reversed(self, x: str) -> str:
        return self.nodes.emit("ReverseSequence", x, self.lengths, batch_axis=0, time_axis=1)

    def _over_time(self, members: list[tuple[str, Part]], x: str, name: str) -> _Ran:
        """Add a Scan of these parts over the steps of x (B, T, C); the first layer's W x is one
        product for all steps before it.
        """
        nodes, first = self.nodes, members[0][1]
        hoisted = isinstance(first, Layer)
        per_step = self.per_step() if any(part.whole is not None for _, part in members) else None
        source = onnx_parts.feed(nodes, first, members[0][0], x) if isinstance(first, Layer) else x
        body = Nodes(nodes.dtype, nodes)
        names = [
            state for prefix, _ in members for state in self.state if state.startswith(f"{prefix}.")
        ]
        inner = {state: f"{name}.{state}" for state in names}
        now, valid = f"{name}.now", f"{name}.valid"
        h, run, carried, seen = now, Stepped(now, now, {}), dict[str, str](), list[str]()
        for k, (prefix, part) in enumerate(members):
            states = _own(inner, prefix)
            if hoisted and not k:
                assert isinstance(part, Layer)
                run = onnx_parts.layer_step(body, part, prefix, h, states)
            else:
                run = onnx_parts.step(body, part, prefix, h, states, per_step)
            h = run.output
            carried |= {
                f"{prefix}.{s}": body.emit("Where", valid, value, states[s])
                for s, value in run.states.items()
            }
            seen.append(body.emit("Identity", run.output))
        seen.append(body.emit("Identity", run.potential))
        flags = helper.make_tensor_value_info(valid, TensorProto.BOOL, None)
        takes = [_tensor(nodes, v) for v in (*inner.values(), now)]
        graph = helper.make_graph(
            body.nodes,
            name,
            [*takes, flags],
            [_tensor(nodes, v) for v in (*(carried[k] for k in names), *seen)],
        )
        results = [f"{state}.next" for state in names], [nodes.fresh() for _ in seen]
        nodes.several(
            "Scan",
            [*(self.state[k] for k in names), source, self.valid],
            [*results[0], *results[1]],
            body=graph,
            num_scan_inputs=2,
            scan_input_axes=[1, 1],
            scan_output_axes=[1] * len(seen),
        )
        return _Ran(results[1][:-1], results[1][:-1], results[1][-1])


def _tensor(nodes: Nodes, name: str, *shape: int | str) -> Any:
    return helper.make_tensor_value_info(name, nodes.type, list(shape) or None)


def _model(nodes: Nodes, net: Stack, form: str, inputs: list[Any], results: list[Any]) -> Any:
    graph = helper.make_graph(
        nodes.nodes, "srnn", inputs, results, initializer=list(nodes.weights.values())
    )
    model = helper.make_model(
        graph, producer_name="srnn", opset_imports=[helper.make_opsetid("", OPSET)], ir_version=8
    )
    values = {name: _plain(value[0]) for name, value in starts(net).items()}
    helper.set_model_props(
        model,
        {
            "srnn": json.dumps(
                {"form": form, "opset": OPSET, "layers": len(net.parts()), "start": values}
            )
        },
    )
    return model


def _plain(start: Tensor) -> float | list[float]:
    """Return the start value of a state: one number where all neurons have the same."""
    values: list[float] = start.tolist()
    return values[0] if values and len(set(values)) == 1 else values
