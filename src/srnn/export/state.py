"""A network as plain tensors and a description that needs no code of this package: enough to
rebuild it in NumPy, or in any language.

    to_state(net, "net.safetensors")     writes net.safetensors (tensors), net.json (what they are)

Schema, version 1, of the JSON (all tensors are named in the safetensors file; N neurons, C inputs,
G gates; a complex state or coefficient z is the two real ones z.re and z.im):

    format "srnn-state", version, inputs, outputs, dtype
    layers          first one first; of each
      kind          "Layer", "Bidirectional" (its layers under "forward" and "backward", and
                    "merge": "Concat" or "Mean"), or another part by its class
      inputs, neurons, gates
      neuron        class, equation (text), options, states,
                    constants (name → tensor: (N,) or (), as clamped),
                    start (state → number or (N,) list)
      activation    class, options, constants (name → number)
      tensors       weight (G·N, C), recurrent (G·N, N) or null,
                    bias and recurrent_bias (G·N,) or null; removed connections are zeros
      norm          null, or {class "BatchNorm", scale, shift}: scale · (W x + b) + shift;
                    or {class "LayerNorm", weight, bias, eps}
      step          the step as traced: inputs, operations [result, name, arguments …] in order,
                    outputs; a number among them is a literal
      coefficients  name → tensor (N,) or (): the values of the step's inputs "c.<name>" (those of
                    "a.<name>" are the activation's constants)

A step of a layer: I = norm(W x + b) + b_R + R s, cut into G blocks of N for gates I0, I1 …; then
the operations give the new states "state.<name>", the output "s" (after the activation) and
"potential", all from the values before the step. Operations are those of `srnn.kernels.graph`;
rsub(a, b) is b - a, truth values are 0 and 1, softplus(a) is log(1 + exp(a)), copy(a) is a. Of
other parts, "tensors" holds their state dictionary.
"""

from __future__ import annotations

import dataclasses
import inspect
import json
import sys
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor, nn

from srnn import _files
from srnn._check import ConfigError, check_instance
from srnn.kernels.graph import Graph
from srnn.kernels.pairs import split
from srnn.kernels.trace import numbers, trace_program
from srnn.nn.bidirectional import Bidirectional
from srnn.nn.layers import Layer, Part
from srnn.nn.networks import Stack
from srnn.nn.norm import evaluated
from srnn.nn.plain import check_plain

VERSION = 1


def to_state(net: Stack, path: str | Path) -> tuple[Path, Path]:
    """Write tensors and description; return both paths. path: of the tensors, ending in
    .safetensors; the JSON lies beside it.

    Raises `ConfigError` for another ending, `TraceError` for a neuron whose step cannot be traced.
    """
    check_instance("to_state", "net", net, Stack, "a network, srnn.Stack(…)")
    check_instance("to_state", "path", path, (str, Path), "a file, a text or a Path")
    target = Path(path)
    if target.suffix != ".safetensors":
        raise ConfigError(
            f"to_state: {path} does not end in .safetensors; the description is "
            "written beside it, as .json."
        )
    check_plain("to_state", net)
    tensors = dict[str, Tensor]()
    with torch.no_grad():
        layers = [_part(part, f"layer{k}", tensors) for k, part in enumerate(net.parts())]
    about = {
        "format": "srnn-state",
        "version": VERSION,
        "inputs": net.inputs,
        "outputs": net.outputs,
    }
    about |= {"dtype": str(next(net.parameters()).dtype).removeprefix("torch."), "layers": layers}
    plain = {name: t.detach().cpu().contiguous().clone() for name, t in tensors.items()}
    description = target.with_suffix(".json")
    _files.write(target, save(plain))
    _files.write(description, json.dumps(about, indent=1, allow_nan=False) + "\n")
    return target, description


