"""The weights that Yin, Corradi & Bohté published with their code, as networks of this package.

    net = from_published("ecg", tensors)     tensors: name → tensor, as in the authors' files
    from_published("gsc", tensors, classes=tasks.load("gsc").classes)    in that task's order

`srnn.papers.published.read` reads the tensors from such a file.

Every `X` of a name `X.weight`, `X.bias` is a linear map; an input and a recurrent one add up, both
with a bias. Time constants are in steps, one per neuron, and are taken as they are: the authors
clamp none, and some of theirs are below 1 or negative. All neurons are their adaptive LIF
(`srnn.ALIF`), the read-outs of SHD, SSC and GSC leaky integrators. What the published code never
reads is listed by `unused`.

The adaptation starts where their scripts start it (`ALIF.eta0`): at 1.6 for GSC, at 0.01 for the
others. Potentials and outputs start from drawn numbers there, but for GSC (`srnn.UniformStart`);
here from 0 unless a state is passed. The published GSC network has an order of classes of its own:
`CLASSES`. One hidden neuron of the published GSC network is NaN throughout: it never
spikes, there and here. The files themselves do not come with this package.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from srnn._check import ConfigError, check_choice
from srnn.datasets import mnist, qtdb, shd, speech_commands
from srnn.init import Constant, Init
from srnn.neurons import ALIF, Leaky
from srnn.nn.layers import Layer, Part, Readout
from srnn.nn.networks import Stack

Shape = tuple[int, ...]


@dataclass(frozen=True)
class _Part:
    """Where a layer's numbers lie. n: neurons; weight, recurrent: linear maps; beta: of its
    neurons, None = leaky integrators.
    """

    n: int
    weight: str
    tau_m: str
    tau_adp: str | None = None
    recurrent: str | None = None
    beta: float | None = None


@dataclass(frozen=True)
class _Network:
    """A published network. eta0: its adaptation before the first step; classes: of its outputs, in
    their order; ignored: published tensors that nothing reads and that this package has no place
    for.
    """

    inputs: int
    b0: float
    eta0: float
    classes: tuple[str, ...]
    parts: tuple[_Part, ...]
    ignored: tuple[tuple[str, Shape], ...] = ()


def _mnist(window: int) -> _Network:
    beta = 1.8
    return _Network(
        window,
        0.01,
        0.01,
        mnist.CLASSES,
        (
            _Part(64, "i2h", "tau_m_r1", "tau_adp_r1", "h2h", beta),
            _Part(256, "h2d", "tau_m_r2", "tau_adp_r2", "d2d", beta),
            _Part(256, "dense1", "tau_m_d1", "tau_adp_d1", None, beta),
            _Part(10, "d2o", "tau_m_o", "tau_adp_o", None, beta),
        ),
    )


def _spoken(n: int, classes: tuple[str, ...]) -> _Network:
    beta = 1.8
    return _Network(
        700,
        0.01,
        0.01,
        classes,
        (
            _Part(n, "i_2_h1", "tau_m_h1", "tau_adp_h1", "h1_2_h1", beta),
            _Part(n, "h1_2_h2", "tau_m_h2", "tau_adp_h2", "h2_2_h2", beta),
            _Part(len(classes), "h2o", "tau_m_o"),
        ),
        (("tau_adp_o", (len(classes),)),),
    )


_NETWORKS = {
    "ecg": _Network(
        4,
        0.1,  # the script says 0.01, with which the published weights are right 3 times in 10
        0.01,
        qtdb.CLASSES,
        (
            _Part(36, "i2h", "tau_m_h", "tau_adp_h", "h2h", beta=0.0),
            _Part(6, "h2o", "tau_m_o", "tau_adp_o", beta=1.8),
        ),
    ),
    "smnist": _mnist(8),
    "psmnist": _mnist(4),
    "shd": _spoken(128, shd.CLASSES),
    "ssc": _spoken(400, speech_commands.WORDS_V2),
    "gsc": _Network(
        120,
        1.6,
        1.6,
        (
            *("left", "down", "yes", "right", "off", "up", "on", "no", "go", "stop"),
            *("_silence_", "_unknown_"),
        ),
        (
            _Part(300, "dense_1.dense", "dense_1.tau_m", "dense_1.tau_adp", beta=0.184),
            _Part(300, "rnn_1.dense", "rnn_1.tau_m", "rnn_1.tau_adp", "rnn_1.recurrent", 0.184),
            _Part(12, "dense_2.dense", "dense_2.tau_m"),
        ),
        (("thr", (1,)),),
    ),
}

NAMES = tuple(_NETWORKS)
"""The published networks that are known here."""

CLASSES = {name: network.classes for name, network in _NETWORKS.items()}
"""The classes of their outputs, in the published order."""


def shapes(name: str) -> dict[str, Shape]:
    """Return the names and shapes of a published network's tensors.

    Raises `ConfigError` for an unknown network.
    """
    check_choice("published network", name, NAMES)
    network, found = _NETWORKS[name], dict[str, Shape]()
    inputs = network.inputs
    for part in network.parts:
        maps = [(part.weight, inputs)] + (
            [(part.recurrent, part.n)] if part.recurrent is not None else []
        )
        for linear, width in maps:
            found |= {f"{linear}.weight": (part.n, width), f"{linear}.bias": (part.n,)}
        found |= {tau: (part.n,) for tau in (part.tau_m, part.tau_adp) if tau is not None}
        inputs = part.n
    return found | dict(network.ignored)


def unused(name: str) -> tuple[str, ...]:
    """Return the published tensors that change nothing: those without a place here, and the
    adaptation of layers with β = 0.
    """
    check_choice("published network", name, NAMES)
    network = _NETWORKS[name]
    return (
        *(k for k, _ in network.ignored),
        *(p.tau_adp for p in network.parts if p.beta == 0 and p.tau_adp is not None),
    )


def from_published(
    name: str, tensors: Mapping[str, Any], classes: Sequence[str] | None = None
) -> Stack:
    """Return a published network with its weights, in evaluation mode.

    name: "ecg", "smnist", "psmnist", "shd", "ssc" or "gsc". tensors: name → tensor or array; their
    type is the network's, float32 or float64. classes: the order of its outputs, such as a task's
    `classes`; None = as published (`CLASSES`). Raises `ConfigError` for an unknown network, for
    other classes than its own, and one that lists every missing, unexpected or misshapen tensor.
    """
    check_choice("published network", name, NAMES)
    network, layers = _NETWORKS[name], list[Part]()
    values = _values(name, tensors)
    _check(name, values)
    if classes is not None:
        values |= _ordered(name, network, values, classes)
    inputs = network.inputs
    for part in network.parts:
        layers.append(_layer(part, inputs, network, values))
        inputs = part.n
    return Stack(*layers).eval()


def _values(name: str, tensors: Any) -> dict[str, Tensor]:
    who = f"from_published({name!r})"
    if not isinstance(tensors, Mapping):
        came = "a module" if isinstance(tensors, torch.nn.Module) else f"a {type(tensors).__name__}"
        fix = " Pass module.state_dict()." if isinstance(tensors, torch.nn.Module) else ""
        raise ConfigError(
            f"{who}: tensors is {came}; expected a dictionary, name → tensor or array. "
            f"srnn.papers.published.read(path) makes one of a file.{fix}"
        )
    found = dict[str, Tensor]()
    for key, value in tensors.items():
        try:
            found[key] = torch.as_tensor(value).detach()
        except (TypeError, ValueError, RuntimeError):
            raise ConfigError(
                f"{who}: {key} is a {type(value).__name__}; expected a tensor or an array."
            ) from None
    return found


def _ordered(
    name: str, network: _Network, values: Mapping[str, Tensor], classes: Sequence[str]
) -> dict[str, Tensor]:
    """Return the values of the last layer with its outputs in another order."""
    given = [classes] if isinstance(classes, str) else list(classes)
    if sorted(map(str, given)) != sorted(network.classes):
        raise ConfigError(
            f"from_published({name!r}): classes is {', '.join(map(str, given))}; expected those of "
            f"the published network, in any order: {', '.join(network.classes)}."
        )
    order, last = [network.classes.index(c) for c in given], network.parts[-1]
    keys = [f"{last.weight}.weight", f"{last.weight}.bias", last.tau_m, last.tau_adp]
    return {key: values[key][order] for key in keys if key is not None}


def _check(name: str, values: Mapping[str, Tensor]) -> None:
    wanted = shapes(name)
    wrong = [
        f"{key} is {tuple(values[key].shape)}, expected {shape}"
        for key, shape in wanted.items()
        if key in values and values[key].shape != shape
    ]
    kinds = {values[key].dtype for key in wanted if key in values}
    if len(kinds) > 1 or not kinds <= {torch.float32, torch.float64}:
        wrong.append(
            f"types {', '.join(sorted(map(str, kinds)))}, expected all torch.float32 or all "
            "torch.float64 (tensor.float())"
        )
    lines = {
        "missing": [k for k in wanted if k not in values],
        "unexpected": [str(k) for k in values if k not in wanted],
        "misshapen": wrong,
    }
    found = [f"{what}: {', '.join(names)}" for what, names in lines.items() if names]
    if found:
        raise ConfigError(
            f"from_published({name!r}): these are not the tensors of that "
            "network.\n  " + "\n  ".join(found)
        )


@torch.no_grad()
def _layer(part: _Part, inputs: int, network: _Network, values: Mapping[str, Tensor]) -> Layer:
    tau: Init = Constant(20.0)
    dtype = values[f"{part.weight}.weight"].dtype
    if part.tau_adp is None:
        layer: Layer = Readout(inputs, part.n, Leaky(tau), dtype=dtype)
    else:
        assert part.beta is not None
        loop = part.recurrent is not None
        layer = Layer(
            inputs,
            part.n,
            ALIF(tau, tau, network.b0, part.beta, network.eta0),
            recurrent=loop,
            recurrent_bias=loop,
            dtype=dtype,
        )
    taken = {
        "weight": f"{part.weight}.weight",
        "bias": f"{part.weight}.bias",
        "constants.tau_m": part.tau_m,
        "constants.tau_adp": part.tau_adp,
    }
    if part.recurrent is not None:
        taken |= {
            "recurrent": f"{part.recurrent}.weight",
            "recurrent_bias": f"{part.recurrent}.bias",
        }
    for path, key in taken.items():
        if key is not None:
            layer.get_parameter(path).copy_(values[key])
    return layer
