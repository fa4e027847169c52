"""Exported C is the network: every neuron and cell of the package, float and in whole numbers,
built with sanitisers and every warning an error.

All networks are exported once, compiled into one program and run on stored traces; the tests
compare what it wrote. Float code on a processor with the same arithmetic as the cpu kernels gives
their bits; whole numbers are equal to the simulation.
"""

from __future__ import annotations

import dataclasses
import subprocess
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import srnn
import srnn.cells
import srnn.neurons
from helpers import CELLS, NEURONS
from srnn import _build
from srnn._check import ConfigError
from srnn.activations import Activation, Identity, Relu, Soft, Spike
from srnn.export import CPlayer, IntegerStack, footprint, to_c, to_integer
from srnn.export.c_player import STRICT, compile_c
from srnn.init import Fixed
from srnn.neuron import Neuron
from srnn.neurons import ALIF, IF, LIF, AdLIF
from srnn.nn.baselines import CausalConv, CumulativeReadout, Exponential, Tandem

STEPS, BATCH, INPUTS = 60, 2, 5


KINDS = [*NEURONS, *CELLS]
NO_INTEGERS = {"LiBRUProbability"}
"""Those refused by name in whole numbers: logarithms of numbers near 0."""


@torch.no_grad()
def settled(net: srnn.Stack, seed: int = 0) -> srnn.Stack:
    """The network with small recurrent weights, biases, and norms that have seen something."""
    draw = torch.Generator().manual_seed(seed)
    for name, p in net.named_parameters():
        if name.endswith("recurrent"):
            p.mul_(0.2)
        elif name.endswith("bias"):
            p.copy_(torch.randn(p.shape, generator=draw) * 0.2)
    for m in net.modules():
        if isinstance(m, nn.BatchNorm1d):
            m.running_mean.copy_(torch.randn(m.running_mean.shape, generator=draw) * 0.1)
            m.running_var.copy_(torch.rand(m.running_var.shape, generator=draw) + 0.5)
            m.weight.copy_(torch.randn(m.weight.shape, generator=draw))
    return net.eval()


def network(kind: type[Neuron], **options: bool) -> srnn.Stack:
    """Spikes into graded outputs of the same neuron, where it can have those; Relu after a hard
    reset is refused by the layer itself.
    """
    torch.manual_seed(1)
    graded: Activation = (
        Spike(at_threshold=True)
        if kind.hard_reset
        else Relu()
        if kind.__module__.startswith("srnn.neurons")
        else Identity()
    )
    first = srnn.Layer(INPUTS, 9, kind(**options), recurrent_bias=True, zero_diagonal=True)
    with torch.no_grad():
        first.weight.mul_(3.0)
    return settled(
        srnn.Stack(
            first,
            srnn.Layer(9, 7, kind(**options), graded),
            srnn.Layer(7, 4, kind(**options), graded, recurrent=False),
        )
    )


@dataclass(frozen=True)
class Case:
    net: srnn.Stack
    x: Tensor
    bits: int | None = None
    sparse: bool | None = None
    calibration: Tensor | None = None
    exact: bool = True
    """Float: bit for bit (no norm was folded)."""


def signal(steps: int = STEPS, size: float = 1.5, events: bool = False) -> Tensor:
    draw = torch.Generator().manual_seed(steps)
    x = torch.randn(BATCH, steps, INPUTS, generator=draw) * size
    return (x > size).float() if events else x


def pruned(net: srnn.Stack, keep: float = 0.1) -> srnn.Stack:
    with torch.no_grad():
        for name, p in net.named_parameters():
            if p.dim() == 2 and name.endswith(("weight", "recurrent")):
                p.mul_(torch.rand(p.shape, generator=torch.Generator().manual_seed(3)) < keep)
    return net


def wide(norm: Any = None) -> srnn.Stack:
    torch.manual_seed(2)
    first, second = (
        srnn.Layer(INPUTS, 300, ALIF(), norm=norm, recurrent=False),
        srnn.Layer(300, 6, AdLIF(), Relu(), norm=norm),
    )
    return settled(srnn.Stack(first, second, srnn.Readout(6, 4, norm=norm)))


