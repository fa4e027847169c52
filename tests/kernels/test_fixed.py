"""Integer arithmetic: weights on their grid, functions within their stated errors and equal to the
C, steps close to the float step.
"""

from __future__ import annotations

import ctypes
import math

import numpy as np
import pytest
import torch
from torch import Tensor

import srnn
from srnn._check import ConfigError
from srnn.activations import Identity, Spike
from srnn.export.c_player import compile_c
from srnn.export.c_source import fixed_functions
from srnn.export.described import described
from srnn.kernels import fixed, fixed_ops
from srnn.kernels.fixed import as_fixed, fraction_for, lower, multipliers
from srnn.kernels.fixed_weights import dequantise, quantise
from srnn.kernels.graph import Graph, Op
from srnn.kernels.specialise import Special
from srnn.neurons import ALIF, LIF

FRACTIONS = (8, 13, 20, 24)
EXACT = {
    "exp": np.exp,
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "tanh": np.tanh,
    "log": np.log,
    "softplus": lambda x: np.logaddexp(0, x),
    "sqrt": np.sqrt,
}


# ── weights ───────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("bits", [2, 4, 8, 16])
def test_quantised_weights_are_near_and_stay_where_they_are(bits):
    w = torch.randn(50, 31, generator=torch.Generator().manual_seed(bits)) * torch.logspace(
        -6, 4, 50
    ).unsqueeze(1)
    w[7] = 0
    q, scale = quantise(w, bits)
    assert scale.dtype == torch.float64
    assert scale[7] == 1
    assert not q[7].any()
    assert (q.abs().amax(1)[torch.arange(50) != 7] == 2 ** (bits - 1) - 1).all()
    near = dequantise(q, scale)
    assert ((near - w).abs() <= 0.5001 * scale.unsqueeze(1)).all()
    again, same = quantise(near, bits)
    assert torch.equal(again, q)
    assert torch.equal(same, scale)
    assert torch.equal(dequantise(again, same), near)


def test_halves_round_to_even():
    q, scale = quantise(torch.tensor([[7.0, 0.5, 1.5, 2.5, -0.5, -1.5]]), 4)
    assert scale.item() == 1
    assert q.tolist() == [[7, 0, 2, 2, 0, -2]]


@pytest.mark.parametrize("bits", [1, 17, 8.0, True])
def test_bits_that_cannot_be(bits):
    with pytest.raises(ConfigError, match="bits is"):
        quantise(torch.ones(1, 1), bits)


@pytest.mark.parametrize("size", [1e-12, 3e-5, 0.99, 1.0, 7.3, 1e6])
def test_multipliers_keep_thirty_bits(size):
    values = torch.tensor([size, -size / 3, 0.0], dtype=torch.float64)
    m, shift = multipliers(values)
    assert 0 <= shift <= 62
    assert m.abs().max() <= 2**30
    assert torch.allclose(
        m.double() * 2.0**-shift, values, rtol=1e-8 if size > 1e-8 else 1e-3, atol=2.0**-shift
    )


# ── functions ─────────────────────────────────────────────────────────────────────────────────────


def arguments(name: str, fraction: int) -> Tensor:
    draw = torch.Generator().manual_seed(fraction)
    small = torch.randint(-(40 << fraction), 40 << fraction, (20000,), generator=draw).clamp(
        -(2**31), 2**31 - 1
    )
    everywhere = torch.randint(-(2**31), 2**31, (20000,), generator=draw)
    edges = torch.tensor(
        [0, 1, -1, 2**31 - 1, -(2**31), 1 << fraction, -(1 << fraction), (1 << fraction) - 1]
    )
    return torch.cat((small, everywhere, edges))


@pytest.mark.parametrize("fraction", FRACTIONS)
@pytest.mark.parametrize("name", sorted(EXACT))
def test_functions_are_within_their_stated_errors(name, fraction):
    x = arguments(name, fraction)
    if name in ("log", "sqrt"):
        x = x[x > 0]
    with np.errstate(over="ignore"):
        exact = EXACT[name](x.double().numpy() * 2.0**-fraction) * 2.0**fraction
    exact = np.clip(exact, -(2**31), 2**31 - 1)
    found = fixed_ops.OPERATIONS[name](x, fraction).numpy()
    error = np.abs(found - exact)
    guard = 2.0 ** (fraction - 30)
    allowed = {
        "exp": 0.5 + 2e-7 * exact,
        "log": 0.5 + 14 * guard,
        "softplus": 0.5 + 14 * guard,
        "sqrt": 1.0,
    }.get(name, 0.5 + 4 * guard)
    assert (error <= allowed).all(), (name, fraction, (error - allowed).max())
    assert len(error) > 15000


