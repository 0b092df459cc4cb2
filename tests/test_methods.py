"""The methods of tensors agree with NumPy, also where there is nothing, a tie, or no number."""

import numpy as np
import pytest
from hypothesis import given, strategies as st
from hypothesis.extra import numpy as hnp

import minigrad as mg

RNG = np.random.default_rng(9)
A = RNG.uniform(0.1, 0.9, (2, 3, 4))
LOWER = RNG.uniform(0.2, 0.4, (3, 4))


def weights(*shape):
    return RNG.normal(size=shape)


AGREE = {
    "abs": (lambda x: (x - 0.5).abs(), lambda a: np.abs(a - 0.5)),
    "sqrt": (lambda x: x.sqrt(), np.sqrt),
    "exp": (lambda x: x.exp(), np.exp),
    "log": (lambda x: x.log(), np.log),
    "sin": (lambda x: x.sin(), np.sin),
    "cos": (lambda x: x.cos(), np.cos),
    "tan": (lambda x: x.tan(), np.tan),
    "asin": (lambda x: x.asin(), np.arcsin),
    "acos": (lambda x: x.acos(), np.arccos),
    "atan": (lambda x: x.atan(), np.arctan),
    "sinh": (lambda x: x.sinh(), np.sinh),
    "cosh": (lambda x: x.cosh(), np.cosh),
    "tanh": (lambda x: x.tanh(), np.tanh),
    "sign": (lambda x: (x - 0.5).sign(), lambda a: np.sign(a - 0.5)),
    "floor": (lambda x: (x * 9).floor(), lambda a: np.floor(a * 9)),
    "ceil": (lambda x: (x * 9).ceil(), lambda a: np.ceil(a * 9)),
    "round": (lambda x: (x * 9).round(), lambda a: np.round(a * 9)),
    "relu": (lambda x: (x - 0.5).relu(), lambda a: np.maximum(a - 0.5, 0)),
    "sigmoid": (lambda x: x.sigmoid(), lambda a: 1 / (1 + np.exp(-a))),
    "isnan": (lambda x: x.isnan(), np.isnan),
    "isfinite": (lambda x: x.isfinite(), np.isfinite),
    "pow": (lambda x: x.pow(2.5), lambda a: a**2.5),
    "clip": (lambda x: x.clip(0.3, 0.6), lambda a: np.clip(a, 0.3, 0.6)),
    "clamp above": (lambda x: x.clamp(max=0.6), lambda a: np.minimum(a, 0.6)),
    "clip by tensors": (lambda x: x.clip(mg.tensor(LOWER), 0.8), lambda a: np.clip(a, LOWER, 0.8)),
    "neg": (lambda x: -(+x), np.negative),
    "rpow": (lambda x: 2**x, lambda a: 2**a),
    "floordiv": (lambda x: x // 0.3, lambda a: a // 0.3),
    "mod": (lambda x: -x % 0.3, lambda a: -a % 0.3),
    "sum": (lambda x: x.sum(), np.sum),
    "sum over two": (lambda x: x.sum((0, -1), keepdim=True), lambda a: a.sum((0, 2), keepdims=True)),
    "mean": (lambda x: x.mean(1), lambda a: a.mean(1)),
    "var": (lambda x: x.var((0, 2)), lambda a: a.var((0, 2), ddof=1)),
    "var of all": (lambda x: x.var(correction=0), np.var),
    "std": (lambda x: x.std(-1, keepdim=True), lambda a: a.std(-1, ddof=1, keepdims=True)),
    "prod": (lambda x: x.prod(1), lambda a: a.prod(1)),
    "prod of all": (lambda x: x.prod(keepdim=True), lambda a: a.prod(keepdims=True)),
    "max": (lambda x: x.max(), np.max),
    "max of all kept": (lambda x: x.max(keepdim=True), lambda a: a.max(keepdims=True)),
    "max along": (lambda x: x.max(1).values, lambda a: a.max(1)),
    "argmax of max": (lambda x: x.max(-1, keepdim=True).indices, lambda a: a.argmax(-1, keepdims=True)),
    "min along": (lambda x: x.min(0, keepdim=True)[0], lambda a: a.min(0, keepdims=True)),
    "argmin": (lambda x: x.argmin(2), lambda a: a.argmin(2)),
    "argmax of all": (lambda x: x.argmax(), np.argmax),
    "cumsum": (lambda x: x.cumsum(1), lambda a: a.cumsum(1)),
    "logsumexp": (lambda x: x.logsumexp((0, 1)), lambda a: np.log(np.exp(a).sum((0, 1)))),
    "softmax": (lambda x: x.softmax(1), lambda a: np.exp(a) / np.exp(a).sum(1, keepdims=True)),
    "log_softmax": (lambda x: x.log_softmax(0), lambda a: a - np.log(np.exp(a).sum(0))),
    "reshape": (lambda x: x.reshape(4, -1), lambda a: a.reshape(4, 6)),
    "view": (lambda x: x.view((6, 4)), lambda a: a.reshape(6, 4)),
    "permute": (lambda x: x.permute(2, 0, -2), lambda a: a.transpose(2, 0, 1)),
    "transpose": (lambda x: x.transpose(0, -1), lambda a: a.swapaxes(0, 2)),
    "T": (lambda x: x.T, np.transpose),
    "squeeze": (lambda x: x[:, :1, :1].squeeze(), lambda a: a[:, 0, 0]),
    "squeeze one": (lambda x: x[:, :1, :1].squeeze(1), lambda a: a[:, 0, :1]),
    "unsqueeze": (lambda x: x.unsqueeze(-1), lambda a: a[..., None]),
    "expand": (lambda x: x[:, :1].expand(5, -1, 3, 4), lambda a: np.broadcast_to(a[:, :1], (5, 2, 3, 4))),
    "flatten": (lambda x: x.flatten(1), lambda a: a.reshape(2, 12)),
    "flip": (lambda x: x.flip(0, 2), lambda a: np.flip(a, (0, 2))),
    "roll": (lambda x: x.roll((1, -1), (0, 2)), lambda a: np.roll(a, (1, -1), (0, 2))),
    "roll flat": (lambda x: x.roll(5), lambda a: np.roll(a, 5)),
    "split": (lambda x: x.split([1, 3], 2)[1], lambda a: a[:, :, 1:]),
    "split evenly": (lambda x: x.split(2, 1)[1], lambda a: a[:, 2:]),
    "matmul": (lambda x: x.matmul(x.transpose(1, 2)), lambda a: a @ a.swapaxes(1, 2)),
}


@pytest.mark.parametrize("name", AGREE)
def test_methods_have_numpys_values_and_derivatives_by_differences(name):
    function, reference = AGREE[name]
    x = mg.tensor(A, requires_grad=True)
    y, expected = function(x), reference(A)
    assert y.shape == np.shape(expected)
    np.testing.assert_allclose(y.detach(), expected, rtol=1e-13, atol=1e-15)
    if y.requires_grad:
        mg.gradgradcheck(function, x)


@pytest.mark.parametrize("dim", [None, 0, 1])
def test_reductions_of_nothing(dim):
    x = mg.tensor(np.zeros((0, 3)), requires_grad=True)
    shape = np.zeros((0, 3)).sum(dim).shape
    for y, value in ((x.sum(dim), 0), (x.prod(dim), 1)):
        assert y.shape == shape
        assert (y == value).data.all()
        y.backward(weights(*shape))
        assert x.grad.shape == (0, 3)
    if dim != 1:
        assert x.mean(dim).isnan().data.all()
        for choose in (x.max, x.min, x.argmax, x.argmin):
            with pytest.raises(ValueError, match=r"nothing to choose from in shape \(0,"):
                choose(dim)


@pytest.mark.parametrize(
    "function",
    [
        lambda x: x * 2 + x,
        lambda x: x.exp().reshape(3, 0),
        lambda x: x @ x.T,
        lambda x: mg.concatenate([x, x], 1),
        lambda x: x.softmax(0),
        lambda x: x.softmax(1),
        lambda x: x[:, :2],
        lambda x: mg.einsum("ij,ij->i", x, x),
        lambda x: x.T.flip(0).cumsum(0),
    ],
)
def test_empty_tensors_go_forward_and_back(function):
    x = mg.tensor(np.zeros((0, 3)), requires_grad=True)
    y = function(x)
    y.backward(weights(*y.shape))
    assert x.grad.shape == (0, 3)


def test_max_sends_the_gradient_to_the_first_of_equal_values():
    x = mg.tensor([[1.0, 3.0, 3.0], [2.0, 2.0, 1.0]], dtype=np.float64, requires_grad=True)
    dy = weights(2)
    values, indices = x.max(1)
    assert indices.tolist() == [1, 0]
    values.backward(dy)
    np.testing.assert_array_equal(x.grad, [[0, dy[0], 0], [dy[1], 0, 0]])
    x.grad = None
    x.max().backward(dy[0])
    np.testing.assert_array_equal(x.grad, [[0, dy[0], 0], [0, 0, 0]])


@pytest.mark.parametrize("name", ["max", "min"])
def test_extrema_take_the_first_nan_before_any_number(name):
    x = mg.tensor([[1.0, np.nan, np.nan], [np.inf, -np.inf, 0.0]], dtype=np.float64, requires_grad=True)
    dy = weights(2)
    values, indices = getattr(x, name)(1)
    assert indices.tolist() == [1, 0 if name == "max" else 1]
    assert np.isnan(values[0].item())
    values.backward(dy)
    assert x.grad.tolist()[0] == [0, dy[0], 0]


def test_logsumexp_neither_overflows_nor_warns():
    x = mg.tensor([[-np.inf, -np.inf], [1e4, 1e4], [np.inf, 0.0], [-np.inf, 3.0]], dtype=np.float64)
    np.testing.assert_allclose(x.logsumexp(1), [-np.inf, 1e4 + np.log(2), np.inf, 3.0], rtol=1e-15)


@pytest.mark.parametrize("function", [mg.maximum, mg.minimum])
def test_elementwise_extrema_share_the_gradient_of_a_tie(function):
    a = mg.tensor([1.0, 2.0, 3.0], dtype=np.float64, requires_grad=True)
    b = mg.tensor([2.0, 2.0, 2.0], dtype=np.float64, requires_grad=True)
    dy = weights(3)
    function(a, b).backward(dy)
    share = np.array([0, 0.5, 1]) if function is mg.maximum else np.array([1, 0.5, 0])
    np.testing.assert_array_equal(a.grad, dy * share)
    np.testing.assert_array_equal(b.grad, dy * (1 - share))


@given(
    hnp.arrays(np.float64, hnp.array_shapes(max_dims=2, max_side=5), elements=st.sampled_from([0.0, 0.0, 1.5, -2.0])),
    st.integers(0, 99),
)
def test_prod_has_exact_derivatives_beside_zeros(array, seed):
    x = mg.tensor(array, requires_grad=True)
    dy = np.random.default_rng(seed).normal(size=array.shape[:-1])
    x.prod(-1).backward(dy)
    n = array.shape[-1]
    others = np.stack([np.delete(array, i, axis=-1).prod(-1) for i in range(n)], axis=-1)
    np.testing.assert_allclose(x.grad, dy[..., None] * others, rtol=1e-14, atol=0)


@pytest.mark.parametrize("zeros", [0, 1, 2])
def test_prod_has_second_derivatives_beside_zeros(zeros):
    array = np.array([[1.5, -2.0, 0.7, 1.2, 0.4]])
    array[0, :zeros] = 0
    mg.gradgradcheck(lambda x: x.prod(1), mg.tensor(array, requires_grad=True))


@pytest.mark.parametrize("exponent", [0, 1, 2, 3, 2.5, np.array([0.0, 1.0, 2.0])])
def test_powers_of_zero_have_finite_derivatives_where_they_exist(exponent):
    x = mg.tensor([0.0, 0.0, 0.0], dtype=np.float64, requires_grad=True)
    dy = weights(3)
    (g,) = mg.grad(x**exponent, x, dy, create_graph=True)
    np.testing.assert_array_equal(g.detach(), np.where(np.asarray(exponent) == 1, dy, 0.0))
    if np.ndim(exponent) == 0:
        (gg,) = mg.grad(g, x, np.ones(3), allow_unused=True)
        np.testing.assert_array_equal(gg, 2 * dy if exponent == 2 else np.zeros(3))


def test_power_has_mixed_second_derivatives_at_exponent_zero():
    a = mg.tensor([0.5, 2.0], dtype=np.float64, requires_grad=True)
    b = mg.tensor([0.0, 0.0], dtype=np.float64, requires_grad=True)
    mg.gradgradcheck(lambda a, b: a**b, (a, b))


RANKS = [
    ((3,), (3,)), ((3,), (3, 4)), ((2, 3), (3,)), ((2, 3), (3, 4)), ((5, 2, 3), (3, 4)), ((2, 3), (5, 3, 4)),
    ((5, 2, 3), (3,)), ((3,), (5, 3, 4)), ((5, 2, 3), (5, 3, 4)), ((1, 2, 3), (5, 3, 4)),
    ((2, 1, 2, 3), (5, 3, 4)), ((2, 0), (0, 3)), ((0, 3), (3, 2)),
]  # fmt: skip


@pytest.mark.parametrize(("a_shape", "b_shape"), RANKS)
def test_matmul_of_all_ranks(a_shape, b_shape):
    a, b = (mg.tensor(weights(*shape), requires_grad=True) for shape in (a_shape, b_shape))
    y = a @ b
    np.testing.assert_allclose(y.detach(), a.data @ b.data, rtol=1e-13, atol=1e-14)
    mg.gradcheck(lambda a, b: a @ b, (a, b))
    if y.numel() < 20:
        mg.gradgradcheck(lambda a, b: a @ b, (a, b))


@pytest.mark.parametrize(
    ("a_shape", "b_shape", "message"),
    [
        ((2, 3), (2, 3), r"matmul: need \(\.\.\., I, R\) and \(\.\.\., R, J\), got \(2, 3\) and \(2, 3\)"),
        ((3,), (4,), "matmul: need"),
        ((), (3,), "matmul: need at least one dimension"),
        ((2, 2, 3), (3, 3, 4), "do not broadcast"),
    ],
)
def test_matrices_that_do_not_fit_are_named(a_shape, b_shape, message):
    with pytest.raises(ValueError, match=message):
        mg.tensor(np.zeros(a_shape)) @ np.zeros(b_shape)


def test_the_standard_deviation_of_equal_values_has_a_gradient_of_zero():
    x = mg.tensor([[1.0, 2.0], [1.0, 3.0]], requires_grad=True)
    (dx,) = mg.grad(x.std(0), x, np.array([3.0, 1.0], np.float32))
    np.testing.assert_allclose(dx.data, [[0, -np.sqrt(0.5)], [0, np.sqrt(0.5)]], rtol=1e-6)


def test_products_of_integers_and_booleans_are_int64():
    assert mg.tensor(np.array([20, 20], np.uint8)).prod().item() == 400
    assert mg.tensor([True, False]).prod().dtype == np.int64


def test_shapes_and_kinds_that_do_not_fit_are_refused_in_the_name_of_the_op():
    with pytest.raises(ValueError, match=r"^add: shapes \[\(2,\), \(3,\)\] do not broadcast"):
        mg.tensor([1.0, 2.0]) + mg.tensor([1.0, 2.0, 3.0])
    for function in (lambda: mg.tensor([[1.0]]) @ 2, lambda: mg.stack([1.0]), lambda: mg.einsum("ij->i", [1.0])):
        with pytest.raises(TypeError, match="need tensors or arrays, got"):
            function()


def test_rounding_keeps_booleans():
    for name in ("round", "floor", "ceil", "sign"):
        assert getattr(mg.tensor([True, False]), name)().tolist() == [True, False]
