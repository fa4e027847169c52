"""A neuron that breaks the contract is told which of its methods does, and how."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch

import srnn
from srnn._check import ConfigError
from srnn.init import Constant, Fixed, Init
from srnn.neuron import Coeffs, Neuron, Params, State


@dataclass(frozen=True)
class Two(Neuron):
    """Two states and one constant."""

    tau: Init = 20.0
    states = ("u", "w")

    def coeffs(self, p: Params) -> Coeffs:
        return {"alpha": torch.exp(-1 / p["tau"])}

    def step(self, I: Any, s: torch.Tensor, state: State, c: Coeffs) -> Any:
        u = c["alpha"] * state["u"] + I
        return u - 1, {"u": u, "w": state["w"] + s}


def returning(method: str, value: Any) -> dict[str, Any]:
    if method in ("start", "init"):
        return {method: lambda self, n: value}
    return {method: lambda *_: value}


def stepping(made: Callable[[Any, State, Coeffs, Any], Any]) -> dict[str, Any]:
    return {"step": lambda self, I, s, state, c: made(I, state, c, self)}


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "start leaves one out": (
        returning("start", {"u": 0.0}),
        "start returns the states u; expected",
    ),
    "start has one more": (
        returning("start", {"u": 0.0, "w": 0.0, "z": 0.0}),
        "start returns the states u, w, z",
    ),
    "start is nothing": (returning("start", None), "start: TypeError.*for each state: u, w"),
    "start of another size": (
        returning("start", {"u": torch.zeros(9), "w": 0.0}),
        r"start: RuntimeError.*a number or an \(n,\) tensor",
    ),
    "start is a text": (returning("start", {"u": "a", "w": 0.0}), "start: TypeError"),
    "start of s is nothing": (returning("start", {"u": 0.0, "w": 0.0, "s": None}), "start: "),
    "step leaves one out": (
        stepping(lambda I, state, c, me: (I, {"u": I})),
        "step returns the states u; expected u, w",
    ),
    "step is nothing": (returning("step", None), r"step: TypeError.*expected \(x, state'\)"),
    "step is x alone": (stepping(lambda I, state, c, me: I), r"step: .*expected \(x, state'\)"),
    "step gives a list": (stepping(lambda I, state, c, me: (I, [I, I])), "step: AttributeError"),
    "step gives a number": (
        stepping(lambda I, state, c, me: (1.0, {"u": I, "w": I})),
        r"step: x is 1\.0; expected a tensor",
    ),
    "step gives a number as state": (
        stepping(lambda I, state, c, me: (I, {"u": I, "w": 0.0})),
        r"step: w is 0\.0; expected a tensor",
    ),
    "step reads another state": (
        stepping(lambda I, state, c, me: (I, {"u": state["v"], "w": I})),
        r"step: KeyError: 'v' \(test_contract\.py:\d+\); .*state: u, w, and c: alpha",
    ),
    "step reads another constant": (
        stepping(lambda I, state, c, me: (I * c["beta"], {"u": I, "w": I})),
        r"step: KeyError: 'beta' \(test_contract\.py:\d+\)",
    ),
    "step reads self.alpha": (
        stepping(lambda I, state, c, me: (I * me.alpha, {"u": I, "w": I})),
        r"step: AttributeError: .*'alpha' \(test_contract\.py:\d+\); .*c: alpha",
    ),
    "step reads a constant of self": (
        stepping(lambda I, state, c, me: (I * me.tau, {"u": I, "w": I})),
        "step: TypeError.*Constant",
    ),
    "step takes too little": ({"step": lambda self, I: I}, "step: TypeError"),
    "no step": ({"step": Neuron.step}, "step: NotImplementedError: a neuron has a step"),
    "potential reads another state": (
        {"potential": lambda self, s, state: state["v"]},
        r"potential: KeyError: 'v' .*made of s and state: u, w",
    ),
    "potential is nothing": (returning("potential", None), "potential is None"),
    "potential of another shape": (
        {"potential": lambda self, s, state: state["u"].sum()},
        r"potential is of shape \(\)",
    ),
    "init of other names": (
        returning("init", {"tau_m": torch.ones(4)}),
        "init: tau_m is no field; expected .*: tau",
    ),
    "init leaves one out": (returning("init", {}), "init: tau is missing"),
    "init is nothing": (returning("init", None), "init: TypeError"),
    "init is a number": (returning("init", {"tau": 3.0}), r"init: tau is 3\.0"),
    "init of another size": (returning("init", {"tau": torch.ones(9)}), r"shape \(9,\)"),
    "coeffs are nothing": (returning("coeffs", None), "coeffs: TypeError.*constants p: tau"),
    "coeffs read another": (
        {"coeffs": lambda self, p: {"alpha": p["tau_m"]}},
        r"coeffs: KeyError: 'tau_m' .*constants p: tau",
    ),
    "coeffs are a text": (returning("coeffs", {"alpha": "3"}), "'alpha' is a str"),
    "states are a text": ({"states": "u"}, r"states is 'u'; expected a tuple"),
    "states are nothing": ({"states": None}, "states is None"),
    "a state twice": ({"states": ("u", "u", "w")}, "each once"),
    "no gate": ({"gates": 0}, "gates is 0"),
    "gates are a text": ({"gates": "2"}, "gates is '2'"),
}


@pytest.mark.parametrize("case", WRONG)
def test_which_method_and_what_it_should_return(case: str) -> None:
    changed, message = WRONG[case]
    kind: Any = type("Mine", (Two,), changed)
    with pytest.raises(ConfigError, match=f"Mine.*{message}"):
        srnn.Layer(3, 4, kind(tau=Constant(20.0)))


def test_one_that_keeps_it() -> None:
    for init in (lambda me, n: {"tau": torch.full((n,), 20.0)}, lambda me, n: {"tau": Fixed(20.0)}):
        kind: Any = type("Mine", (Two,), {"init": init})
        assert srnn.Layer(3, 4, kind())(torch.zeros(1, 2, 3)).output.shape == (1, 2, 4)


def test_an_error_of_another_kind_is_kept_as_the_cause() -> None:
    def fails(*_: Any) -> Any:
        raise ZeroDivisionError("mine")

    kind: Any = type("Mine", (Two,), {"coeffs": fails})
    with pytest.raises(ConfigError, match="coeffs: ZeroDivisionError: mine") as caught:
        srnn.Layer(3, 4, kind())
    assert isinstance(caught.value.__cause__, ZeroDivisionError)