def convolution() -> srnn.Stack:
    torch.manual_seed(4)
    first, second = CausalConv(INPUTS, 8, 3, 2, norm=srnn.BatchNorm()), CausalConv(9, 6, 4)
    return settled(srnn.Stack(first, srnn.Layer(8, 9, ALIF(b0=0.1)), second, srnn.Readout(6, 3)))


def loud(net: srnn.Stack) -> srnn.Stack:
    """Weights and constants for which whole numbers leave their range again and again."""
    with torch.no_grad():
        net.parts()[0].weight.mul_(30.0)
    return net


def cases() -> dict[str, Case]:
    found: dict[str, Case] = {}
    for kind in KINDS:
        options = [
            {},
            *({f.name: True} for f in dataclasses.fields(kind) if isinstance(f.default, bool)),
        ]
        for chosen in options:
            name = kind.__name__ + "".join(f"_{k}" for k in chosen)
            net = network(kind, **chosen)
            found[f"{name}_float"] = Case(net, signal())
            if name not in NO_INTEGERS:
                found[f"{name}_int8"] = Case(net, signal(), 8)
    alif = network(ALIF)
    for bits in (None, 8, 4):
        form = "float" if bits is None else f"int{bits}"
        found[f"events_{form}"] = Case(alif, signal(events=True), bits)
        found[f"sparse_{form}"] = Case(pruned(network(ALIF), 0.5), signal(), bits, True)
        found[f"wide_{form}"] = Case(pruned(wide()), signal(), bits)
        found[f"batch_norm_{form}"] = Case(wide(srnn.BatchNorm()), signal(), bits, exact=False)
        found[f"convolution_{form}"] = Case(convolution(), signal(), bits, exact=False)
        found[f"stored_whole_{form}"] = Case(wide(), signal(20), bits, False)
    found["layer_norm_float"] = Case(wide(srnn.LayerNorm()), signal(), exact=False)
    exponential = settled(
        srnn.Stack(srnn.Layer(INPUTS, 4, srnn.cells.LiBRU(), Identity()), Exponential(4))
    )
    found["exponential_float"] = Case(exponential, signal(size=0.5), exact=False)
    found["exponential_int8"] = Case(exponential, signal(size=0.5), 8)
    found["exponential_first_int8"] = Case(
        srnn.Stack(Exponential(INPUTS), srnn.Readout(INPUTS, 3)).eval(), signal(size=0.5), 8
    )
    found["relu_int8"] = Case(
        settled(srnn.Stack(srnn.Layer(INPUTS, 6, ALIF(), Relu()), srnn.Readout(6, 3))), signal(), 8
    )
    for name, neuron in {"alif": ALIF, "lstm": srnn.cells.LSTM, "adex": srnn.neurons.AdEx}.items():
        found[f"long_{name}_int8"] = Case(network(neuron), signal(250), 8, calibration=signal(40))
        found[f"loud_{name}_int8"] = Case(
            loud(network(neuron)), signal(size=300.0), 8, calibration=signal(size=0.01)
        )
    found["long_alif_float"] = Case(alif, signal(2000))
    mixed = ALIF(beta=Fixed([0.0, 1.8, 0.0, 0.5]), b0=Fixed([0.1, 0.2, 0.3, 0.4]))
    found["mixed_float"] = Case(settled(srnn.Stack(srnn.Layer(INPUTS, 4, mixed))), signal())
    found["mixed_int8"] = Case(settled(srnn.Stack(srnn.Layer(INPUTS, 4, mixed))), signal(), 8)
    return found


CASES = cases()


