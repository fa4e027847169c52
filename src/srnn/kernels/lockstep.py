"""Several models in lockstep: the code of each runs as if it were alone, and what all of them have
arrived at is run in one launch.

A recurrent spiking layer leaves most of a GPU idle, so that the layers of eight models in one
launch take about as long as one. Every model's code is a coroutine on this one thread (greenlet).
Where it runs a layer over time (`scan.run`), goes backward (`backward`) or comes to something else
that is done for all (`jointly`) it waits; when all wait, what is alike is run together, and each
gets its own result. What torch keeps for everybody, its random numbers and whether gradients are
wanted, each has for itself. One that ends or fails, or is somewhere else for a while, keeps nobody
from going on.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor

from srnn._check import SrnnError
from srnn.kernels import scan

try:
    import greenlet
except ImportError:
    greenlet = None

_T = TypeVar("_T")


def available() -> bool:
    """Return whether several models can run in lockstep here: whether greenlet is installed."""
    return greenlet is not None


def together(functions: Sequence[Callable[[], _T]]) -> list[_T | BaseException]:
    """Run functions in lockstep; return what each gives, or the exception that ended it.

    KeyboardInterrupt, wherever it comes, ends all and is raised. One function alone runs as it is.
    Raises `SrnnError` where greenlet is not installed.
    """
    if len(functions) == 1:
        try:
            return [functions[0]()]
        except Exception as error:
            return [error]
    if greenlet is None:
        raise SrnnError(
            'models in one launch need greenlet. Install it with: pip install "srnn[gpu]"'
        )
    members = [_Member(f) for f in functions]
    before, scan.meeting = scan.meeting, _meet
    state = _State()
    try:
        for member in members:
            member.go_on()
        while waiting := [m for m in members if m.request is not None]:
            for group in _groups(waiting):
                _serve(group)
            for member in waiting:
                if member.request is None:
                    member.go_on()
    finally:
        scan.meeting = before
        for member in members:
            if not member.code.dead:
                member.code.throw(greenlet.GreenletExit)
        state.put_back()
    return [m.result for m in members]


def jointly(function: Callable[[list[Any]], Sequence[Any]], mine: Any, alike: Any = None) -> Any:
    """Return what a function of what several models have, which gives a result for each, gives for
    `mine`.

    In lockstep all who have come to the same function with an equal `alike` are in the list, when
    nobody is left at a layer; else `mine` alone is.
    """
    member = _here()
    return function([mine])[0] if member is None else member.ask(_Request(function, mine, alike))


def backward(loss: Tensor) -> None:
    """Differentiate a scalar, as loss.backward() does; in lockstep all losses at once."""
    jointly(_backward, loss)


def _backward(losses: list[Tensor]) -> list[None]:
    torch.autograd.backward(losses)
    return [None] * len(losses)


class _Request(NamedTuple):
    """What a member waits for."""

    function: Callable[[list[Any]], Sequence[Any]]
    mine: Any
    alike: Any


class _State:
    """What torch keeps for everybody and a model has for itself: random numbers, whether gradients
    are wanted (and those of forward mode), types of products, determinism.
    """

    def __init__(self) -> None:
        self.random, self.gradients = torch.get_rng_state(), torch.is_grad_enabled()
        self.forward = torch._C._is_fwd_grad_enabled()
        self.cuda = (
            None
            if not torch.cuda.is_initialized() or torch.cuda.is_current_stream_capturing()  # type: ignore[no-untyped-call]
            else torch.cuda.get_rng_state()
        )
        self.autocast = {
            d: (torch.is_autocast_enabled(d), torch.get_autocast_dtype(d)) for d in ("cpu", "cuda")
        }
        self.cached = torch.is_autocast_cache_enabled()
        self.precision = torch.get_float32_matmul_precision()
        self.deterministic = (
            torch.are_deterministic_algorithms_enabled(),
            torch.is_deterministic_algorithms_warn_only_enabled(),
        )

    def put_back(self) -> None:
        torch.set_rng_state(self.random)
        if self.cuda is not None:
            torch.cuda.set_rng_state(self.cuda)
        self.put_modes()

    def put_modes(self) -> None:
        torch.set_grad_enabled(self.gradients)
        torch._C._set_fwd_grad_enabled(self.forward)
        for device, (enabled, dtype) in self.autocast.items():
            torch.set_autocast_enabled(device, enabled)
            torch.set_autocast_dtype(device, dtype)
        torch.set_autocast_cache_enabled(self.cached)
        torch.set_float32_matmul_precision(self.precision)
        torch.use_deterministic_algorithms(self.deterministic[0], warn_only=self.deterministic[1])

    def modes(self) -> tuple[Any, ...]:
        return self.gradients, *self.autocast.values(), self.precision, self.deterministic


class _Member:
    """One function that runs in lockstep."""

    def __init__(self, function: Callable[[], Any]) -> None:
        self.code = greenlet.greenlet(lambda: self._run(function))
        self.code.member = self
        self.state = _State()
        self.request: _Request | None = None
        self.answer: Any = None
        self.result: Any = None

    def _run(self, function: Callable[[], Any]) -> None:
        try:
            self.result = function()
        except (greenlet.GreenletExit, KeyboardInterrupt):
            raise
        except BaseException as error:
            self.result = error

    def go_on(self) -> None:
        """Let it run until it waits or ends; called by the hub."""
        self.state.put_back()
        self.code.switch()

    def ask(self, request: _Request) -> Any:
        """Wait for the answer to a request; called by its own code."""
        self.request, self.state = request, _State()
        self.code.parent.switch()
        answer, self.answer = self.answer, None
        if isinstance(answer, BaseException):
            raise answer
        return answer


def _here() -> _Member | None:
    """Return the member whose code is running, if one is."""
    return None if scan.meeting is not _meet else getattr(greenlet.getcurrent(), "member", None)


def _meet(job: scan.Job) -> scan.Scanned:
    # within a backward pass, which the hub runs, alone
    answer: scan.Scanned = jointly(scan.run_many, job, scan.alike(job))
    return answer


def _groups(waiting: Sequence[_Member]) -> list[list[_Member]]:
    """Return those who may be served together: layers that are alike; whatever else once nobody is
    at a layer.
    """
    requests = [(m, m.request) for m in waiting if m.request is not None]
    layers = [(m, r) for m, r in requests if isinstance(r.mine, scan.Job)]
    found: dict[Any, list[_Member]] = {}
    for member, request in layers or requests:
        found.setdefault((request.function, request.alike, member.state.modes()), []).append(member)
    return list(found.values())


def _serve(group: Sequence[_Member]) -> None:
    """Run what these ask for, and give each its answer."""
    requests = [m.request for m in group if m.request is not None]
    group[0].state.put_modes()
    try:
        answers = requests[0].function([r.mine for r in requests])
    except Exception as error:
        answers = [error] * len(group)
    for member, answer in zip(group, answers, strict=True):
        member.request, member.answer = None, answer
