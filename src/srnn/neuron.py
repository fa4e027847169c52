"""The contract of a neuron: a frozen dataclass of constants with one pure, elementwise step.

    step(I, s, state, c) -> (x, state')

I is the input current (recurrent part included), s the neuron's own output at t-1, x the potential
above threshold. What turns x into the output, the recurrent product and the loop over time are not
the neuron's business (see `activations.py` and `scan.py`).
"""

from __future__ import annotations

import inspect
import itertools
from dataclasses import dataclass, fields
from typing import Any, ClassVar

import torch
from torch import Tensor

from srnn import init
from srnn._check import ConfigError

State = dict[str, Tensor]
"""State of a layer, each (B, N): the names in `Neuron.states`, and "s", the output at the last
step, owned by the driver. A state that `step` returns complex is complex; "s" is real.
"""
Params = dict[str, Tensor]
"""The constants of a layer as they are trained, each (N,) or () = shared."""
Coeffs = dict[str, Tensor]
"""What the step uses, each (N,) or (): decays instead of time constants and so on. Real, complex
or of truth values.
"""


@dataclass(frozen=True)
class Neuron:
    """Base of all neurons. Every field is a constant (`init.Init`), except bool fields, which are
    options of the equation.

    states:      names of the state variables; by convention "u" is the membrane potential.
    gates:       a gated cell has W and R of gates·N rows, and I is a tuple with one (B, N) for
                 each gate.
    input_gates, recurrent_gates: which of the gates W x and R s have a part in; the other blocks
                 of rows of W or R are empty. Default: all.
    hard_reset:  the potential is multiplied by (1 - s), so the activation must be a spike
                 (`Activation.unit`).
    """

    states: ClassVar[tuple[str, ...]] = ("u",)
    gates: ClassVar[int] = 1
    input_gates: ClassVar[tuple[int, ...] | None] = None
    recurrent_gates: ClassVar[tuple[int, ...] | None] = None
    hard_reset: ClassVar[bool] = False

    def constants(self) -> dict[str, init.Init]:
        """Return the constants by name, as they were given.

        Raises `ConfigError` where the class is no dataclass.
        """
        names, own = {f.name for f in fields(self)}, vars(type(self)).get("__annotations__", {})
        forgotten = [
            name for name, kind in own.items() if name not in names and "ClassVar" not in str(kind)
        ]
        if forgotten:
            raise ConfigError(
                f"{type(self).__name__}: {forgotten[0]} is no constant yet; "
                "decorate the class with @dataclass(frozen=True)."
            )
        if not isinstance(self.states, tuple) or len(set(self.states)) < len(self.states):
            raise ConfigError(
                f"{type(self).__name__}: states is {self.states!r}; expected a tuple of names, "
                'each once, such as ("u",).'
            )
        if isinstance(self.gates, bool) or not isinstance(self.gates, int) or self.gates < 1:
            raise ConfigError(
                f"{type(self).__name__}: gates is {self.gates!r}; expected an integer, 1 or more."
            )
        if "s" in self.states:
            raise ConfigError(
                f"{type(self).__name__}: no state may be called 's': that is the "
                "neuron's own output."
            )
        if parts := [name for name in self.states if name.endswith((".re", ".im"))]:
            raise ConfigError(
                f"{type(self).__name__}: no state may be called {parts[0]!r}: so the parts of a "
                "complex state are called."
            )
        return {
            f.name: getattr(self, f.name)
            for f in fields(self)
            if not isinstance(getattr(self, f.name), bool)
        }

    def blocks(self, gates: tuple[int, ...] | None, n: int) -> Tensor:
        """Return the (gates·n, 1) mask of the rows of W or R that these gates have."""
        return (
            torch.tensor([gates is None or gate in gates for gate in range(self.gates)])
            .repeat_interleave(n)
            .unsqueeze(1)
        )

    def init(self, n: int) -> dict[str, Tensor | init.Fixed]:
        """Return how the constants of n neurons start: tensors are trained, `Fixed` are not; (n,),
        or () = shared.
        """
        name = type(self).__name__
        return {
            key: init.start_value(f"{name}.{key}", value, n)
            for key, value in self.constants().items()
        }

    def coeffs(self, p: Params) -> Coeffs:
        """Return what the step uses, computed once per call; autograd differentiates it.

        Default: the constants as they are.
        """
        return p

    def start(self, n: int, *p: Any, **_: Any) -> dict[str, float | Tensor]:
        """Return the state before the first step (and before any postponed update): numbers or (n,)
        tensors; also "s", where it is not 0.

        Written as start(n), or as start(n, p): what comes from the constants p (`Params`) is
        trained.
        """
        return dict.fromkeys(self.states, 0.0)

    def step(self, I: Any, s: Tensor, state: State, c: Coeffs) -> tuple[Tensor, State]:
        """Return (x, state') for one step.

        Pure and elementwise; I (a tuple when gates > 1), s, x and states are (B, N). I, s and x
        are real; a state may be complex, and then starts at 0 + 0j.
        """
        raise NotImplementedError("a neuron has a step of its own")

    def potential(self, s: Tensor, state: State) -> Tensor:
        """Return the observable potential (B, N) after the step that gave s and state."""
        return state["u"]


