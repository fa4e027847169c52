"""The triton backend, beyond the parity of every neuron (`test_parity`): shapes, models, types of
products, errors, and compilation without a GPU.

Runs under TRITON_INTERPRET=1 (`make test-triton`) or on a GPU; what needs Triton's compiler starts
a process without the interpreter.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import Tensor

import srnn
from srnn._check import ConfigError
from srnn.activations import Identity, Soft, Spike
from srnn.init import Constant, Normal
from srnn.kernels import cpu, gpu, scan
from srnn.surrogates import FastSigmoid
from srnn.training.runs import Run, load_checkpoint
from srnn.training.train import fit, fit_together

pytestmark = pytest.mark.triton
runs = pytest.mark.skipif(
    not (gpu.interpreting() or torch.cuda.is_available()),
    reason="no GPU, and TRITON_INTERPRET is not 1",
)
DEVICE = "cpu" if gpu.interpreting() or not torch.cuda.is_available() else "cuda"
ROOT = Path(__file__).parents[2]
WAYS = ("persistent", "stepwise", "pointwise")


@pytest.fixture
def way(request, monkeypatch):
    monkeypatch.setattr(gpu, "STEPWISE", request.param == "stepwise")
    if gpu.interpreting():
        monkeypatch.setattr(gpu, "TILE", 1024)
    return request.param


each_way = pytest.mark.parametrize("way", WAYS, indirect=True)


def layer(
    inputs: int, n: int, way: str = "persistent", activation: object = None, **more: object
) -> srnn.Layer:
    """A layer that fires now and then, or a smooth one."""
    torch.manual_seed(n)
    made = srnn.Layer(
        inputs,
        n,
        srnn.ALIF(tau_m=Normal(4.0, 1.0), tau_adp=Normal(9.0, 1.0), b0=0.1),
        activation,
        recurrent=way != "pointwise",
        **more,
    )
    made.weight.data *= 2
    return made.to(DEVICE)


def job(net: srnn.Layer, x: Tensor, lengths: Tensor | None = None) -> scan.Job:
    """What a layer asks of `scan.run_many`."""
    weight, bias, recurrent = net.connections()
    coeffs = net.neuron.coeffs(net.constants())
    return scan.Job(
        net.neuron,
        net.activation,
        x,
        recurrent,
        coeffs,
        net.start(len(x)),
        weight,
        bias,
        lengths,
        True,
        "triton",
    )


def results(
    net: srnn.Layer, x: Tensor, backend: str, lengths: Tensor | None = None, state: object = None
) -> dict[str, Tensor]:
    """Outputs, final state and all gradients of a loss over all of them."""
    x = x.clone().requires_grad_()
    net.zero_grad()
    out = net(x, lengths, state, potential=True, backend=backend)
    found = {"output": out.output, "potential": out.potential, **out.state}
    generator = torch.Generator().manual_seed(1)
    sum(
        (v * torch.randn(v.shape, generator=generator).to(v)).sum() for v in found.values()
    ).backward()
    grads = {
        f"d {name}": p.grad.clone() for name, p in net.named_parameters() if p.grad is not None
    }
    return {**{k: v.detach() for k, v in found.items()}, **grads, "d x": x.grad}


def assert_same(got: dict[str, Tensor], wanted: dict[str, Tensor], tolerance: float = 2e-5) -> None:
    assert set(got) == set(wanted)
    assert len(got) >= 8
    for name, value in wanted.items():
        assert torch.isfinite(got[name]).all(), name
        torch.testing.assert_close(
            got[name],
            value,
            rtol=0,
            atol=tolerance * max(1.0, float(value.abs().max())),
            msg=lambda m, name=name: f"{name}: {m}",
        )


# ── shapes ────────────────────────────────────────────────────────────────────────────────────────


@runs
@each_way
@pytest.mark.parametrize(
    ("batch", "steps", "n"),
    [(1, 1, 1), (3, 2, 16), (17, 3, 5), (2, 5, 17), (2, 2, 33), (1, 2, 140)],
)
def test_odd_shapes(way, batch, steps, n):
    """One step, one neuron, one recording, neither a multiple of a tile nor a power of two; more
    neurons than R is kept of.
    """
    net = layer(3, n, way, Soft(FastSigmoid()))
    x = torch.randn(batch, steps, 3).to(DEVICE)
    assert_same(results(net, x, "triton"), results(net, x, "reference"))


@runs
@each_way
def test_lengths_and_what_lies_beyond_them(way):
    net, lengths = layer(3, 6, way, Soft(FastSigmoid())), torch.tensor([4, 0, 1, 6])
    x = torch.randn(4, 6, 3)
    past = torch.arange(6) >= lengths.unsqueeze(1)
    x[past] = torch.nan
    x, start = x.to(DEVICE), {k: torch.rand(4, 6, device=DEVICE) for k in ("u", "eta", "s")}
    got = results(net, x, "triton", lengths.to(DEVICE), start)
    assert_same(got, results(net, x, "reference", lengths.to(DEVICE), start))
    assert not got["output"][past.to(DEVICE)].any()
    assert not got["d x"][past.to(DEVICE)].any()
    assert torch.equal(got["u"][1], start["u"][1])


@runs
@each_way
def test_views_and_unused_outputs(way):
    """Expanded and transposed inputs; a loss that sees one output only, and none of the weights."""
    net = layer(3, 6, way, Soft(FastSigmoid()))
    x = torch.randn(3, 1, 5, device=DEVICE).transpose(0, 2).expand(5, 4, 3)
    found = {}
    for backend in ("triton", "reference"):
        with torch.no_grad():
            silent = net(x, backend=backend)
        assert silent.potential is None
        assert not silent.output.requires_grad
        net.requires_grad_(False)
        leaf = x.clone().requires_grad_()
        net(leaf, backend=backend, potential=True).potential[:, -1].sum().backward()
        net.requires_grad_()
        found[backend] = silent.output, leaf.grad
    for got, wanted in zip(*found.values(), strict=True):
        torch.testing.assert_close(got, wanted, atol=1e-5, rtol=1e-5)


@runs
@each_way
def test_in_pieces_as_in_one(way):
    """State handed on: the same bits, and the gradient of the whole."""
    net, x = layer(3, 6, way), torch.randn(4, 6, 3, device=DEVICE) * 3
    whole = net(x, potential=True, backend="triton")
    first = net(x[:, :2].contiguous(), potential=True, backend="triton")
    rest = net(x[:, 2:].contiguous(), None, first.state, potential=True, backend="triton")
    assert torch.equal(torch.cat([first.potential, rest.potential], 1), whole.potential)
    assert all(torch.equal(rest.state[k], whole.state[k]) for k in whole.state)
    assert 0 < whole.output.mean() < 1
    grads = [
        torch.autograd.grad(made.potential[:, -1].sum(), net.weight, retain_graph=True)[0]
        for made in (rest, whole)
    ]
    torch.testing.assert_close(*grads, atol=1e-5, rtol=1e-5)


@runs
@each_way
def test_two_calls_give_the_same_bits(way):
    net, x = layer(3, 20, way), torch.randn(20, 4, 3, device=DEVICE) * 3
    one, other = results(net, x, "triton"), results(net, x, "triton")
    assert all(torch.equal(one[k], other[k]) for k in one)


@runs
@each_way
def test_on_a_dyadic_grid_spikes_are_those_of_the_reference(way):
    """Sums that are exact in every type: weights in 16ths, decays 1/2."""
    torch.manual_seed(0)
    neuron, n = srnn.ALIF(beta=1.0, b0=0.125), 12
    net = srnn.Layer(4, n, neuron, recurrent=way != "pointwise").to(DEVICE)
    for p in (net.weight, net.bias, *([] if net.recurrent is None else [net.recurrent])):
        p.data = torch.randint(-8, 9, p.shape).to(p) / 16
    half = 1 / torch.log(torch.tensor(2.0)).item()
    net.constants.tau_m.data.fill_(half)
    net.constants.tau_adp.data.fill_(half)
    x = torch.randint(0, 2, (6, 6, 4)).float().to(DEVICE)
    exact = {k: v.round(decimals=6) for k, v in net.neuron.coeffs(net.constants()).items()}
    assert torch.equal(exact["alpha"], torch.full_like(exact["alpha"], 0.5))
    run = [
        scan.run(
            neuron,
            Spike(),
            x,
            net.recurrent,
            exact,
            net.start(6),
            weight=net.weight,
            bias=net.bias,
            potential=True,
            backend=b,
        )
        for b in ("triton", "reference")
    ]
    assert torch.equal(run[0].output, run[1].output)
    assert torch.equal(run[0].potential, run[1].potential)
    assert 0.05 < run[0].output.mean() < 0.9


# ── models ────────────────────────────────────────────────────────────────────────────────────────


@runs
@each_way
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_models_in_one_launch_are_each_as_alone(way, dtype, monkeypatch):
    """Three seeds, each with its own batch: the same bits; stepwise, whose products are taken for
    all, up to rounding.
    """
    nets = [layer(3, 6, way, dtype=dtype) for _ in range(3)]
    for k, net in enumerate(nets):
        net.weight.data *= 1 + k
    xs, lengths = (
        [torch.randn(4, 5, 3, device=DEVICE, dtype=dtype) * 3 for _ in nets],
        [torch.randint(0, 6, (4,), device=DEVICE) for _ in nets],
    )

    def jobs() -> list[scan.Job]:
        return [job(net, x, ends) for net, x, ends in zip(nets, xs, lengths, strict=True)]

    def gradients(made: list[scan.Scanned]) -> list[Tensor]:
        for net in nets:
            net.zero_grad()
        sum((run.output + run.potential).sum() + run.state["u"].sum() for run in made).backward()
        return [p.grad for net in nets for p in net.parameters() if p.grad is not None]

    launches = []
    launch = gpu.Kernel._launch
    monkeypatch.setattr(
        gpu.Kernel,
        "_launch",
        lambda self, name, *rest: (launches.append(name), launch(self, name, *rest)),
    )
    together = scan.run_many(jobs())
    got = gradients(together)
    shared = len(launches)
    alone = [scan.run_many([j])[0] for j in jobs()]
    wanted = gradients(alone)
    assert len(launches) - shared == 3 * shared  # so many more, one after the other
    exact = way == "pointwise" or (way == "persistent" and dtype is torch.float32)
    assert len(got) == len(wanted) >= 3 * 4
    for a, b in zip(
        [*(r.potential for r in together), *got],
        [*(r.potential for r in alone), *wanted],
        strict=True,
    ):
        assert torch.equal(a, b) if exact else torch.allclose(a, b, rtol=1e-4, atol=1e-5)
    assert all(torch.equal(a.output, b.output) for a, b in zip(together, alone, strict=True))
    assert all(0 < r.output.mean() < 1 for r in together)


@runs
@each_way
def test_models_with_other_batches_and_lengths_share_a_launch(way):
    """One has fewer recordings, one fewer steps, two have no lengths: outputs, states and gradients
    are those of each alone.
    """
    nets, sizes = [layer(3, 6, way) for _ in range(3)], [(4, 5), (2, 5), (4, 3)]
    xs = [torch.randn(*size, 3, device=DEVICE) * 3 for size in sizes]
    given = [None, torch.tensor([5, 2], device=DEVICE), None]
    made = []
    for joint in (True, False):
        jobs = []
        for net, x, ends in zip(nets, xs, given, strict=True):
            net.zero_grad()
            jobs.append(job(net, x, ends))
        assert len({scan.alike(j) for j in jobs}) == 1
        runs = scan.run_many(jobs) if joint else [scan.run_many([j])[0] for j in jobs]
        assert [r.output.shape[:2] for r in runs] == sizes
        sum(r.potential.square().sum() + r.state["u"].sum() for r in runs).backward()
        found = [
            *(r.output for r in runs),
            *(r.state[k] for r in runs for k in r.state),
            *(p.grad for net in nets for p in net.parameters()),
        ]
        made.append([t.detach().clone() for t in found if t is not None])
    assert len(made[0]) == len(made[1]) >= 3 * 8
    for a, b in zip(*made, strict=True):
        torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-5)


# ── types of products ─────────────────────────────────────────────────────────────────────────────


@runs
@each_way
@pytest.mark.parametrize("kind", [torch.bfloat16, torch.float16])
def test_under_autocast_factors_are_rounded_and_nothing_else(way, kind):
    """W, R and x as the 16-bit type has them; sums, states and outputs in float32: the spikes are
    those of the rounded network.
    """
    net, x = layer(3, 12, way), torch.randn(4, 6, 3, device=DEVICE) * 3
    with torch.autocast(DEVICE, kind):
        assert (
            f"products in {str(kind).removeprefix('torch.')}" in net.which_backend("triton").reason
        )
        got = results(net, x, "triton")
    assert got["output"].dtype is got["potential"].dtype is torch.float32
    rounded = layer(3, 12, way)
    for p in (rounded.weight, *([] if rounded.recurrent is None else [rounded.recurrent])):
        p.data = p.data.to(kind).to(p.dtype)
    wanted = results(rounded, x.to(kind).float(), "reference")
    assert torch.equal(got["output"], wanted["output"])
    assert 0 < got["output"].mean() < 1
    torch.testing.assert_close(got["potential"], wanted["potential"], atol=1e-5, rtol=1e-5)
    for name in (k for k in got if k.startswith("d ")):  # gradients of weights are products too
        scale = float(wanted[name].abs().max())
        torch.testing.assert_close(got[name], wanted[name], atol=0.02 * scale, rtol=0.02)
    plain = results(net, x, "reference")
    assert not torch.equal(plain["potential"], got["potential"])


@runs
def test_products_are_taken_in_float32_unless_the_user_allows_less(monkeypatch):
    net = layer(3, 20)
    assert net.which_backend("triton") == (
        "triton",
        "persistent: R (20 × 20) on the chip, products in float32 (tf32x3)",
    )
    assert layer(3, 300).which_backend("triton") == (
        "triton",
        "stepwise: a product and a kernel a step, products in float32",
    )
    assert (
        layer(3, 300, "pointwise").which_backend("triton").reason
        == "pointwise: no R, products in float32"
    )
    assert layer(3, 20, dtype=torch.float64).which_backend("triton").reason == (
        "stepwise: a product and a kernel a step, products in float64"
    )
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high")
    try:
        assert net.which_backend("triton").reason == (
            "persistent: R (20 × 20) on the chip, products in tf32"
        )
        net(torch.randn(2, 3, 3, device=DEVICE), backend="triton")
        assert torch.get_float32_matmul_precision() == "high"
    finally:
        torch.set_float32_matmul_precision(before)


@pytest.mark.parametrize(
    ("n", "gates", "product", "shared", "name"),
    [
        (128, 1, "float32", gpu.SHARED, "persistent"),
        (129, 1, "float32", gpu.SHARED, "stepwise"),
        (128, 1, "float32", 100 * 1024, "stepwise"),
        (64, 4, "float32", gpu.SHARED, "persistent"),
        (128, 2, "float32", gpu.SHARED, "stepwise"),
        (128, 2, "tf32", gpu.SHARED, "persistent"),
        (256, 1, "bfloat16", gpu.SHARED, "persistent"),
        (257, 1, "bfloat16", gpu.SHARED, "stepwise"),
        (256, 1, "tf32", gpu.SHARED, "stepwise"),
        (256, 1, "float16", 100 * 1024, "stepwise"),
        (16, 1, "float64", gpu.SHARED, "stepwise"),
    ],
)
def test_the_way_follows_from_the_size(n, gates, product, shared, name):
    way = gpu.plan(n, gates, True, product, shared)
    assert way.name == name
    assert gpu.plan(n, gates, False, product, shared).name == "pointwise"
    assert way.width >= n or name != "persistent"


# ── torch ─────────────────────────────────────────────────────────────────────────────────────────


@runs
def test_a_network_trains_as_by_the_reference():
    """Three steps of Adam on a network of two layers and a read-out."""
    losses = {}
    for backend in ("triton", "reference"):
        torch.manual_seed(0)
        net = srnn.Stack(
            srnn.Layer(3, 8, srnn.ALIF(), Soft()),
            srnn.Layer(8, 8, srnn.AdLIF(), Soft(), norm=srnn.nn.layers.BatchNorm()),
            srnn.Readout(8, 3),
        )
        net = net.to(DEVICE)
        optimiser, x = torch.optim.Adam(net.parameters(), lr=0.05), torch.randn(6, 5, 3).to(DEVICE)
        y, rows = torch.tensor([0, 1, 2, 0, 1, 2], device=DEVICE), []
        for _ in range(3):
            optimiser.zero_grad()
            loss = torch.nn.functional.cross_entropy(net(x, backend=backend).potential.sum(1), y)
            loss.backward()
            optimiser.step()
            rows.append(float(loss))
        losses[backend] = rows
    assert losses["triton"] == pytest.approx(losses["reference"], rel=1e-4)
    assert losses["triton"][-1] < losses["triton"][0]


@runs
def test_a_second_derivative_is_refused():
    net, x = layer(3, 4, activation=Soft()), torch.randn(2, 3, 3, device=DEVICE, requires_grad=True)
    (grad,) = torch.autograd.grad(
        net(x, backend="triton").output.square().sum(), net.recurrent, create_graph=True
    )
    with pytest.raises(ConfigError, match="cpu and triton backends have no second derivative"):
        grad.sum().backward()


@runs
def test_the_operation_says_its_shapes():
    """What torch.compile and torch.export ask of an operation."""
    net, x = layer(3, 6), torch.randn(1, 2, 4, 3, device=DEVICE)
    coeffs = net.neuron.coeffs(net.constants())
    constants = scan.constants_of(net.activation, coeffs, x.new_empty(1, 6)).detach().unsqueeze(0)
    key = cpu.register(net.neuron, net.activation)
    scan.choose("triton", key, DEVICE, torch.float32)
    args = (
        key,
        x,
        net.weight.detach().unsqueeze(0),
        None,
        net.recurrent.detach().unsqueeze(0),
        constants,
        x.new_zeros(1, 3, 2, 6),
        None,
    )
    torch.library.opcheck(
        torch.ops.srnn.scan_models,
        (*args, True, True, 1, 4, "float32"),
        test_utils=("test_schema", "test_faketensor"),
    )
    saved = torch.ops.srnn.scan_models(*args, False, True, 1, 4, "float32")
    rest = (saved[0], saved[3], saved[4], torch.ones_like(saved[0]), None, None, True, 4, "float32")
    torch.library.opcheck(
        torch.ops.srnn.scan_models_backward,
        (*args, *rest),
        test_utils=("test_schema", "test_faketensor"),
    )


@runs
def test_too_many_numbers_for_a_launch_are_refused():
    given = cpu.Inputs(
        torch.empty(1, 1, 1, device="meta").expand(1, 2**16, 2**10).unsqueeze(-1),
        None,
        None,
        None,
        None,
        None,
        None,
    )
    given = given._replace(state=torch.empty(1, 3, 1, 64, device="meta").expand(1, 3, 2**16, 64))
    with pytest.raises(
        ConfigError, match=re.escape("4,294,967,296 currents; expected fewer than 2,147,483,648")
    ):
        gpu._check_size(given, 1)


@runs
def test_a_step_that_is_not_elementwise_is_named():
    class Odd(srnn.ALIF):
        def step(self, I, s, state, c):
            x, new = super().step(I, s, state, c)
            return x.cumsum(-1), new

    odd = srnn.Layer(2, 3, Odd(), Identity()).to(DEVICE)
    with pytest.raises(
        ConfigError,
        match=r'backend="triton" cannot run this layer: Odd.step: '
        r"aten.cumsum",
    ):
        odd(torch.zeros(1, 2, 2, device=DEVICE), backend="triton")


@runs
def test_constants_of_every_kind(monkeypatch):
    """Trained and fixed, one for all neurons and one each: every gradient arrives."""
    torch.manual_seed(0)
    net = srnn.Layer(
        3,
        5,
        srnn.ALIF(
            tau_m=Constant(3.0, shared=True),
            tau_adp=Normal(9.0, 1.0, train=False),
            beta=Constant(0.7),
        ),
        Soft(),
    ).to(DEVICE)
    x = torch.randn(4, 6, 3, device=DEVICE)
    assert_same(results(net, x, "triton"), results(net, x, "reference"))


@runs
def test_seeds_in_lockstep_share_launches_and_are_each_as_alone(tmp_path, monkeypatch):
    """Training, validation and test of two seeds through the kernels: each run's results are those
    of it alone, its weights up to rounding.
    """
    monkeypatch.setattr(gpu, "TILE", 1024 if gpu.interpreting() else gpu.TILE)
    from uneven import BASE, Uneven

    task = replace(BASE, data=Uneven(train=4), epochs=1)
    launches, launch = [], gpu.Kernel._launch

    def noted(self, name, way, arrays, shape, *rest):
        launches.append(shape[0])
        launch(self, name, way, arrays, shape, *rest)

    monkeypatch.setattr(gpu.Kernel, "_launch", noted)
    fits = [
        partial(fit, task, tmp_path / f"s{k}", seed=k, backend="triton", device=DEVICE)
        for k in range(2)
    ]
    together = fit_together(fits)
    assert all(isinstance(r, dict) for r in together), together
    assert launches.count(2) > 0.8 * len(launches) > 5
    launches.clear()
    alone = fit(task, tmp_path / "alone", seed=1, backend="triton", device=DEVICE)
    assert set(launches) == {1}
    for key in ("epochs", "test_accuracy", "validation_accuracy", "parameters", "test_confusion"):
        assert alone[key] == together[1][key]
    assert alone["test_loss"] == pytest.approx(together[1]["test_loss"], rel=1e-5)
    assert alone["backend"] == "triton"
    weights = [
        load_checkpoint(Run(tmp_path / name).checkpoint("last"))[0] for name in ("s1", "alone")
    ]
    # batches of other lengths are summed in other blocks
    for key in (k for k in weights[0] if k.startswith("net.")):
        torch.testing.assert_close(weights[0][key], weights[1][key], atol=1e-5, rtol=1e-5)


# ── compiled without a GPU ────────────────────────────────────────────────────────────────────────


def test_kernels_compile_ahead_of_time():
    """A sample of `python -m benchmarks.gpu_compile --all`, in a process without the interpreter:
    both directions, two ways, two architectures.
    """
    pytest.importorskip("triton")
    code = """
