"""Whether a neuron keeps the contract of `srnn.neuron`: asked when a layer is built.

Whatever one of its methods raises then is said as one error: which method, where, and what it
should return.
"""

from __future__ import annotations

import contextlib
import traceback
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from torch import Tensor

from srnn._check import ConfigError, SrnnError
from srnn.init import Fixed
from srnn.neuron import Coeffs, Neuron, State, complex_states, complex_type


def initial(neuron: Neuron, n: int) -> dict[str, Tensor | Fixed]:
    """Return how the constants of n neurons start, of `Neuron.init`.

    Raises `ConfigError` where one is missing, is no field or no real tensor.
    """
    who, known = type(neuron).__name__, neuron.constants()
    wanted = f"a tensor or Fixed for each constant: {_list(known)}"
    with _asked(neuron, "init", wanted):
        made = dict(neuron.init(n))
    for name, value in made.items():
        if name not in known:
            raise ConfigError(f"{who}.init: {name} is no field; expected {wanted}.")
        if not isinstance(value, Tensor | Fixed):
            raise ConfigError(f"{who}.init: {name} is {value!r}; expected {wanted}.")
        if isinstance(value, Tensor) and value.is_complex():
            raise ConfigError(
                f"{who}.init: {name} is complex, and constants are real. "
                "Make it two of them, and write torch.complex(re, im) in coeffs."
            )
    if missing := known.keys() - made.keys():
        raise ConfigError(f"{who}.init: {min(missing)} is missing; expected {wanted}.")
    return made


def check(
    neuron: Neuron,
    constants: Iterable[str],
    start: Callable[[], State],
    coeffs: Callable[[], Coeffs],
) -> frozenset[str]:
    """Run one step, compare what comes with the contract, and return which states are complex.

    start, coeffs: give the start of a few recordings, and what the step uses. Raises `ConfigError`
    saying what to mend.
    """
    who, names = type(neuron).__name__, set(neuron.states)
    with _asked(neuron, "start", f"a number or an (n,) tensor for each state: {_list(names)}"):
        given = start()
    with _asked(neuron, "coeffs", f"a dictionary, made of the constants p: {_list(constants)}"):
        c = coeffs()
    state = {k: v.real for k, v in given.items()}
    s = state["s"]
    wanted = f"(x, state'), made of I, s, state: {_list(names)}, and c: {_list(c)}"
    with _asked(neuron, "step", wanted):
        whole, x, new = complex_states(neuron, state, c)
    if set(new) != names:
        raise ConfigError(
            f"{who}.step returns the states {_list(new)}; expected {_list(names)}, as in `states`."
        )
    for name, value in {"x": x, **new}.items():
        _check_value(f"{who}.step: {name}", value, s, complex_state=name in whole, x=name == "x")
    for name, value in given.items():
        if value.is_complex() and name not in whole:
            raise ConfigError(
                f"{who}.start: {name} is complex, and "
                + ("s is real." if name == "s" else "step returns it as a real number.")
            )
    if "u" not in names and type(neuron).potential is Neuron.potential:
        raise ConfigError(
            f"{who} has no state 'u'; name the membrane potential 'u', or "
            "define potential(s, state)."
        )
    with _asked(neuron, "potential", f"a tensor (B, N), made of s and state: {_list(names)}"):
        seen = neuron.potential(s, new)
    if not isinstance(seen, Tensor) or seen.shape != s.shape:
        came = f"of shape {tuple(seen.shape)}" if isinstance(seen, Tensor) else repr(seen)
        raise ConfigError(f"{who}.potential is {came}; expected a tensor (B, N).")
    if seen.is_complex():
        raise ConfigError(
            f"{who}: its potential is complex; define potential(s, state) and return "
            'something real, such as state["u"].real.'
        )
    return whole


def _check_value(what: str, value: object, s: Tensor, *, complex_state: bool, x: bool) -> None:
    """Refuse x or a state that is not of the shape and the number type of s."""
    if not isinstance(value, Tensor):
        raise ConfigError(f"{what} is {value!r}; expected a tensor (B, N).")
    if value.shape != s.shape:
        raise ConfigError(
            f"{what} has shape {tuple(value.shape)} for input {tuple(s.shape)}; every operation "
            "must be elementwise."
        )
    wanted = complex_type(s.dtype) if complex_state else s.dtype
    if value.dtype != wanted and (value.is_complex() or not value.is_floating_point()):
        real = " It is complex: take its .real, .imag or .abs()." if x else ""
        raise ConfigError(
            f"{what} is {value.dtype} in a layer of {s.dtype}; expected "
            f"{wanted}.{real if value.is_complex() else f' Write .to({wanted}).'}"
        )


@contextlib.contextmanager
def _asked(neuron: Neuron, method: str, wanted: str) -> Iterator[None]:
    """Say of what a method raises, or of what goes wrong with its result, which method it is and
    what it should return: `ConfigError`.
    """
    try:
        yield
    except SrnnError:
        raise
    except Exception as error:
        at = traceback.extract_tb(error.__traceback__)[-1]
        ours = Path(at.filename).is_relative_to(Path(__file__).parents[1])
        place = "" if ours else f" ({Path(at.filename).name}:{at.lineno})"
        raise ConfigError(
            f"{type(neuron).__name__}.{method}: {type(error).__name__}: {error}{place}; "
            f"expected {wanted}."
        ) from error


def _list(names: Iterable[str]) -> str:
    return ", ".join(sorted(map(str, names))) or "(none)"