def complex_states(neuron: Neuron, state: State, c: Coeffs) -> tuple[frozenset[str], Tensor, State]:
    """Return which states are complex, for the step returns them so, and the step, (x, state'),
    that shows it.

    state: real, "s" included. Where the step does not take it, as z.imag does not, the fewest
    states are taken as complex with which it goes, and returns them so. Raises what the step does.
    """
    names, failed = [k for k in state if k != "s"], None
    for size in range(len(names) + 1):
        for guess in itertools.combinations(names, size):
            try:
                return _stepped(neuron, state, c, frozenset(guess))
            except Exception as error:  # whatever a user's code may raise
                failed = failed or error
    assert failed is not None
    raise failed


def _stepped(
    neuron: Neuron, state: State, c: Coeffs, found: frozenset[str]
) -> tuple[frozenset[str], Tensor, State]:
    """Return the states that are complex where at least these are, and the step."""
    s = state["s"]
    I: Any = s if neuron.gates == 1 else (s,) * neuron.gates
    while True:
        now = {k: as_complex(v) if k in found else v for k, v in state.items() if k != "s"}
        x, new = neuron.step(I, s, now, c)
        whole = {k for k in now if isinstance(v := new.get(k), Tensor) and v.is_complex()}
        if whole == found:
            return found, x, new
        if not whole > found:
            raise ConfigError(
                f"{type(neuron).__name__}.step: a complex state becomes real "
                f"({', '.join(sorted(found - whole))}); return it complex every time."
            )
        found |= whole


def as_complex(value: Tensor) -> Tensor:
    """Return a real tensor as a complex one of its precision; a complex one as it is."""
    return value if value.is_complex() else value.to(complex_type(value.dtype))


def complex_type(dtype: torch.dtype) -> torch.dtype:
    """Return the type of complex numbers of a layer of so precise numbers.

    Raises `ConfigError` where torch does not compute with it.
    """
    if dtype not in _COMPLEX:
        raise ConfigError(
            f"a complex state in a layer of {dtype}: there are complex numbers of float32 and "
            "float64 only. Use layer.float() or layer.double()."
        )
    return _COMPLEX[dtype]


_COMPLEX = {torch.float32: torch.complex64, torch.float64: torch.complex128}


def typed(value: float | complex | Tensor, like: Tensor) -> Tensor:
    """Return a number or a tensor in the number type of `like`, or in its complex type, and on its
    device.
    """
    whole = value.is_complex() if isinstance(value, Tensor) else isinstance(value, complex)
    dtype = complex_type(like.dtype) if whole else like.dtype
    if isinstance(value, Tensor):
        return value.to(like.device, dtype)
    return like.new_full((), value, dtype=dtype)


def start_takes_constants(neuron: Neuron) -> bool:
    """Return whether a neuron's `start` is start(n, p), and not the short form start(n).

    A second argument that has a value of its own and is not called p or params belongs to the
    short form. Raises `ConfigError` for any other form.
    """
    who, positional = type(neuron).__name__, []
    for a in inspect.signature(neuron.start).parameters.values():
        if a.kind in (a.POSITIONAL_ONLY, a.POSITIONAL_OR_KEYWORD):
            positional.append(a)
        elif a.kind is a.KEYWORD_ONLY and a.default is a.empty:
            positional = []
            break
    if not positional or any(a.default is a.empty for a in positional[2:]):
        raise ConfigError(
            f"{who}.start{inspect.signature(neuron.start)}: expected start(n, p), or start(n)."
        )
    second = positional[1] if len(positional) > 1 else None
    return second is not None and (second.default is second.empty or second.name in ("p", "params"))


def started(neuron: Neuron, n: int, p: Params, like: Tensor, *, takes: bool) -> State:
    """Return the state of one recording before its first step, (n,) each, "s" included.

    p: the constants, `like`: a tensor of the type and device wanted. takes: of
    `start_takes_constants`. Raises `ConfigError` where start gives other states than the neuron
    has.
    """
    given = {"s": 0.0, **(neuron.start(n, p) if takes else neuron.start(n))}
    if set(given) != {"s", *neuron.states}:
        raise ConfigError(
            f"{type(neuron).__name__}.start returns the states "
            f"{', '.join(sorted(set(given) - {'s'})) or '(none)'}; expected "
            f"{', '.join(sorted(neuron.states))}, as in `states`."
        )
    return {k: typed(v, like).expand(n) for k, v in given.items()}


def coefficients(neuron: Neuron, p: Params, like: Tensor, n: int) -> Coeffs:
    """Return the coefficients of a neuron, numbers and tensors of other types in that of `like`.

    Raises `ConfigError` where one is neither a number nor a tensor of shape (n,) or ().
    """
    found: dict[str, Tensor] = {}
    given: dict[str, Any] = {**neuron.coeffs(p)}
    for name, value in given.items():
        if isinstance(value, int | float | complex) and not isinstance(value, bool):
            value = typed(value, like)
        if not isinstance(value, Tensor) or value.shape not in ((), (n,)):
            kind = type(value).__name__
            came = f"of shape {tuple(value.shape)}" if isinstance(value, Tensor) else f"a {kind}"
            raise ConfigError(
                f"{type(neuron).__name__}.coeffs: {name!r} is {came}; expected a number, or a "
                f"tensor of shape () or (N={n},)."
            )
        found[name] = value if value.dtype is torch.bool else typed(value, like)  # a condition
    return found


def same_constants(a: Neuron, b: Neuron) -> bool:
    """Return whether two neurons are of one class, with constants that start alike."""
    before, after = a.constants(), b.constants()
    return type(a) is type(b) and all(
        torch.equal(v.tensor(), w.tensor())
        if isinstance(v, init.Fixed) and isinstance(w := after[k], init.Fixed)
        else v == after[k]
        for k, v in before.items()
    )
