"""Every public function and class of the documented modules, called with arguments of wrong types
and shapes: what comes is a value or an error of this package, never a raw one.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

import srnn
from srnn._check import ConfigError, ShapeError, SrnnError

MODULES = (
    *("srnn", "srnn.init", "srnn.surrogates", "srnn.activations", "srnn.neurons", "srnn.cells"),
    *("srnn.decode", "srnn.metrics", "srnn.encode", "srnn.compress", "srnn.export"),
    *("srnn.export.published", "srnn.export.nir", "srnn.export.nir_read", "srnn.export.state"),
    *("srnn.papers.published", "srnn.tasks", "srnn.stream", "srnn.energy", "srnn.analysis"),
)
ALSO = (
    ("srnn.nn.networks", "count_parameters"),
    ("srnn.training.runs", "load_run"),
    ("srnn.papers", "load"),
)

INNER = {
    "CPlayer": "made of what to_c gives",
    "footprint": "of what to_c gives",
    "CModel": "made by to_c",
}
"""What is public and takes only what this package makes."""

WRONG = {
    "nothing": None,
    "an integer": 3,
    "a negative number": -1.5,
    "a text": "text",
    "a tensor (2, 3)": torch.zeros(2, 3),
    "a float16 tensor": torch.zeros(2, 3, 4, dtype=torch.float16),
    "a complex tensor": torch.zeros(3, dtype=torch.complex64),
    "a list": [1, "a"],
    "an object": object(),
    "a module": torch.nn.Linear(2, 3),
    "a class": torch.nn.Linear,
}


def public() -> Iterator[tuple[str, Any]]:
    seen = set[int]()
    for module in MODULES:
        loaded = importlib.import_module(module)
        names = sorted({*vars(loaded), *getattr(loaded, "__all__", ()), *dir(loaded)})
        for name in names:
            made = getattr(loaded, name)
            home = getattr(made, "__module__", "") or ""
            own = home == module or (home.startswith(f"{module}.") and "._" not in home)
            raised = inspect.isclass(made) and issubclass(made, BaseException)
            if name.startswith("_") or not callable(made) or not own or raised:
                continue
            if id(made) not in seen and name not in INNER:
                seen.add(id(made))
                yield f"{module}.{name}", made
    for module, name in ALSO:
        yield f"{module}.{name}", getattr(importlib.import_module(module), name)


def called(made: Any, value: Any) -> None:
    """Call with the value in every place that has no default, and in no other."""
    places, names = [], {}
    for p in inspect.signature(made).parameters.values():
        if p.default is p.empty and p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD):
            places.append(value)
        elif p.default is p.empty and p.kind is p.KEYWORD_ONLY:
            names[p.name] = value
    made(*places, **names)


def test_layers_of_short_numbers_work_and_other_types_are_refused() -> None:
    for dtype in (torch.float16, torch.bfloat16):
        layer = srnn.Layer(3, 4, srnn.ALIF(), dtype=dtype)
        out = layer(torch.randn(2, 5, 3).to(dtype))
        assert out.output.dtype == dtype
        eye = (layer.recurrent @ layer.recurrent.T).float()
        assert torch.allclose(eye, torch.eye(4), atol=0.05)
        with pytest.raises(ConfigError, match="float32 and float64, not"):
            layer(torch.zeros(1, 2, 3, dtype=dtype), backend="cpu")
        with pytest.raises(ShapeError, match=r"Pass x\.to"):
            srnn.Layer(3, 4, srnn.ALIF())(torch.zeros(1, 2, 3, dtype=dtype))
    with pytest.raises(ConfigError, match="dtype is 'half'"):
        srnn.Layer(3, 4, srnn.ALIF(), dtype="half")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="weight_init is 3"):
        srnn.Layer(3, 4, srnn.ALIF(), weight_init=3)  # type: ignore[arg-type]
    with pytest.raises(ShapeError, match="expected integers"):
        srnn.metrics.confusion(torch.zeros(2, 3), torch.zeros(2))


def test_wrong_arguments_give_checked_errors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    raw, callables, calls, refused = [], 0, 0, 0
    for name, made in public():
        callables += 1
        for what, value in WRONG.items():
            calls += 1
            try:
                called(made, value)
            except SrnnError:
                refused += 1
            except Exception as error:  # which is what is looked for
                raw.append(f"{name}({what}): {type(error).__name__}: {error}")
    assert not raw, f"{len(raw)} of {calls}:\n" + "\n".join(raw)
    assert callables > 80
    assert calls == callables * len(WRONG)
    assert refused > 300
    assert not list(tmp_path.iterdir())