def test_functions_at_their_ends():
    zero = torch.tensor([0, -5, -(2**31)])
    assert fixed_ops.log(zero, 16).tolist() == [round(-17 * math.log(2) * 2**16)] * 3
    assert fixed_ops.sqrt(zero, 16).tolist() == [0, 0, 0]
    one, none = torch.tensor([5, -5, 0]), torch.tensor([0, 0, 0])
    assert fixed_ops.div(one, none, 16).tolist() == [2**31 - 1, -(2**31), 0]
    assert fixed_ops.div(torch.tensor([-7]), torch.tensor([2 << 4]), 4).tolist() == [-3]


@pytest.fixture(scope="module")
def functions(tmp_path_factory):
    """The C functions, compiled with every warning an error."""
    folder = tmp_path_factory.mktemp("fixed")
    loop = "long n, int32_t f) { for (long i = 0; i < n; i++) y[i] ="
    loops = "".join(
        f"void all_{n}(const int32_t *x, int32_t *y, {loop} {n}_fixed(x[i], f); }}\n" for n in EXACT
    )
    pairs = (
        f"void all_div(const int32_t *a, const int32_t *b, int32_t *y, {loop} "
        f"div_fixed(a[i], b[i], f); }}\n"
    )
    (folder / "f.c").write_text("#include <stdint.h>\n" + fixed_functions() + "\n" + loops + pairs)
    flags = (
        "-std=c99",
        "-O2",
        "-Wall",
        "-Wextra",
        "-Wconversion",
        "-pedantic",
        "-Werror",
        "-fsanitize=undefined",
        "-fno-sanitize-recover=all",
    )
    compile_c((str(folder / "f.c"), *flags, "-shared", "-fPIC", "-o", str(folder / "f.so")))
    return ctypes.CDLL(str(folder / "f.so"))


@pytest.mark.parametrize("fraction", FRACTIONS)
def test_c_computes_the_same_functions(functions, fraction):
    for name in EXACT:
        x = arguments(name, fraction).to(torch.int32)
        y = torch.zeros_like(x)
        getattr(functions, f"all_{name}")(
            *(ctypes.c_void_p(t.data_ptr()) for t in (x, y)), ctypes.c_long(len(x)), fraction
        )
        assert torch.equal(y.long(), fixed_ops.OPERATIONS[name](x.long(), fraction)), name
    a = arguments("div", fraction).to(torch.int32)
    b = a[torch.randperm(len(a), generator=torch.Generator().manual_seed(0))]
    b[::50] = 0
    y = torch.zeros_like(a)
    functions.all_div(
        *(ctypes.c_void_p(t.data_ptr()) for t in (a, b, y)), ctypes.c_long(len(a)), fraction
    )
    assert torch.equal(y.long(), fixed_ops.div(a.long(), b.long(), fraction))


# ── steps ─────────────────────────────────────────────────────────────────────────────────────────


def special(*ops: Op, out: str, tables: dict[str, Tensor] | None = None) -> Special:
    names = ("I", "s", *(tables or {}))
    return Special(Graph(names, ops, {"s": out}), tables or {}, ())


def test_a_product_with_a_spike_selects_and_one_minus_a_spike_is_a_bit():
    step = special(
        Op("v0", "rsub", ("s", 1.0)),
        Op("v1", "mul", ("v0", "I")),
        Op("v2", "gt", ("v1", 0.5)),
        Op("v3", "copy", ("v2",)),
        out="v3",
    )
    made = lower(step, 20, binary=True, who="here")
    assert [op.name for op in made.ops] == ["not", "select", "gt"]
    I = torch.tensor([[1 << 20, 1 << 18]])
    assert made.run({"I": I, "s": torch.zeros_like(I)})["s"].tolist() == [[1, 0]]
    assert made.run({"I": I, "s": torch.ones_like(I)})["s"].tolist() == [[0, 0]]


def test_sums_and_products_saturate():
    step = special(Op("v0", "mul", ("I", "I")), Op("v1", "add", ("v0", "I")), out="v1")
    made = lower(step, 8, binary=False, who="here")
    I = torch.tensor([[2**31 - 1, -(2**31), 300]])
    assert made.run({"I": I, "s": I})["s"].tolist() == [
        [2**31 - 1, -1, 300 + ((300 * 300 + 128) >> 8)]
    ]


