"""What a kernel's key says: a change of a number that the code of a neuron reads from anywhere is
seen at the next call; a tensor from outside is refused.
"""

from __future__ import annotations

import copy
import functools
import hashlib
import json
import subprocess
import sys
import types
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from helpers import CELLS, NEURONS
from srnn import ALIF, Layer
from srnn.activations import Activation, Identity, Spike
from srnn.init import Constant, Init
from srnn.kernels import cpu, key, programs
from srnn.kernels.trace import trace_program
from srnn.neuron import Coeffs, Neuron, State
from srnn.surrogates import Surrogate

GAIN = 2.0
ARRAY = np.float32(2.0)
SETTINGS = types.SimpleNamespace(gain=2.0)
MODULE = types.ModuleType("somebody.constants")
MODULE.gain = 2.0
TABLE = {"gain": 2.0}


def doubled(I: Tensor) -> Tensor:
    return GAIN * I


@dataclass(frozen=True)
class Plain(Neuron):
    tau: Init = Constant(0.5)

    states = ("u",)
    gain = 2.0

    def current(self, I: Tensor) -> Tensor:
        raise NotImplementedError

    def step(self, I: Tensor, s: Tensor, state: State, c: Coeffs) -> tuple[Tensor, State]:
        u = c["tau"] * state["u"] + self.current(I)
        return u, {"u": u}


class Global(Plain):
    def current(self, I):
        return GAIN * I


class Helper(Plain):
    def current(self, I):
        return doubled(I)


class Numpy(Plain):
    def current(self, I):
        return float(ARRAY) * I


class Attribute(Plain):
    def current(self, I):
        return self.gain * I


class OfAnObject(Plain):
    def current(self, I):
        return SETTINGS.gain * I


class OfAModule(Plain):
    def current(self, I):
        return MODULE.gain * I


class InADict(Plain):
    def current(self, I):
        return TABLE["gain"] * I


class InCoeffs(Plain):
    def coeffs(self, params):
        return {**super().coeffs(params), "gain": torch.as_tensor(GAIN)}

    def step(self, I, s, state, c):
        return super().step(c["gain"] * I, s, state, c)

    def current(self, I):
        return I


class InADefault(Plain):
    def current(self, I, gain=2.0):
        return gain * I


class InAnArray(Plain):
    def current(self, I):
        return float(LIST[0]) * I


class Called(Plain):
    """Whatever FUNCTION is."""

    def current(self, I):
        return FUNCTION(I)


class InAContainer(Plain):
    def current(self, I):
        for function, _ in HOLDER.functions:
            I = function(I)
        return I


class Gain:
    def __init__(self, gain: float) -> None:
        self.gain = gain

    def times(self, I):
        return self.gain * I

    def __call__(self, I):
        return self.times(I)


def times(gain, I):
    return gain * I


def two(I):
    return 2.0 * I


def three(I):
    return 3.0 * I


FUNCTION: Any = two
HOLDER: Any = types.SimpleNamespace(functions=((two, ()),))
LIST: Any = np.array([2.0])


def closed(gain: float) -> Callable[[float], None]:
    class Closed(Plain):
        def current(self, I):
            return gain * I

    def change(value: float) -> None:
        nonlocal gain
        gain = value

    Closed.change = staticmethod(change)
    return Closed


def of_this_module(name):
    return lambda patch, value: patch.setitem(globals(), name, value)


