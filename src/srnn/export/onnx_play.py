"""Run an exported ONNX model in ONNX Runtime, to compare it with its network."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from srnn._check import ConfigError, SrnnError
from srnn.export.played import Played

_ERRORS_ONLY = 3
"""ONNX Runtime's level of messages: that an input with a default is no constant is known."""


class OnnxPlayer:
    """Plays recordings to a model that `to_onnx` wrote, from its own start: player(x, lengths) →
    `Played`.

    x: (B, T, C). lengths: (B,), or None = T. threads: of ONNX Runtime. Raises `ConfigError` for a
    file that is no such model.
    """

    def __init__(self, path: str | Path, *, threads: int = 1) -> None:
        self._session = session(path, threads)
        meta = self._session.get_modelmeta().custom_metadata_map.get("srnn")
        if meta is None:
            raise ConfigError(f"{path} was not written by to_onnx: it has no metadata entry srnn.")
        description = json.loads(meta)
        self.form: str = description["form"]
        self._layers: int = description["layers"]
        self._start: dict[str, Any] = description["start"]
        self._names = [result.name for result in self._session.get_outputs()]
        self._widths = {given.name: given.shape[-1] for given in self._session.get_inputs()}
        self._type = np.dtype(
            np.float64 if "double" in self._session.get_inputs()[0].type else np.float32
        )

    def __call__(self, x: Tensor, lengths: Tensor | None = None) -> Played:
        """Run whole recordings."""
        values = np.ascontiguousarray(x.detach().cpu().numpy(), self._type)
        ends = (
            np.full(len(values), values.shape[1])
            if lengths is None
            else lengths.cpu().numpy().astype(np.int64)
        )
        found = (
            self._whole(values, ends) if self.form == "scan" else self._step_by_step(values, ends)
        )
        tensors = {name: torch.from_numpy(value).to(x.dtype) for name, value in found.items()}
        layers = [
            tensors.get(f"layer{k}.{'output' if self.form == 'scan' else 's'}")
            for k in range(self._layers)
        ]
        shown = tuple(layer for layer in layers if layer is not None)
        return Played(
            tensors["potential"], tensors["output"], shown if len(shown) == self._layers else ()
        )

    def start(self, batch: int) -> dict[str, Any]:
        """Return the state before the first step of a cell, as the model takes it."""
        return {
            name: np.broadcast_to(self._type.type(v), (batch, self._widths[name])).copy()
            for name, v in self._start.items()
        }

    def step(self, x: Any, state: dict[str, Any]) -> dict[str, Any]:
        """Run one step of a cell: x (B, C) and the state in; potential, output and "next", the new
        state, out.
        """
        found = dict(zip(self._names, self._session.run(None, {"x": x, **state}), strict=True))
        return {**found, "next": {name: found[f"{name}.next"] for name in state}}

    def _whole(self, x: Any, ends: Any) -> dict[str, Any]:
        wanted = [name for name in self._names if not name.endswith(".next")]
        return dict(zip(wanted, self._session.run(wanted, {"x": x, "lengths": ends}), strict=True))

    def _step_by_step(self, x: Any, ends: Any) -> dict[str, Any]:
        state, steps = self.start(len(x)), list[dict[str, Any]]()
        spikes = [name for name in state if name.endswith(".s")]
        for t in range(x.shape[1]):
            valid = (t < ends)[:, None]
            found = self.step(np.where(valid, x[:, t], self._type.type(0)), state)
            state = {name: np.where(valid, new, state[name]) for name, new in found["next"].items()}
            shown = {
                "potential": found["potential"],
                "output": found["output"],
                **{name: found["next"][name] for name in spikes},
            }
            steps.append(
                {name: np.where(valid, value, self._type.type(0)) for name, value in shown.items()}
            )
        return {name: np.stack([step[name] for step in steps], 1) for name in steps[0]}


def session(path: str | Path, threads: int = 1) -> Any:
    """Return an ONNX Runtime session on the CPU.

    Raises `ConfigError` for a file it cannot run, `SrnnError` where it is not installed.
    """
    try:
        import onnxruntime
    except ImportError as error:
        raise SrnnError(
            'Running ONNX needs onnxruntime. Install it with: pip install "srnn[export]"'
        ) from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = threads
    options.log_severity_level = _ERRORS_ONLY
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # of a dozen classes of its own
        raise ConfigError(
            f"{path} cannot be run by ONNX Runtime: {str(error).splitlines()[0]}"
        ) from error
