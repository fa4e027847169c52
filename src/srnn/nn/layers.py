"""Layers: weights, a neuron, an activation, and the loop over time that joins them.

    I[t] = norm(W x[t] + b) + R s[t-1] + b_R        x: the layer's input, s: its own output
    x', state = neuron.step(I[t], s[t-1], …);  s[t] = activation(x')

A layer takes and returns explicit state; it keeps none.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from srnn import init
from srnn._check import (
    ConfigError,
    ShapeError,
    check_instance,
    check_lengths,
    check_range,
    check_real_type,
    check_signal,
    check_sizes,
    values_hidden,
)
from srnn.activations import Activation, Identity, Spike
from srnn.kernels import cpu, scan
from srnn.kernels.fixed_weights import check_bits, rounded
from srnn.neuron import (
    Coeffs,
    Neuron,
    Params,
    State,
    as_complex,
    coefficients,
    complex_type,
    same_constants,
    start_takes_constants,
    started,
)
from srnn.neurons import Leaky
from srnn.nn import contract
from srnn.nn.norm import BatchNorm as BatchNorm
from srnn.nn.norm import LayerNorm as LayerNorm
from srnn.nn.norm import normalised
from srnn.nn.part import LayerOutput as LayerOutput
from srnn.nn.part import LayerState as LayerState
from srnn.nn.part import Part as Part


class Constants(nn.Module):
    """The constants of a neuron as parameters and buffers, at plain paths
    (`layer.constants.tau_m`).
    """

    def __init__(
        self,
        neuron: Neuron,
        n: int,
        device: torch.device | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self._bounds = {name: init.bounds(value) for name, value in neuron.constants().items()}
        for name, value in contract.initial(neuron, n).items():
            kwargs: dict[str, Any] = {
                "device": device,
                "dtype": dtype or torch.get_default_dtype(),
                "copy": True,
            }
            if isinstance(value, init.Fixed):
                self.register_buffer(name, value.tensor().to(**kwargs))
            else:
                self.register_parameter(name, nn.Parameter(value.to(**kwargs)))

    def forward(self) -> Params:
        """Return the constants by name, each clamped to its range where it has one."""
        values = {name: getattr(self, name) for name in self._bounds}
        return {
            name: values[name] if b is None else torch.clamp(values[name], *b)
            for name, b in self._bounds.items()
        }


class Layer(Part):
    """One layer of neurons over time: (B, T, C) → (B, T, N).

    Args:
        inputs, neurons: C and N.
        neuron:          the model, with its constants (`srnn.ALIF()`, `srnn.ALIF(beta=0.0)` …).
        activation:      default `Spike(MultiGaussian())`.
        recurrent:       feed the layer's own output of the step before back through R (N, N).
        bias, recurrent_bias: b and b_R. Yin's networks have both; they get the same gradient.
        zero_diagonal:   no neuron feeds itself (Bittar & Garner 2022).
        weight_init, recurrent_init: callables that fill a matrix in place (`srnn.init`); biases
                         start at 0.
        norm:            `BatchNorm()` or `LayerNorm()` of W x + b, never of the recurrent part;
                         padded steps take no part.
        dropout:         probability of dropping an output spike on its way up; the feedback inside
                         the layer is not dropped.
        sparsity, recurrent_sparsity: fraction of the connections of W and R removed at random,
                         once and for all.
        bits:            W and R are used as integers of so many bits, with a scale for each row
                         (`srnn.kernels.fixed_weights`); None: as they are. What is trained stays
                         as precise as it was, and gets the gradient straight through.

    A gated cell has W (G·N, C) and R (G·N, N), one block of rows a gate; its matrices are
    initialised block by block.
    Parameters: weight, bias, recurrent, recurrent_bias, constants.<name>, norm.<name>. Raises
    `ConfigError` for settings that cannot work.
    """

    _probed: tuple[Neuron | None, frozenset[str]] = (None, frozenset())
    constants: Constants
    _neuron: Neuron
    _activation: Activation
    weight_mask: Tensor | None
    recurrent_mask: Tensor | None
    bits: int | None = None

    def __init__(
        self,
        inputs: int,
        neurons: int,
        neuron: Neuron,
        activation: Activation | None = None,
        *,
        recurrent: bool = True,
        bias: bool = True,
        recurrent_bias: bool = False,
        zero_diagonal: bool = False,
        weight_init: Callable[[Tensor], None] = init.XavierUniform(),
        recurrent_init: Callable[[Tensor], None] = init.Orthogonal(),
        norm: BatchNorm | LayerNorm | None = None,
        dropout: float = 0.0,
        sparsity: float = 0.0,
        recurrent_sparsity: float = 0.0,
        bits: int | None = None,
        device: torch.device | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        check_sizes("Layer", inputs, neurons)
        check_real_type("Layer", dtype or torch.get_default_dtype())
        self.inputs, self.outputs, self.neurons = inputs, neurons, neurons
        self.neuron = neuron
        self.activation = activation if activation is not None else Spike()
        if not recurrent and (recurrent_bias or zero_diagonal or recurrent_sparsity):
            raise ConfigError(
                f"{self._who()}: recurrent_bias, zero_diagonal and "
                "recurrent_sparsity need recurrent=True."
            )
        self.dropout = check_range("dropout", dropout, 0.0, 1.0)
        self.weight_init, self.recurrent_init, self.bits = (
            weight_init,
            recurrent_init,
            check_bits("bits", bits),
        )
        rows = neurons * neuron.gates
        kwargs: dict[str, Any] = {"device": device, "dtype": dtype}
        self.weight = nn.Parameter(torch.empty(rows, inputs, **kwargs))
        self.bias = nn.Parameter(torch.empty(rows, **kwargs)) if bias else None
        self.recurrent = nn.Parameter(torch.empty(rows, neurons, **kwargs)) if recurrent else None
        self.recurrent_bias = nn.Parameter(torch.empty(rows, **kwargs)) if recurrent_bias else None
        if norm is not None:
            check_instance(
                "Layer",
                "norm",
                norm,
                (BatchNorm, LayerNorm),
                "srnn.BatchNorm() or srnn.LayerNorm()",
            )
        self.norm = norm.build(rows, **kwargs) if norm is not None else None
        self.register_buffer(
            "weight_mask",
            _mask(self.weight, neuron.blocks(neuron.input_gates, neurons), "sparsity", sparsity),
        )
        mask = None
        if self.recurrent is not None:
            there = neuron.blocks(neuron.recurrent_gates, neurons)
            if zero_diagonal:
                there = there & ~torch.eye(neurons, dtype=torch.bool).repeat(neuron.gates, 1)
            mask = _mask(self.recurrent, there, "recurrent_sparsity", recurrent_sparsity)
        self.register_buffer("recurrent_mask", mask)
        self.reset_parameters()
        self._check_neuron()

    def reset_parameters(self) -> None:
        """Draw weights and constants anew from torch's global generator; biases are 0.

        They are written in place, so that an optimiser keeps them. Masks of sparse connectivity
        stay. Raises `ConfigError` where a weight is computed from other parameters.
        """
        for name in ("weight", "bias", "recurrent", "recurrent_bias"):
            if name not in self._parameters and getattr(self, name) is not None:
                raise ConfigError(
                    f"{self._who()}: {name} is computed from other parameters (a parametrization, "
                    "pruning of torch), so that it cannot be drawn anew. Remove that first."
                )
        device, dtype = self.weight.device, self.weight.dtype
        with torch.no_grad():
            self._fill("weight_init", self.weight)
            if self.recurrent is not None:
                self._fill("recurrent_init", self.recurrent)
            for b in (self.bias, self.recurrent_bias):
                if b is not None:
                    b.zero_()
        fresh = Constants(self.neuron, self.neurons, device, dtype)
        if "constants" in self._modules:  # an optimiser may have the parameters that are there
            self.constants.load_state_dict(fresh.state_dict())
        else:
            self.constants = fresh
        if isinstance(self.norm, nn.BatchNorm1d | nn.LayerNorm):
            self.norm.reset_parameters()

    @torch.no_grad()
    def _check_neuron(self) -> None:
        """Compare the neuron with the contract of `srnn.neuron`; note its complex states."""
        whole = contract.check(
            self.neuron, self.constants().keys(), lambda: self._given(2), self.coeffs
        )
        self._probed = self.neuron, whole

    def _fill(self, what: str, weight: Tensor) -> None:
        """Let an initialiser fill a matrix, gate by gate; refuse one that leaves values unset."""
        fill = getattr(self, what)
        if not callable(fill):
            raise ConfigError(
                f"{self._who()}: {what} is {fill!r}; expected a callable such as Orthogonal()."
            )
        weight.fill_(torch.nan)
        for block in weight.chunk(self.neuron.gates):
            fill(block)
        if not weight.is_meta and not bool(torch.isfinite(weight).all()):
            raise ConfigError(
                f"{self._who()}: {what}={fill!r} left values unset; expected a callable "
                "that fills a tensor in place, as Orthogonal() does."
            )

    @property
    def neuron(self) -> Neuron:
        """The model. Another one may take its place where it has the same constants: they belong
        to the layer, which drew them. Raises `ConfigError` for any other.
        """
        return self._neuron

    @neuron.setter
    def neuron(self, neuron: Neuron) -> None:
        check_instance("Layer", "neuron", neuron, Neuron, "a neuron such as srnn.ALIF()")
        neuron.constants()  # which refuses what can be none
        built = "constants" in self._modules
        if built and not same_constants(self._neuron, neuron):
            raise ConfigError(
                f"{self._who()}: {neuron} has other constants than {self._neuron}, and a layer "
                "keeps those that it drew. Build another Layer, or set layer.constants.<name>."
            )
        if built:
            _check_activation(self._who(), neuron, self.activation)
        self._neuron, self._start_takes_constants = neuron, start_takes_constants(neuron)

    @property
    def activation(self) -> Activation:
        """What turns the potential above threshold into the output."""
        return self._activation

    @activation.setter
    def activation(self, activation: Activation) -> None:
        wanted = "an activation such as srnn.activations.Spike(srnn.surrogates.Boxcar())"
        check_instance("Layer", "activation", activation, Activation, wanted)
        _check_activation(self._who(), self.neuron, activation)
        self._activation = activation

    @property
    def emits(self) -> Activation:
        return self.activation

    def start(self, batch: int) -> State:
        """Return the neuron's state before the first step for `batch` recordings, each (B, N), with
        "s" = 0 unless the neuron says otherwise.
        """
        whole = self._complex_states()
        return {k: as_complex(v) if k in whole else v for k, v in self._given(batch).items()}

    def _given(self, batch: int) -> State:
        """Return the start as the neuron gives it: complex only where it says so."""
        takes = self._start_takes_constants
        p: Params = self.constants() if takes else {}
        state = started(self.neuron, self.neurons, p, self.weight, takes=takes)
        return {name: v.expand(batch, self.neurons).clone() for name, v in state.items()}

    def coeffs(self) -> Coeffs:
        """Return what the step uses, (N,) or () each: of the neuron's `coeffs`, in the layer's
        number type.

        Raises `ConfigError` where one of them is no number and no tensor of that shape.
        """
        return coefficients(self.neuron, self.constants(), self.weight, self.neurons)

    def _complex_states(self) -> frozenset[str]:
        """Return the names of the complex states: those that the step returns so."""
        if self._probed[0] is not self.neuron:
            self._check_neuron()
        return self._probed[1]

    def forward(
        self,
        x: Tensor,
        lengths: Tensor | None = None,
        state: LayerState | None = None,
        *,
        potential: bool = False,
        backend: str = "auto",
    ) -> LayerOutput:
        check_signal(self._who(), x, self.inputs)
        self._check_dtype(x)
        valid = valid_steps(self._who(), x, lengths)
        state = self.checked(state, x.shape[0])
        chosen = self.which_backend(backend).name
        if valid is not None and (chosen != "cpu" or self.norm is not None):
            # what lies beyond a length is never read; the cpu kernels see to that themselves
            x = torch.where(valid.unsqueeze(-1), x, 0.0)
        weight, bias, recurrent = self.connections()
        if self.norm is not None:
            x = self.normed(x, weight, bias, valid, backend=chosen)
        run = scan.run(
            self.neuron,
            self.activation,
            x,
            recurrent,
            self.coeffs(),
            state,
            weight=weight if self.norm is None else None,
            bias=bias if self.norm is None else None,
            lengths=None if valid is None else lengths,
            potential=potential,
            backend=chosen,
        )
        output = (
            functional.dropout(run.output, self.dropout, self.training)
            if self.dropout
            else run.output
        )
        return LayerOutput(output, run.output, run.potential, run.state)

    def weights(self) -> tuple[Tensor, Tensor | None]:
        """Return W (G·N, C) and R (G·N, N) or None, as the products have them: removed connections
        are 0, values rounded where `bits` says so.
        """
        weight = _used(self.weight, self.weight_mask, self.bits)
        return weight, None if self.recurrent is None else _used(
            self.recurrent, self.recurrent_mask, self.bits
        )

    def connections(self) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """Return W, b and R as the products have them; b_R is in b unless a norm stands between."""
        both = None if self.norm is not None else self.recurrent_bias
        bias = both if self.bias is None else self.bias if both is None else self.bias + both
        weight, recurrent = self.weights()
        return weight, bias, recurrent

    def normed(
        self, x: Tensor, weight: Tensor, bias: Tensor | None, valid: Tensor | None, *, backend: str
    ) -> Tensor:
        """Return norm(W x + b) + b_R for all steps, (B, T, G·N), of a layer that has a norm.

        W, b: of `connections`; backend: as chosen.
        """
        assert self.norm is not None
        x = normalised(self.norm, scan.linear(x, weight, bias, backend=backend), valid)
        return x if self.recurrent_bias is None else x + self.recurrent_bias

    def which_backend(self, backend: str = "auto") -> scan.Choice:
        """Return the backend that runs this layer when `backend` is asked for, and why."""
        if backend == "auto" and scan.transformed():
            return scan.Choice(
                "reference", "the kernels know neither torch.func nor forward-mode differentiation"
            )
        key, weight = cpu.register(self.neuron, self.activation), self.weight
        chosen: scan.Choice = scan.choose(
            backend, key, weight.device.type, weight.dtype, self.neurons, self.recurrent is not None
        )
        return chosen

    def _check_dtype(self, x: Tensor) -> None:
        check_real_type(self._who(), self.weight.dtype)
        if x.dtype != self.weight.dtype and not torch.is_autocast_enabled(x.device.type):
            raise ShapeError(
                f"{self._who()}: x has dtype {x.dtype}, the layer "
                f"{self.weight.dtype}. Pass x.to({self.weight.dtype})."
            )

    def checked(self, state: LayerState | None, batch: int) -> State:
        """Return the state it is given, or the start.

        Raises `ShapeError` where it is not one of this layer for `batch` recordings.
        """
        if state is None:
            return self.start(batch)
        names = (*self.neuron.states, "s")
        if not isinstance(state, dict) or set(state) != set(names):
            got = ", ".join(sorted(state)) if isinstance(state, dict) else type(state).__name__
            raise ShapeError(
                f"{self._who()}: state holds {got}; expected {', '.join(names)}: "
                "what `start(batch)` or an earlier call returned."
            )
        for name in names:
            if state[name].shape != (batch, self.neurons):
                raise ShapeError(
                    f"{self._who()}: state[{name!r}] has shape "
                    f"{tuple(state[name].shape)}; expected (B={batch}, N={self.neurons})."
                )
            whole = name in self._complex_states()
            dtype = complex_type(self.weight.dtype) if whole else self.weight.dtype
            if state[name].dtype != dtype:
                raise ShapeError(
                    f"{self._who()}: state[{name!r}] has dtype {state[name].dtype}, "
                    f"the layer {self.weight.dtype}"
                    + (f", of which this state is the complex one: {dtype}." if whole else ".")
                )
        return state

    def _who(self) -> str:
        return f"Layer({self.inputs} → {self.neurons}, {type(self.neuron).__name__})"

    def extra_repr(self) -> str:
        """Say what the layer is made of."""
        bits = "" if self.bits is None else f", bits={self.bits}"
        return (
            f"{self.inputs} → {self.neurons}, {self.neuron}, {self.activation}, "
            f"recurrent={self.recurrent is not None}{bits}"
        )


class Readout(Layer):
    """A layer of leaky integrators that neither spikes nor feeds back: `Layer(C, K, Leaky(),
    Identity(), recurrent=False)`, read by its potential.
    """

    def __init__(
        self, inputs: int, classes: int, neuron: Neuron | None = None, **kwargs: Any
    ) -> None:
        super().__init__(
            inputs,
            classes,
            neuron if neuron is not None else Leaky(),
            Identity(),
            recurrent=False,
            **kwargs,
        )


def _check_activation(who: str, neuron: Neuron, activation: Activation) -> None:
    if neuron.hard_reset and not activation.unit:
        raise ConfigError(
            f"{who}: {type(activation).__name__} with a hard reset: (1 - "
            "s)·u turns negative where s > 1. "
            "Use a neuron with a soft reset (ALIF, SoftLIF …), or a Spike activation."
        )


def valid_steps(who: str, x: Tensor, lengths: Tensor | None) -> Tensor | None:
    """Return the (B, T) mask of valid steps, or None when every step of every
    recording is valid.
    """
    if lengths is None:
        return None
    check_lengths(who, lengths, x.shape[0], x.shape[1])
    mask: Tensor = torch.arange(x.shape[1], device=x.device) < lengths.to(x.device).unsqueeze(1)
    return None if not values_hidden() and bool(mask.all()) else mask


def _mask(weight: Tensor, there: Tensor, what: str, sparsity: float) -> Tensor | None:
    """Return the mask of the connections that are `there` but for round(sparsity · size), chosen at
    random; None when that is all of them.
    """
    keep = there.expand(weight.shape).clone()
    removed = round(check_range(what, sparsity, 0.0, 1.0) * weight.numel())
    if removed:
        keep.view(-1)[torch.randperm(weight.numel())[:removed]] = False
    return None if bool(keep.all()) else keep.to(weight.device)


def _used(weight: Tensor, mask: Tensor | None, bits: int | None) -> Tensor:
    weight = weight if mask is None else weight * mask
    return weight if bits is None else rounded(weight, bits)