CASES = {
    "a global": (Global, of_this_module("GAIN")),
    "a global of a helper": (Helper, of_this_module("GAIN")),
    "a scalar of NumPy": (Numpy, lambda p, v: p.setitem(globals(), "ARRAY", np.float32(v))),
    "an attribute of the class": (Attribute, lambda p, v: p.setattr(Attribute, "gain", v)),
    "an attribute of an object": (OfAnObject, lambda p, v: p.setattr(SETTINGS, "gain", v)),
    "an attribute of a module": (OfAModule, lambda p, v: p.setattr(MODULE, "gain", v)),
    "a value of a dictionary": (InADict, lambda p, v: p.setitem(TABLE, "gain", v)),
    "a default": (
        InADefault,
        lambda p, v: p.setattr(InADefault.current, "__defaults__", (v,)),
    ),
    "an array": (InAnArray, lambda p, v: p.setitem(globals(), "LIST", np.array([v]))),
    "a function": (Called, lambda p, v: p.setitem(globals(), "FUNCTION", two if v == 2 else three)),
    "a function of torch": (
        Called,
        lambda p, v: p.setitem(globals(), "FUNCTION", torch.sin if v == 2 else torch.tanh),
    ),
    "a function with arguments": (
        Called,
        lambda p, v: p.setitem(globals(), "FUNCTION", functools.partial(times, v)),
    ),
    "a method": (Called, lambda p, v: p.setitem(globals(), "FUNCTION", Gain(v).times)),
    "an object that is called": (Called, lambda p, v: p.setitem(globals(), "FUNCTION", Gain(v))),
    "functions in a tuple of an object": (
        InAContainer,
        lambda p, v: p.setattr(HOLDER, "functions", ((two if v == 2 else three, ()),)),
    ),
    "in coeffs": (InCoeffs, of_this_module("GAIN")),
    "a closure": (closed(2.0), lambda p, v: None),
}


@pytest.mark.parametrize("name", CASES)
def test_a_number_from_outside_is_read_anew(name, monkeypatch):
    kind, change = CASES[name]
    layer = Layer(1, 2, kind(), Identity(), recurrent=False)
    x, found = torch.randn(2, 5, 1), []
    for value in (2.0, 3.0, 2.0):
        change(monkeypatch, value)
        if name == "a closure":
            kind.change(value)
        assert layer.which_backend().name == "cpu", layer.which_backend().reason
        got, wanted = (layer(x, backend=b).output for b in ("cpu", "reference"))
        torch.testing.assert_close(got, wanted)
        found.append(got)
    assert torch.equal(found[0], found[2])
    assert not torch.allclose(found[0], found[1])


def test_numbers_of_a_surrogate_are_read_anew(monkeypatch):
    @dataclass(frozen=True)
    class Mine(Surrogate):
        gain: float = 1.0

        def grad(self, x: Tensor) -> Tensor:
            return GAIN * torch.exp(-x * x) * self.gain

        def primitive(self, x: Tensor) -> Tensor:
            return x

    layer = Layer(1, 2, ALIF(), Spike(Mine()), recurrent=False)
    x = torch.randn(2, 5, 1)
    grads = []
    for value in (2.0, 4.0):
        monkeypatch.setitem(globals(), "GAIN", value)
        for backend in ("cpu", "reference"):
            layer.zero_grad()
            layer(x, backend=backend).output.sum().backward()
            grads.append(layer.weight.grad.clone())
    torch.testing.assert_close(grads[0], grads[1])
    torch.testing.assert_close(grads[2], grads[3])
    assert not torch.allclose(grads[0], grads[2])


@pytest.mark.parametrize("outside", [torch.tensor(0.5), nn.Parameter(torch.tensor(0.5))])
def test_a_tensor_from_outside_is_refused_and_the_reference_sees_it(outside):
    class Mine(Plain):
        def current(self, I):
            return outside * I

    layer = Layer(1, 2, Mine(), Identity(), recurrent=False)
    choice = layer.which_backend()
    assert choice.name == "reference"
    assert "Make it a constant of the neuron" in choice.reason
    layer(torch.ones(1, 3, 1)).output.sum().backward()
    assert not outside.requires_grad or outside.grad is not None