def _part(part: Part, name: str, tensors: dict[str, Tensor]) -> dict[str, Any]:
    if isinstance(part, Layer):
        return _layer(part, name, tensors)
    if isinstance(part, Bidirectional):
        ways = {"forward": part.forward_layer, "backward": part.backward_layer}
        return {
            "kind": "Bidirectional",
            "merge": type(part.merge).__name__,
            **{w: _layer(v, f"{name}.{w}", tensors) for w, v in ways.items()},
        }
    own = {key: f"{name}.{key}" for key in part.state_dict()}
    tensors |= {f"{name}.{key}": value for key, value in part.state_dict().items()}
    about = inspect.getdoc(type(part)) or ""
    return {
        "kind": type(part).__name__,
        "inputs": part.inputs,
        "neurons": part.outputs,
        "about": about,
        "tensors": own,
    }


def _layer(layer: Layer, name: str, tensors: dict[str, Tensor]) -> dict[str, Any]:
    neuron = layer.neuron

    def keep(key: str, value: Tensor | None) -> str | None:
        if value is None:
            return None
        tensors[f"{name}.{key}"] = value
        return f"{name}.{key}"

    weight, recurrent = layer.weights()
    program = trace_program(neuron, layer.activation)
    constants = layer.constants()
    options = {
        f.name: getattr(neuron, f.name)
        for f in dataclasses.fields(neuron)
        if isinstance(getattr(neuron, f.name), bool)
    }
    activation = {
        f.name: getattr(layer.activation, f.name) for f in dataclasses.fields(layer.activation)
    }
    module = sys.modules.get(type(neuron).__module__)
    return {
        "kind": "Layer",
        "inputs": layer.inputs,
        "neurons": layer.neurons,
        "gates": neuron.gates,
        "neuron": {
            "class": type(neuron).__name__,
            "equation": (module.__doc__ if module is not None else None) or "",
            "options": options,
            "states": list(program.states),
            "constants": {k: keep(f"constants.{k}", v) for k, v in constants.items()},
            "start": {k: _plain(v[0]) for k, v in split(layer.start(1)).items()},
        },
        "activation": {
            "class": type(layer.activation).__name__,
            "options": {
                k: v if isinstance(v, bool) else type(v).__name__
                for k, v in activation.items()
                if not isinstance(v, int | float | Tensor)
            }
            | {k: v for k, v in activation.items() if isinstance(v, bool)},
            "constants": {
                k: _plain(torch.as_tensor(v)) for k, v in numbers(layer.activation).items()
            },
        },
        "tensors": {
            "weight": keep("weight", weight),
            "bias": keep("bias", layer.bias),
            "recurrent": keep("recurrent", recurrent),
            "recurrent_bias": keep("recurrent_bias", layer.recurrent_bias),
        },
        "norm": _norm(layer.norm, keep),
        "step": _graph(program.step),
        "coefficients": {k: keep(f"coefficients.{k}", v) for k, v in split(layer.coeffs()).items()},
    }


def _norm(norm: nn.Module | None, keep: Any) -> dict[str, Any] | None:
    if isinstance(norm, nn.LayerNorm):
        return {
            "class": "LayerNorm",
            "weight": keep("norm.weight", norm.weight),
            "bias": keep("norm.bias", norm.bias),
            "eps": norm.eps,
        }
    if not isinstance(norm, nn.BatchNorm1d):
        return None
    scale, shift = (t.to(norm.weight) for t in evaluated(norm))
    return {
        "class": "BatchNorm",
        "scale": keep("norm.scale", scale),
        "shift": keep("norm.shift", shift),
    }


def _graph(graph: Graph) -> dict[str, Any]:
    operations = [[op.result, op.name, *op.args] for op in graph.needed(graph.outputs)]
    return {"inputs": list(graph.inputs), "operations": operations, "outputs": graph.outputs}


def _plain(value: Tensor) -> float | list[float]:
    """Return a number, or a list where the values differ."""
    values = value.reshape(-1).tolist()
    found: float | list[float] = values[0] if len(set(values)) == 1 else values
    return found
