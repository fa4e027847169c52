"""A NIR graph whose sizes or numbers do not fit is refused, naming the node."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch

from srnn._check import ConfigError

nir = pytest.importorskip("nir")

from srnn.export.nir_read import from_nir  # noqa: E402

one = np.ones


def lif(n: int) -> Any:
    return nir.LIF(tau=one(n), r=one(n), v_leak=0 * one(n), v_threshold=one(n), v_reset=0 * one(n))


def cuba(n: int) -> Any:
    names = ("tau_syn", "tau_mem", "r", "v_threshold")
    return nir.CubaLIF(**{k: one(n) for k in names}, v_leak=0 * one(n), v_reset=0 * one(n))


def chain(*nodes: Any, loop: Any = None) -> Any:
    names = ["input", *(f"n{k}" for k in range(len(nodes))), "output"]
    known = dict(zip(names[1:-1], nodes, strict=True))
    known |= {"input": nir.Input(np.array([3])), "output": nir.Output(np.array([4]))}
    edges = list(pairwise(names))
    if loop is not None:
        known["w"] = loop
        edges += [(names[-2], "w"), ("w", names[-2])]
    return nir.NIRGraph(known, edges, type_check=False)


WRONG: dict[str, tuple[Callable[[], Any], str]] = {
    "neurons": (
        lambda: chain(nir.Linear(one((4, 3))), lif(5)),
        r"n1 \(LIF\) has 5 neurons.*give 4",
    ),
    "LI": (
        lambda: chain(nir.Linear(one((4, 3))), nir.LI(one(5), one(5), one(5))),
        r"n1 \(LI\) has 5 neurons",
    ),
    "CubaLIF": (lambda: chain(nir.Linear(one((4, 3))), cuba(5)), r"n1 \(CubaLIF\) has 5 neurons"),
    "Threshold": (
        lambda: chain(nir.Linear(one((4, 3))), nir.Threshold(one(5))),
        r"n1 \(Threshold\) has 5 neurons",
    ),
    "Scale": (
        lambda: chain(nir.Linear(one((4, 3))), nir.Scale(one(5)), lif(4)),
        "4 neurons, and the weights before it give 5",
    ),
    "bias": (lambda: chain(nir.Affine(one((4, 3)), one(5)), lif(4)), r"n0 .*bias of shape \(5,\)"),
    "weight": (lambda: chain(nir.Linear(one((4, 3, 1))), lif(4)), r"weight of shape \(4, 3, 1\)"),
    "layers": (
        lambda: chain(nir.Linear(one((4, 3))), lif(4), nir.Linear(one((4, 6))), lif(4)),
        "layer 0 gives 4 channels",
    ),
    "input": (lambda: chain(nir.Linear(one((4, 5))), lif(4)), r"\(Input\) has 3 channels.* 5"),
    "output": (lambda: chain(nir.Linear(one((5, 3))), lif(5)), r"\(Output\) has 4 channels.* 5"),
    "recurrence": (
        lambda: chain(nir.Linear(one((4, 3))), lif(4), loop=nir.Linear(one((5, 5)))),
        r"its recurrence has a weight of shape \(5, 5\)",
    ),
    "recurrent bias": (
        lambda: chain(nir.Linear(one((4, 3))), lif(4), loop=nir.Affine(one((4, 4)), one(5))),
        r"its recurrence has a bias of shape \(5,\)",
    ),
    "complex": (lambda: chain(nir.Linear(1j * one((4, 3))), lif(4)), "numbers of type complex128"),
    "text": (lambda: chain(nir.Linear(np.full((4, 3), "a")), lif(4)), "expected real ones"),
}


@pytest.mark.parametrize("case", WRONG)
def test_sizes_that_do_not_fit(case: str) -> None:
    make, message = WRONG[case]
    with pytest.raises(ConfigError, match=message):
        from_nir(make(), dt=0.1)


def test_sizes_that_fit_and_other_arguments_that_do_not() -> None:
    good = chain(nir.Affine(one((4, 3)), one(4)), lif(4), loop=nir.Affine(one((4, 4)), one(4)))
    assert from_nir(good, dt=0.1)(torch.zeros(1, 2, 3)).output.shape == (1, 2, 4)
    with pytest.raises(ConfigError, match="source is 3"):
        from_nir(3)
    with pytest.raises(ConfigError, match="dt is 'soon'"):
        from_nir(good, dt="soon")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="dtype is 3"):
        from_nir(good, dt=0.1, dtype=3)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"torch\.int64"):
        from_nir(good, dt=0.1, dtype=torch.int64)
