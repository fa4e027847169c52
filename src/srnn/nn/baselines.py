"""What spiking networks are compared with and that is no layer of neurons: parts of a `Stack` like
any other.

    spiking = Layer(700, 128, IF(), recurrent=False, bias=False)
    last = Readout(128, 20, cells.Sum(), bias=False)
    Stack(Tandem(spiking), …, last)                                tandem learning

    one, other = CausalConv(700, 64, 5), CausalConv(64, 64, 5, dilation=5)
    Stack(one, other, Readout(64, 20, cells.Dense()))              a CNN for spike rasters

    gated = Layer(40, 128, cells.LiGRU(), Identity())
    Stack(gated, CumulativeReadout(128, 35))                       Bittar's read-out of ANNs

MLP, RNN, LSTM, GRU, light GRU and BRU, IndRNN are layers of `srnn.cells`; the ReLU twin of a
spiking network is the same one with `Relu()`.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from srnn._check import (
    ConfigError,
    ShapeError,
    check_instance,
    check_range,
    check_signal,
    check_sizes,
)
from srnn.activations import Activation
from srnn.kernels import scan
from srnn.neurons import IF
from srnn.nn.layers import BatchNorm, Layer, valid_steps
from srnn.nn.norm import normalised
from srnn.nn.part import LayerOutput, LayerState, Part
from srnn.nn.plain import departures


def _masked(x: Tensor, valid: Tensor | None) -> Tensor:
    return x if valid is None else torch.where(valid.unsqueeze(-1), x, 0.0)


class Tandem(Part):
    """A layer of integrate-and-fire neurons that is trained through spike counts (Wu et al. 2021,
    "A tandem learning rule …", sections III, IV).

    Forward the layer spikes. Backward it is a ReLU layer on counts, with the same weights: of a
    recording of L steps whose inputs add up to c_j = Σ_t x_j[t], a_i = Σ_j W_ij c_j + b_i and n_i =
    min(max(0, a_i) / θ, L), which approximates the count Σ_t s_i[t]; the gradient of the count goes
    into n_i as it is, and no gradient goes through a spike train. The layer below gives its true
    counts, so that errors do not add up.

    layer: a `Layer` of `IF` neurons with one fixed threshold, recurrent=False, bias=False. The bias
    is this part's: b / L is injected at every step, so that it adds up to b; hence it needs whole
    recordings.
    """

    whole = "counts the spikes of whole recordings"

    def __init__(self, layer: Layer) -> None:
        super().__init__()
        check_instance("Tandem", "layer", layer, Layer, "a Layer of IF neurons")
        if (
            not isinstance(layer.neuron, IF)
            or layer.recurrent is not None
            or layer.bias is not None
            or layer.norm is not None
        ):
            raise ConfigError(
                f"Tandem: got {layer}; expected Layer(C, N, IF(), recurrent=False, "
                "bias=False), without norm."
            )
        if found := departures(layer, "its layer"):
            raise ConfigError(f"Tandem: {found[0]}; it reads a layer and does not call it.")
        threshold = layer.constants().get("threshold")
        if (
            threshold is None
            or threshold.numel() != 1
            or threshold.requires_grad
            or not layer.activation.binary
        ):
            raise ConfigError(
                "Tandem: the threshold must be one fixed number, as in IF(1.0), "
                "and the activation a Spike."
            )
        self.layer = layer
        self.inputs, self.outputs = layer.inputs, layer.outputs
        self.bias = nn.Parameter(
            torch.zeros(layer.neurons, device=layer.weight.device, dtype=layer.weight.dtype)
        )

    @property
    def emits(self) -> Activation:
        return self.layer.activation

    def start(self, batch: int) -> LayerState:
        return self.layer.start(batch)

    def forward(
        self,
        x: Tensor,
        lengths: Tensor | None = None,
        state: LayerState | None = None,
        *,
        potential: bool = False,
        backend: str = "auto",
    ) -> LayerOutput:
        check_signal("Tandem", x, self.inputs)
        valid = valid_steps("Tandem", x, lengths)
        steps = x.new_full((len(x),), x.shape[1]) if lengths is None else lengths.to(x)
        per_step = 1 / steps.clamp(min=1)
        layer, chosen = self.layer, self.layer.which_backend(backend).name
        weight, _ = layer.weights()
        with torch.no_grad():
            current = (
                scan.linear(_masked(x, valid), weight, None, backend=chosen)
                + per_step.view(-1, 1, 1) * self.bias
            )
            run = scan.run(
                layer.neuron,
                layer.activation,
                current,
                None,
                layer.coeffs(),
                layer.checked(state, len(x)),
                lengths=None if valid is None else lengths,
                potential=potential,
                backend=chosen,
            )
        aggregate = functional.linear(_masked(x, valid).sum(1), weight, self.bias)
        count = torch.minimum(
            (aggregate / layer.constants()["threshold"]).clamp(min=0), steps.unsqueeze(1)
        )
        # 0; over the steps, its gradient adds up to that of the count
        spread = ((count - count.detach()) * per_step.unsqueeze(1)).unsqueeze(1)
        spikes = run.output + _masked(spread.expand_as(run.output), valid)
        return LayerOutput(
            functional.dropout(spikes, layer.dropout, self.training),
            spikes,
            run.potential,
            run.state,
        )


class Exponential(Part):
    """The probabilities of log-probabilities: exp(x).

    Behind a layer of `cells.LiBRUProbability`.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        check_sizes("Exponential", channels, channels)
        self.inputs = self.outputs = channels

    def forward(
        self,
        x: Tensor,
        lengths: Tensor | None = None,
        state: LayerState | None = None,
        *,
        potential: bool = False,
        backend: str = "auto",
    ) -> LayerOutput:
        check_signal("Exponential", x, self.inputs)
        y = _masked(torch.exp(x), valid_steps("Exponential", x, lengths))
        return LayerOutput(y, y, y if potential else None, {})