@pytest.mark.parametrize(
    ("name", "args"), [("erf", ("I",)), ("pow", ("I", 1.7)), ("pow", ("I", "s"))]
)
def test_an_operation_without_integer_form_is_named(name, args):
    with pytest.raises(ConfigError, match=f"here: {name} has no integer form"):
        lower(special(Op("v0", name, args), out="v0"), 20, binary=False, who="here")


def test_every_other_operation_is_near_the_float_one():
    from srnn.kernels.interpret import interpret

    table = {"c.a": torch.tensor([0.3, -1.7, 2.9])}
    ops = [
        *(
            Op("v", name, ("I", "s"))
            for name in (
                "add",
                "sub",
                "rsub",
                "mul",
                "minimum",
                "maximum",
                "gt",
                "ge",
                "lt",
                "le",
                "eq",
                "ne",
                "div",
            )
        ),
        *(
            Op("v", name, ("I", "c.a"))
            for name in ("add", "sub", "rsub", "mul", "div", "minimum", "maximum", "gt")
        ),
        *(
            Op("v", name, ("I",))
            for name in (
                "neg",
                "relu",
                "abs",
                "sign",
                "exp",
                "expm1",
                "sigmoid",
                "tanh",
                "softplus",
                "copy",
            )
        ),
        *(Op("v", name, ("s",)) for name in ("log", "log1p", "sqrt", "reciprocal")),
        *(Op("v", "pow", ("s", exponent)) for exponent in (0.5, 2.0, 3.0, 4.0)),
        Op("v", "where", ("I", "I", "s")),
        Op("v", "and", ("I", "s")),
        Op("v", "or", ("I", "s")),
        Op("v", "not", ("I",)),
    ]
    draw = torch.Generator().manual_seed(0)
    I, s = torch.rand(200, 3, generator=draw) * 8 - 4, torch.rand(200, 3, generator=draw) * 3 + 0.2
    I[:5] = 0
    for op in ops:
        made = lower(special(op, out="v", tables=table), 20, binary=False, who="here")
        whole = {"I": as_fixed(I, 20), "s": as_fixed(s, 20)}
        near = {k: (v.double() * 2.0**-20) for k, v in whole.items()}
        exact = interpret([op], {**near, "c.a": table["c.a"].double()}, near["I"])["v"]
        found = made.run(whole)["s"].double() * 2.0**-20
        assert torch.allclose(found, exact, atol=2.0**-17, rtol=2.0**-18), op
    assert len(ops) > 40


@pytest.mark.parametrize("neuron", [ALIF(), ALIF(beta=0.0), LIF()])
def test_constants_that_are_known_leave_a_smaller_step(neuron):
    (layer,) = described(srnn.Stack(srnn.Layer(3, 4, neuron, Spike(), recurrent=False)))
    names = {op.name for op in layer.step.graph.ops}
    assert "exp" not in names
    expected = {"u"} if not hasattr(neuron, "beta") or neuron.beta == 0 else {"u", "eta"}
    assert set(layer.step.states) == expected


def test_a_state_that_only_the_potential_shows_is_kept_where_it_is_shown():
    (shown,) = described(srnn.Stack(srnn.Readout(3, 4)))
    assert shown.step.states == ("u",)
    assert "potential" in shown.step.graph.outputs
    first, _ = described(srnn.Stack(srnn.Layer(3, 4, ALIF(beta=0.0)), srnn.Readout(4, 2)))
    assert "potential" not in first.step.graph.outputs


def test_where_the_point_stands():
    assert fraction_for(0.0, "here") == 24
    assert fraction_for(50.0, "here") == 23
    assert 4 * 50.0 * 2**23 < 2**31
    with pytest.raises(ConfigError, match="here: values reach 1e\\+08"):
        fraction_for(1e8, "here")
    with pytest.raises(ConfigError, match="values reach inf"):
        fraction_for(math.inf, "here")


def test_a_division_by_a_constant_zero_is_refused():
    step = special(
        Op("v0", "div", ("I", "c.a")), out="v0", tables={"c.a": torch.tensor([1.0, 0.0])}
    )
    with pytest.raises(ConfigError, match="division by a constant that is 0"):
        lower(step, 20, binary=False, who="here")


def test_identity_layers_keep_the_format_of_their_numbers():
    assert fixed.HIGHEST == 2**31 - 1
    (layer,) = described(srnn.Stack(srnn.Layer(3, 4, ALIF(), Identity(), recurrent=False)))
    made = lower(layer.step, 20, binary=False, who="here")
    assert "s" not in made.bits