from benchmarks import gpu_compile as g
todo = [job for k, job in enumerate(g.jobs(True, tuple(g.ARCHITECTURES))) if k % 41 in (0, 20)]
found = [g.one(job) for job in todo]
bad = [f for f in found if isinstance(f, str)]
assert not bad, bad
kinds = {(r.way.name, r.name, r.arch) for r in found}
print(len(found), len({r.what for r in found}), len(kinds), max(r.registers for r in found))
"""
    environment = {k: v for k, v in os.environ.items() if k != "TRITON_INTERPRET"}
    environment["PYTHONPATH"] = os.pathsep.join([str(ROOT / "src"), str(ROOT)])
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=environment,
        timeout=280,
    )
    assert done.returncode == 0, done.stderr
    kernels, models, kinds, registers = map(int, done.stdout.split())
    assert kernels >= 32
    assert models >= 20
    assert kinds == 8
    assert 16 < registers <= 255


@runs
def test_the_script_for_a_gpu_runs():
    """`python -m benchmarks.gpu --dry`: the tables that a GPU is to fill, tiny, under the
    interpreter; parity holds there too.
    """
    if not gpu.interpreting():
        pytest.skip("on a GPU it is run for itself")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(ROOT)])}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "benchmarks.gpu", "--dry"],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=environment,
        timeout=280,
    )
    assert done.returncode == 0, done.stderr
    for words in (
        "Parity with the reference loop",
        "times say nothing",
        "outputs of each are those of it alone",
        "An epoch",
        "torch.nn.LSTM",
    ):
        assert words in done.stdout