class CausalConv(Part):
    """A convolution over time that sees `kernel` steps, the current one and earlier ones `dilation`
    apart, and a ReLU; with channels mixed by W.

    y[t] = max(0, b + Σ_k W_k x[t - k·dilation]), x before the first step being 0. The architecture
    of a network of these is ours: the CNNs that the papers cite read whole rasters as pictures. The
    state, "past" (B, (kernel - 1)·dilation·C), holds the steps that are still needed.
    """

    def __init__(
        self,
        inputs: int,
        channels: int,
        kernel: int = 5,
        dilation: int = 1,
        *,
        norm: BatchNorm | None = None,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        check_sizes("CausalConv", inputs, channels)
        for name, value in (("kernel", kernel), ("dilation", dilation)):
            check_range(f"CausalConv: {name}", value, 1)
        self.inputs, self.outputs, self.dropout = (
            inputs,
            channels,
            check_range("dropout", dropout, 0.0, 1.0),
        )
        self.conv = nn.Conv1d(inputs, channels, kernel, dilation=dilation)
        self.norm = norm.build(channels) if norm is not None else None
        self.reach = (kernel - 1) * dilation

    def start(self, batch: int) -> LayerState:
        return {"past": self.conv.weight.new_zeros(batch, self.reach * self.inputs)}

    def forward(
        self,
        x: Tensor,
        lengths: Tensor | None = None,
        state: LayerState | None = None,
        *,
        potential: bool = False,
        backend: str = "auto",
    ) -> LayerOutput:
        check_signal("CausalConv", x, self.inputs)
        valid = valid_steps("CausalConv", x, lengths)
        past = tensor_of(
            state if state is not None else self.start(x.shape[0]),
            "past",
            (x.shape[0], self.reach * self.inputs),
        )
        seen = torch.cat((past.view(x.shape[0], self.reach, self.inputs), _masked(x, valid)), 1)
        y = self.conv(seen.transpose(1, 2)).transpose(1, 2)
        if self.norm is not None:
            y = normalised(self.norm, y, valid)
        y = _masked(torch.relu(y), valid)
        ends = (
            torch.full((x.shape[0],), x.shape[1], device=x.device)
            if lengths is None
            else lengths.to(x.device)
        )
        index = (
            (ends.unsqueeze(1) + torch.arange(self.reach, device=x.device))
            .unsqueeze(-1)
            .expand(-1, -1, self.inputs)
        )
        new = {"past": seen.gather(1, index).flatten(1)}
        return LayerOutput(
            functional.dropout(y, self.dropout, self.training), y, y if potential else None, new
        )


class CumulativeReadout(Part):
    """Read-out of the ANNs of Bittar & Garner 2022, as coded: Y[t] = Σ_{τ ≤ t} softmax(y[τ]) over
    the C channels; scores = norm(W Y[t] + b).

    The published one has Y of the last step alone; here each step has its own, so that there is a
    decision at any time, and `decode.last` reads the published scores. Batch norm takes its
    statistics from the last step of every recording, as there. The state is "sum" (B, C).
    """

    def __init__(self, inputs: int, classes: int, *, norm: BatchNorm | None = None) -> None:
        super().__init__()
        check_sizes("CumulativeReadout", inputs, classes)
        self.inputs, self.outputs = inputs, classes
        self.linear = nn.Linear(inputs, classes)
        self.norm = norm.build(classes) if norm is not None else None

    def start(self, batch: int) -> LayerState:
        return {"sum": self.linear.weight.new_zeros(batch, self.inputs)}

    def forward(
        self,
        x: Tensor,
        lengths: Tensor | None = None,
        state: LayerState | None = None,
        *,
        potential: bool = False,
        backend: str = "auto",
    ) -> LayerOutput:
        check_signal("CumulativeReadout", x, self.inputs)
        valid = valid_steps("CumulativeReadout", x, lengths)
        before = tensor_of(
            state if state is not None else self.start(x.shape[0]), "sum", (x.shape[0], self.inputs)
        )
        sums = before.unsqueeze(1) + _masked(torch.softmax(_masked(x, valid), -1), valid).cumsum(1)
        scores = self.linear(sums)
        if self.norm is not None:
            norm = self.norm
            if norm.training and len(x) == 1:
                raise ShapeError(
                    "CumulativeReadout: the scores of one recording have no "
                    "variance; expected at least two in a batch, or net.eval()."
                )
            if norm.training:
                # what is beyond a recording's end repeats its last step; updates the running
                # statistics
                norm(scores[:, -1])
                mean, var = scores[:, -1].mean(0), scores[:, -1].var(0, unbiased=False)
            else:
                mean, var = norm.running_mean, norm.running_var
            scores = (scores - mean) * torch.rsqrt(var + norm.eps) * norm.weight + norm.bias
        scores = _masked(scores, valid)
        return LayerOutput(scores, scores, scores if potential else None, {"sum": sums[:, -1]})


def tensor_of(state: LayerState, name: str, shape: tuple[int, ...]) -> Tensor:
    """Return the one tensor of a part's state. Raises `ShapeError` where it is another."""
    if not isinstance(state, dict) or set(state) != {name} or state[name].shape != shape:
        raise ShapeError(
            f"state is not {{{name!r}: {shape}}}; pass what `start(batch)` or an "
            "earlier call returned."
        )
    return state[name]