def test_the_same_code_is_the_same_key_in_another_process():
    """Classes count by name and code; a repeated cell of a notebook is the same neuron."""
    code = (
        "from srnn import ALIF; from srnn.activations import Spike; from srnn.kernels import cpu; "
        "print(cpu.register(ALIF(), Spike()))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    here = cpu.register(ALIF(), Spike())
    assert done.stdout.strip() == here.strip()
    assert key.stable(here)
    assert closed(2.0) is not closed(2.0)
    assert cpu.register(closed(2.0)(), Spike()) == cpu.register(closed(2.0)(), Spike())
    assert cpu.register(closed(2.0)(), Spike()) != cpu.register(closed(3.0)(), Spike())
    assert not key.stable(cpu.register(ALIF(), WithAnObject()))


@dataclass(frozen=True)
class WithAnObject(Activation):
    thing: object = object()

    def forward(self, s):
        return s

    def grad(self, s):
        return torch.ones_like(s)


def test_our_own_neurons_read_nothing_from_outside():
    assert key.outside(ALIF(), Spike()) == ""


# ── on disk ───────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("SRNN_KERNELS", str(tmp_path / "kernels"))
    return tmp_path / "kernels"


def test_a_program_that_was_kept_is_the_traced_one(folder):
    checked = 0
    for kind in (*NEURONS, *CELLS):
        neuron, activation = kind(), Identity()
        of = cpu.register(neuron, activation)
        made = cpu.traced(of)
        assert made == trace_program(neuron, activation)
        assert programs.read(of) == made
        checked += 1
    assert checked == len(list(folder.glob("program-*.json"))) == 22


def damages(text: bytes):
    whole = json.loads(text.rpartition(b"\n")[0])

    def signed(change):
        about = copy.deepcopy(whole)
        change(about)
        body = json.dumps(about)
        return f"{body}\n{hashlib.sha256(body.encode()).hexdigest()}".encode()

    yield text[:-3]
    yield text.replace(b"mul", b"add")
    yield b""
    yield b"[" * 100_000
    yield signed(lambda a: a["step"]["ops"][0].update(name="system"))
    yield signed(lambda a: a["step"]["ops"][0].update(result="v0; system()"))
    yield signed(lambda a: a["step"].update(outputs={"s": "x y"}))
    yield signed(lambda a: a.update(gates="one"))
    yield signed(lambda a: a.pop("adjoint"))
    yield signed(lambda a: a["adjoint"].update(ops=7))


def test_what_is_damaged_or_no_program_is_traced_anew(folder):
    of = cpu.register(ALIF(), Spike())
    made = cpu.traced(of)
    (file,) = folder.glob("program-*.json")
    whole, refused = file.read_bytes(), 0
    for damaged in damages(whole):
        file.write_bytes(damaged)
        assert programs.read(of) is None
        assert cpu.traced(of) == made
        assert file.read_bytes() == whole
        refused += 1
    assert refused == 10


def test_what_belongs_to_this_process_alone_is_not_kept(folder):
    cpu.traced(cpu.register(ALIF(), WithAnObject()))
    assert not list(folder.glob("program-*.json"))


def test_a_stream_of_a_kept_program_traces_nothing(folder, monkeypatch):
    """In a process of its own; the second time nothing of what differentiates is loaded."""
    code = (
        "import sys, torch, srnn; from srnn.kernels import record; "
        "traced = []; keep = record._Recorder.__init__; "
        "record._Recorder.__init__ = lambda self, *a: (traced.append(1), keep(self, *a))[1]; "
        "net = srnn.Stack(srnn.Layer(3, 4, srnn.ALIF()), srnn.Readout(4, 2)); "
        "stream = srnn.Stream(net); stream.push([0.0, 1.0, 0.0]); "
        "print(stream.backend.name, len(traced), 'torch._dynamo' in sys.modules, "
        "'torch._decomp.decompositions' in sys.modules)"
    )
    said = [
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        for _ in range(2)
    ]
    first, second = (done.stdout.split() for done in said)
    assert first[0] == second[0] == "cpu"
    assert int(first[1]) > 0
    assert second[1] == "0"
    assert second[2] == "False"