_MAIN = """#include <stdio.h>
{includes}
static FILE *file(const char *name, const char *mode) {{
    FILE *f = fopen(name, mode);
    return f ? f : stderr;
}}

{runs}

int main(void) {{
    {calls}
    return 0;
}}
"""
_RUN = """static void run_{name}(void) {{
    {name}_state state;
    FILE *in = file("{name}.in", "rb"), *out = file("{name}.out", "wb");
    for (long b = 0; b < {batch}; b++) {{
        {name}_reset(&state);
        for (long t = 0; t < {steps}; t++) {{
            {input} x[{inputs}];
            {score} scores[{outputs}], y;
            if (fread(x, sizeof x[0], {inputs}, in) != {inputs}) return;
            {name}_step(&state, x, scores);
            fwrite(scores, sizeof scores[0], {outputs}, out);
{copies}
        }}
    }}
    fclose(in);
    fclose(out);
}}"""


@pytest.fixture(scope="module")
def results(tmp_path_factory) -> dict[str, tuple[Tensor, tuple[Tensor, ...], IntegerStack | None]]:
    """Scores and outputs of all cases, as the sanitised program wrote them; with whole numbers also
    the simulation.
    """
    folder = tmp_path_factory.mktemp("c")
    simulations = {
        name: to_integer(c.net, c.bits, c.x if c.calibration is None else c.calibration)
        for name, c in CASES.items()
        if c.bits
    }
    models = {
        name: to_c(simulations.get(name, c.net), folder, name=name, sparse=c.sparse)
        for name, c in CASES.items()
    }
    runs = []
    for name, model in models.items():
        case = CASES[name]
        given = case.x if case.bits is None else simulations[name].input.integers(case.x)
        given.numpy().astype(np.float32 if case.bits is None else np.int16).tofile(
            folder / f"{name}.in"
        )
        copies = "".join(
            f"            for (long n = 0; n < {n}; n++) {{ y = state.layer{k}.s[n]; "
            f"fwrite(&y, sizeof y, 1, out); }}\n"
            for k, n in enumerate(model.neurons)
        )
        types = (
            {"input": "float", "score": "float"}
            if case.bits is None
            else {"input": "int16_t", "score": "int32_t"}
        )
        sizes = {
            "batch": BATCH,
            "steps": case.x.shape[1],
            "inputs": model.inputs,
            "outputs": model.outputs,
        }
        runs.append(_RUN.format(name=name, copies=copies, **types, **sizes))
    calls = "\n    ".join(f"run_{name}();" for name in models)
    text = _MAIN.format(
        includes="\n".join(f'#include "{n}.h"' for n in models), runs="\n\n".join(runs), calls=calls
    )
    (folder / "all.c").write_text(text)
    flags = (
        *STRICT,
        "-Wconversion",
        "-O0",
        *_build.compiler().options,
        "-fsanitize=undefined,address",
        "-fno-sanitize-recover=all",
    )
    with ThreadPoolExecutor(2) as pool:
        jobs = [
            (str(folder / f"{name}.c"), *flags, "-c", "-o", str(folder / f"{name}.o"))
            for name in (*models, "all")
        ]
        said = list(pool.map(compile_c, jobs))
    assert not any(said)
    compile_c(
        (
            *(str(folder / f"{name}.o") for name in (*models, "all")),
            *flags,
            "-o",
            str(folder / "all"),
            "-lm",
        )
    )
    done = subprocess.run(
        [str(folder / "all")], cwd=folder, capture_output=True, text=True, timeout=200
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert not done.stderr
    found = {}
    for name, model in models.items():
        raw = np.fromfile(
            folder / f"{name}.out", np.float32 if CASES[name].bits is None else np.int32
        )
        rows = torch.from_numpy(
            raw.reshape(BATCH, CASES[name].x.shape[1], model.outputs + sum(model.neurons))
        )
        scores, *outputs = torch.split(rows, [model.outputs, *model.neurons], -1)
        found[name] = scores, tuple(outputs), simulations.get(name)
    return found


def test_the_package_has_neurons_to_export():
    assert len(KINDS) >= 22
    assert all(f"{kind.__name__}_float" in CASES for kind in KINDS)
    assert all(
        f"{kind.__name__}_int8" in CASES for kind in KINDS if kind.__name__ not in NO_INTEGERS
    )


@pytest.mark.parametrize("name", [n for n, c in CASES.items() if c.bits is None])
@torch.no_grad()
def test_float_code_gives_the_network(name, results):
    case, (scores, outputs, _) = CASES[name], results[name]
    out = case.net(case.x, record=True, backend="cpu" if case.exact else "auto")
    assert out.trace is not None
    assert len(outputs) == len(out.trace.outputs)
    if case.exact:
        assert all(
            torch.equal(a, b)
            for a, b in zip((scores, *outputs), (out.potential, *out.trace.outputs), strict=True)
        )
        return
    for spiking, a, b in zip(out.trace.spiking, outputs, out.trace.outputs, strict=True):
        # a spike that flips sends what follows another way: compared up to it, and it must be rare
        if spiking:
            differs = (a != b).any(-1)
            assert int(differs.any(-1).sum()) <= 1, name
            first = int(differs.int().argmax(-1).min()) if bool(differs.any()) else case.x.shape[1]
            outputs, scores = tuple(o[:, :first] for o in outputs), scores[:, :first]
            assert first > 10
    steps = scores.shape[1]
    for a, b in zip((scores, *outputs), (out.potential, *out.trace.outputs), strict=True):
        assert torch.allclose(a, b[:, :steps], atol=2e-5 * float(b.abs().max() + 1), rtol=1e-4)


@pytest.mark.parametrize("name", [n for n, c in CASES.items() if c.bits is not None])
def test_whole_numbers_are_those_of_the_simulation(name, results):
    case, (scores, outputs, simulation) = CASES[name], results[name]
    assert simulation is not None
    wanted, spikes = simulation.run(simulation.input.integers(case.x))
    assert torch.equal(scores.long(), wanted)
    assert len(outputs) == len(spikes)
    assert all(torch.equal(a.long(), b) for a, b in zip(outputs, spikes, strict=True))


def test_loud_networks_reach_the_ends_of_the_range(results):
    reached = [
        bool((results[f"loud_{n}_int8"][0].long().abs() >= 2**31 - 1).any())
        for n in ("alif", "lstm", "adex")
    ]
    seen = [
        simulation.input.integers(CASES[f"loud_{n}_int8"].x).abs().max()
        for n in ("alif",)
        for simulation in (results[f"loud_{n}_int8"][2],)
    ]
    assert any(reached) or int(seen[0]) == results["loud_alif_int8"][2].input.limit


def test_the_stored_traces_do_something(results):
    for name, (_, outputs, _) in results.items():
        assert any(bool(o.any()) for o in outputs), name
        assert all(bool(torch.isfinite(o.float()).all()) for o in outputs), name
    rates = [float((results[f"{kind.__name__}_float"][1][0] != 0).float().mean()) for kind in KINDS]
    assert sum(0.001 < rate < 0.999 for rate in rates) >= 15, dict(
        zip((k.__name__ for k in KINDS), rates, strict=True)
    )


@pytest.mark.parametrize("kind", KINDS)
@torch.no_grad()
def test_whole_numbers_are_near_the_network_with_weights_on_the_grid(kind):
    """What remains beside the weights' own rounding is small: the potentials of a layer that does
    not feed back.
    """
    if kind.__name__ in NO_INTEGERS:
        return
    torch.manual_seed(5)
    activation: Activation = Spike() if kind.hard_reset else Relu()
    options = {"stable": True} if kind is srnn.neurons.SparchAdLIF else {}
    net = settled(srnn.Stack(srnn.Layer(INPUTS, 9, kind(**options), activation, recurrent=False)))
    layer = net.parts()[0]
    q, scale = srnn.kernels.fixed_weights.quantise(layer.weight, 8)
    layer.weight.copy_(srnn.kernels.fixed_weights.dequantise(q, scale))
    x = (signal(size=1.0) * 64).round() / 64
    out = net(x, record=True)
    made = to_integer(net, 8, x)
    potential, _, outputs = made(x, torch.full((BATCH,), STEPS))
    fine = (
        (out.trace.outputs[0] == outputs[0]).float().mean()
        if kind.hard_reset
        else torch.tensor(1.0)
    )
    assert fine > 0.995
    if fine == 1:
        assert torch.allclose(
            potential, out.potential, atol=2e-4 * float(out.potential.abs().max() + 1), rtol=1e-3
        )


# ── players, sizes, files ─────────────────────────────────────────────────────────────────────────


def test_the_player_stops_at_each_length(tmp_path):
    net, x, lengths = network(ALIF), signal(), torch.tensor([STEPS, 17])
    out = net(x, lengths=lengths, record=True, backend="cpu")
    potential, output, outputs = CPlayer(to_c(net, tmp_path))(x, lengths)
    assert torch.equal(potential, out.potential)
    assert torch.equal(output, out.output)
    assert all(torch.equal(a, b) for a, b in zip(outputs, out.trace.outputs, strict=True))
    assert not outputs[0][1, 17:].any()
    made = to_integer(net, 8, x)
    a, b = (
        CPlayer(to_c(net, tmp_path, name="whole", bits=8, calibration=x))(x, lengths),
        made(x, lengths),
    )
    assert torch.equal(a[0], b[0])
    assert torch.equal(a[1], b[1])
    assert all(torch.equal(p, q) for p, q in zip(a[2], b[2], strict=True))


def test_whole_numbers_and_pruning_make_it_smaller(tmp_path):
    """128 neurons with 90 % of the weights gone."""
    torch.manual_seed(0)
    net, x = srnn.Stack(srnn.Layer(INPUTS, 128, ALIF()), srnn.Readout(128, 4)).eval(), signal()
    full = footprint(to_c(net, tmp_path / "float"))
    whole = footprint(to_c(net, tmp_path / "int8", bits=8, calibration=x))
    half = footprint(to_c(net, tmp_path / "int4", bits=4, calibration=x))
    few = pruned(net)
    small = to_c(few, tmp_path / "small", bits=8, calibration=x)
    sparse = footprint(small)
    dense = footprint(to_c(few, tmp_path / "dense", bits=8, calibration=x, sparse=False))
    assert full.flash > 3 * whole.flash > 3 * half.flash
    assert dense.tables > 2.5 * sparse.tables
    assert "sparse_spikes8" in (tmp_path / "small" / "model.c").read_text()
    weights = sum(
        int((p != 0).sum())
        for n, p in few.named_parameters()
        if n.endswith(("weight", "recurrent"))
    )
    assert weights < small.table_bytes
    # one byte an index, one a weight, one a column, and tables of 4 bytes for each neuron
    assert small.table_bytes < 2 * weights + (INPUTS + 128 + 128) + 4 * 132 * 8
    assert whole.state == 128 * (1 + 4 + 4) + 4 * 4 + 4 * 4
    assert whole.stack > 128 * 8
    assert whole.ram == whole.state + whole.stack


def test_files_build_with_make_and_the_example_runs(tmp_path):
    for bits in (None, 8):
        net, x = network(ALIF), signal(12)
        folder = tmp_path / str(bits)
        to_c(net, folder, name="wave", bits=bits, calibration=x)
        assert sorted(p.name for p in folder.iterdir()) == [
            "Makefile",
            "main.c",
            "wave.c",
            "wave.h",
        ]
        env = {
            "PATH": "/usr/bin:/bin",
            "CFLAGS": "-O1 -Werror -Wconversion -fsanitize=undefined,address",
        }
        done = subprocess.run(
            ["make", "-s", "-C", str(folder)], capture_output=True, text=True, env=env
        )
        assert done.returncode == 0, done.stderr
        assert not done.stderr
        lines = "\n".join(", ".join(f"{v:.9g}" for v in row) for row in x[0].tolist())
        ran = subprocess.run(
            [str(folder / "wave")], input=f"{lines}\n\n{lines}\n", capture_output=True, text=True
        )
        assert ran.returncode == 0, ran.stderr
        printed = [line.split() for line in ran.stdout.splitlines()]
        assert printed[:12] == printed[12:]  # an empty line starts anew
        potential = (
            net(x[:1]).potential[0]
            if bits is None
            else to_integer(net, 8, x)(x[:1], torch.tensor([12]))[0][0]
        )
        assert torch.allclose(
            torch.tensor([[float(v) for v in row[1:]] for row in printed[:12]]),
            potential,
            atol=1e-5,
        )
        assert [int(row[0]) for row in printed[:12]] == potential.argmax(-1).tolist()
        wrong = subprocess.run(
            [str(folder / "wave")], input="1 2\n", capture_output=True, text=True
        )
        assert wrong.returncode == 2
        assert "line 1: 2 numbers; expected 5" in wrong.stderr
        if bits:
            text = (folder / "wave.c").read_text()
            assert not any(word in text for word in ("float", "double", "math.h", "real"))


# ── refusals ──────────────────────────────────────────────────────────────────────────────────────


def test_what_has_no_form_in_c_is_refused_by_name(tmp_path):
    layer = srnn.Layer(INPUTS, 4, ALIF())
    tandem = Tandem(srnn.Layer(INPUTS, 4, IF(), recurrent=False, bias=False))
    refused = {
        srnn.Stack(srnn.Bidirectional(layer), srnn.Readout(8, 2)): r"layer 0 \(Bidirectional\) is "
        r"bidirectional",
        srnn.Stack(tandem, srnn.Readout(4, 2)): r"layer 0 \(Tandem\) counts the spikes of whole "
        r"recordings",
        srnn.Stack(layer, CumulativeReadout(4, 2)): r"layer 1 \(CumulativeReadout\) has no form "
        r"in C yet",
    }
    for net, message in refused.items():
        with pytest.raises(ConfigError, match=message):
            to_c(net, tmp_path / "none")
    assert not (tmp_path / "none").exists()


def test_what_has_no_whole_numbers_is_refused_by_name(tmp_path):
    x = signal()
    soft = srnn.Stack(srnn.Layer(INPUTS, 4, ALIF(), Soft()))
    refused = {
        network(srnn.cells.LiBRUProbability): "LiBRUProbability.*logarithm, root or inverse of "
        "numbers down to",
        wide(srnn.LayerNorm()): "layer 0.*LayerNorm has no integer form",
        soft: "layer 0.*erf has no integer form",
    }
    for net, message in refused.items():
        with pytest.raises(ConfigError, match=message):
            to_c(net, tmp_path / "none", bits=8, calibration=x)
        to_c(net, tmp_path / "float")  # with float numbers they can be
    with pytest.raises(ConfigError, match="calibration is missing"):
        to_c(network(ALIF), tmp_path / "none", bits=8)
    with pytest.raises(ConfigError, match="bits is 6; expected 8 or 4"):
        to_c(network(ALIF), tmp_path / "none", bits=6, calibration=x)
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize("name", ["", "two words", "3d", "int", "main", "a-b", "größe"])
def test_a_name_that_c_does_not_take(name, tmp_path):
    with pytest.raises(ConfigError, match="no C identifier"):
        to_c(network(LIF), tmp_path / "none", name=name)


def test_numbers_that_are_not_finite_are_refused(tmp_path):
    net = network(LIF)
    with torch.no_grad():
        net.parts()[1].weight[0, 0] = float("nan")
    with pytest.raises(ConfigError, match=r"layer 1.*weight holds numbers that are not finite"):
        to_c(net, tmp_path / "none")
    assert not (tmp_path / "none").exists()


def test_sums_of_many_numbers_cannot_overflow():
    """Inputs of a wide graded layer get fewer bits, so that every sum fits an int32."""
    torch.manual_seed(0)
    net = srnn.Stack(
        srnn.Layer(4, 2000, srnn.cells.Dense(), Relu(), recurrent=False), srnn.Readout(2000, 2)
    ).eval()
    with torch.no_grad():
        net.parts()[1].weight.fill_(0.3)
    made = to_integer(net, 8, torch.ones(1, 3, 4) * 0.7)
    assert made.layers[1].seen.limit == 2**13 - 1
    assert 127 * 2000 * made.layers[1].seen.limit < 2**31
    assert made.input.limit == 2**15 - 1
