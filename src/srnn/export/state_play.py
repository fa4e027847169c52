"""Run a network from the two files of `to_state` alone, as their schema says: what a reader of them
would write.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor
from torch.nn.functional import layer_norm, linear

from srnn._check import ConfigError, DataError
from srnn._files import _json
from srnn.export.played import Played
from srnn.kernels.graph import Op, currents
from srnn.kernels.interpret import interpret, value_of

_TYPES = {"float32": torch.float32, "float64": torch.float64}
_ABOUT = {"layers": [{"kind": str}], "dtype": str, "inputs": range(1, 1 << 24)}
_AGAIN = "Export the network anew."


class StatePlayer:
    """Plays recordings to a network of layers that `to_state` wrote: player(x, lengths) → `Played`,
    x (B, T, C), lengths (B,) or None = T.

    path: of the safetensors file. Raises `ConfigError` where the network has parts that are no
    layers: of those the files hold numbers only; `DataError` where the files are damaged.
    """

    def __init__(self, path: str | Path) -> None:
        description = Path(path).with_suffix(".json")
        try:
            self._tensors = load_file(path)
            about = _json.read(description, _ABOUT)
        except (OSError, ValueError, SafetensorError) as error:
            raise DataError(f"{path}, {description.name}: damaged ({error}). {_AGAIN}") from error
        self._layers: list[dict[str, Any]] = about["layers"]
        if about["dtype"] not in _TYPES:
            raise DataError(f"{description}: dtype is {about['dtype']!r}. {_AGAIN}")
        self._type = _TYPES[about["dtype"]]
        others = [layer["kind"] for layer in self._layers if layer["kind"] != "Layer"]
        if others:
            raise ConfigError(
                f"{path} holds a {others[0]}, of which the files have the numbers "
                "only; expected layers of neurons."
            )

        try:  # one step: every number and operation that the description names is used in it
            self(torch.zeros(1, 1, about["inputs"]))
        except Exception as error:
            raise DataError(
                f"{description} does not describe a network ({type(error).__name__}: {error}). "
                f"{_AGAIN}"
            ) from error

    def _start(self, layer: Any, batch: int) -> dict[str, Tensor]:
        given = layer["neuron"]["start"].items()
        start = {k: torch.as_tensor(v, dtype=self._type) for k, v in given}
        return {k: v.expand(batch, layer["neurons"]) for k, v in start.items()}

    def __call__(self, x: Tensor, lengths: Tensor | None = None) -> Played:
        """Run whole recordings."""
        x, count = x.to(self._type), x.shape[1]
        ends = torch.full((len(x),), count) if lengths is None else lengths
        states = [self._start(layer, len(x)) for layer in self._layers]
        outputs, potentials = list[list[Tensor]](), list[Tensor]()
        for t in range(count):
            valid = (t < ends).unsqueeze(1)
            h, seen = torch.where(valid, x[:, t], 0.0), list[Tensor]()
            for k, layer in enumerate(self._layers):
                h, potential, states[k] = self._step(layer, h, states[k])
                seen.append(torch.where(valid, h, 0.0))
            outputs.append(seen)
            potentials.append(torch.where(valid, potential, 0.0))
        layers = tuple(torch.stack(steps, 1) for steps in zip(*outputs, strict=True))
        return Played(torch.stack(potentials, 1), layers[-1], layers)

    def _step(
        self, layer: dict[str, Any], x: Tensor, state: dict[str, Tensor]
    ) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        """Return output, potential and the new state of one layer."""
        w, names, norm = self._tensors, layer["tensors"], layer["norm"]
        I = linear(x, w[names["weight"]], w.get(names["bias"]))
        if norm is not None and norm["class"] == "BatchNorm":
            I = w[norm["scale"]] * I + w[norm["shift"]]
        elif norm is not None:
            I = layer_norm(I, I.shape[-1:], w[norm["weight"]], w[norm["bias"]], norm["eps"])
        if names["recurrent_bias"] is not None:
            I = I + w[names["recurrent_bias"]]
        if names["recurrent"] is not None:
            I = I + linear(state["s"], w[names["recurrent"]])
        gates = [I] if layer["gates"] == 1 else list(I.chunk(layer["gates"], -1))
        given = dict(zip(currents(len(gates)), gates, strict=True)) | {"s": state["s"]}
        given |= {f"state.{k}": v for k, v in state.items() if k != "s"} | {
            f"c.{k}": w[name] for k, name in layer["coefficients"].items()
        }
        given |= {
            f"a.{k}": torch.as_tensor(v, dtype=self._type)
            for k, v in layer["activation"]["constants"].items()
        }
        values = interpret(
            [Op(result, name, tuple(args)) for result, name, *args in layer["step"]["operations"]],
            given,
            state["s"],
        )
        found = {
            name: value_of(v, values, state["s"]) for name, v in layer["step"]["outputs"].items()
        }
        return (
            found["s"],
            found["potential"],
            {k: found["s" if k == "s" else f"state.{k}"] for k in state},
        )
