"""Every op in the registry, by its row in the table: values, gradients to second order, linearity, layouts, errors."""

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from op_table import ROWS

import minigrad as mg
from minigrad.testing import LAYOUTS

NAMES = sorted(ROWS)
DIFFERENTIABLE = [name for name in NAMES if ROWS[name].differentiable]


def outputs(result):
    return list(result) if isinstance(result, tuple) else [result]


def tensors(row, arrays, dtype=None):
    """The arrays as tensors that require grad where the op has one."""
    made = []
    for i, a in enumerate(arrays):
        floating = a.dtype.kind == "f" and i not in row.constants
        made.append(mg.tensor(a if dtype is None or a.dtype.kind != "f" else a.astype(dtype), requires_grad=floating))
    return made


def function(name, kwargs):
    """The op as a function of tensors alone; of several outputs those that are floating."""
    return lambda *xs: tuple(y for y in outputs(mg.OPS[name](*xs, **kwargs)) if y.dtype.kind == "f")


def has_gradient(row, arrays):
    return any(a.dtype.kind == "f" and i not in row.constants for i, a in enumerate(arrays))


def is_large(arrays):
    """Whether the whole Jacobian takes too long."""
    return sum(a.size for a in arrays) > 500


def test_every_registered_op_has_a_row():
    assert sorted(name for name, op in mg.OPS.items() if op.builtin) == NAMES


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@settings(max_examples=8)
@given(data=st.data())
def test_values_agree_with_the_reference(name, dtype, data):
    row = ROWS[name]
    arrays, kwargs = row.draw(data.draw)
    arrays = [a.astype(dtype) if a.dtype.kind == "f" else a for a in arrays]
    expected = outputs(row.reference(*arrays, **kwargs))
    found = outputs(mg.OPS[name](*arrays, **kwargs))
    assert len(found) == len(expected)
    for y, right in zip(found, expected, strict=True):
        tolerance = 3e-5 if dtype == np.float32 else 1e-12
        assert y.shape == np.shape(right)
        np.testing.assert_allclose(y, right, rtol=tolerance, atol=tolerance)
    if name != "cast":
        assert all(y.dtype == dtype for y in found if y.dtype.kind == "f")


def big_endian(a):
    return a.astype(a.dtype.newbyteorder(">"))


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=4)
@given(data=st.data())
def test_memory_layout_makes_no_difference_and_inputs_stay_as_they_are(name, data):
    row = ROWS[name]
    arrays, kwargs = row.draw(data.draw)
    expected = outputs(mg.OPS[name](*arrays, **kwargs))
    for lay_out in [*LAYOUTS.values(), big_endian]:
        laid_out = [lay_out(a) for a in arrays]
        found = outputs(mg.OPS[name](*laid_out, **kwargs))
        for y, right, x, given_ in zip(found, expected, laid_out, arrays, strict=False):
            np.testing.assert_array_equal(y, right)
            np.testing.assert_array_equal(x, given_)


@pytest.mark.parametrize("name", DIFFERENTIABLE)
@settings(max_examples=6)
@given(data=st.data())
def test_first_derivatives_agree_with_differences(name, data):
    row = ROWS[name]
    arrays, kwargs = row.draw(data.draw)
    if has_gradient(row, arrays):
        mg.gradcheck(function(name, kwargs), tensors(row, arrays), fast_mode=is_large(arrays))


@pytest.mark.parametrize("name", DIFFERENTIABLE)
@settings(max_examples=4)
@given(data=st.data())
def test_second_derivatives_agree_with_differences(name, data):
    row = ROWS[name]
    arrays, kwargs = row.draw(data.draw)
    if has_gradient(row, arrays):
        mg.gradcheck(function(name, kwargs), tensors(row, arrays), order=2, fast_mode=is_large(arrays))


@pytest.mark.parametrize("name", DIFFERENTIABLE)
@settings(max_examples=4)
@given(data=st.data())
def test_gradients_are_the_same_whether_they_are_recorded_or_not(name, data):
    """A rule may take a kernel for arrays and ops for tensors; output by output, since such a kernel may need that."""
    row = ROWS[name]
    arrays, kwargs = row.draw(data.draw)
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    xs = tensors(row, arrays)
    leaves = [x for x in xs if x.requires_grad]
    for y in outputs(mg.OPS[name](*xs, **kwargs)):
        if y.requires_grad:
            dy = rng.standard_normal(y.shape)
            plain, recorded = (
                mg.grad(y, leaves, dy, allow_unused=True, retain_graph=True, create_graph=create_graph)
                for create_graph in (False, True)
            )
            for a, b in zip(plain, recorded, strict=True):
                if a is not None:
                    np.testing.assert_allclose(a.data, b.data, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("name", DIFFERENTIABLE)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@settings(max_examples=4)
@given(data=st.data())
def test_gradients_keep_the_dtype_and_shape_of_their_inputs(name, dtype, data):
    row = ROWS[name]
    arrays, kwargs = row.draw(data.draw)
    xs = tensors(row, arrays, dtype)
    leaves = [x for x in xs if x.requires_grad]
    ys = [y for y in outputs(mg.OPS[name](*xs, **kwargs)) if y.requires_grad]
    gradients = mg.grad(ys, leaves, [np.ones(y.shape) for y in ys])
    for x, dx in zip(leaves, gradients, strict=True):
        assert dx.dtype == x.dtype == dtype
        assert dx.shape == x.shape


@pytest.mark.parametrize(("name", "position"), [(name, i) for name in NAMES for i in ROWS[name].linear])
@settings(max_examples=5)
@given(data=st.data())
def test_linear_ops_satisfy_the_adjoint_identity(name, position, data):
    """<K x, y> = <x, K' y>, to rounding: with K the op as a function of one input."""
    row = ROWS[name]
    arrays, kwargs = row.draw(data.draw)
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    xs = [mg.tensor(a) for a in arrays]
    x = xs[position].requires_grad_()
    y = mg.OPS[name](*xs, **kwargs)
    dy = rng.standard_normal(y.shape)
    (dx,) = mg.grad(y, x, dy)
    left, right = np.sum(y.data * dy), np.sum(x.data * dx.data)
    scale = np.sum(np.abs(y.data * dy)) + np.sum(np.abs(x.data * dx.data))
    assert abs(left - right) <= 1e-13 * scale + 1e-300


ERRORS = [(name, i) for name in NAMES for i in range(len(ROWS[name].errors))]


@pytest.mark.parametrize(("name", "number"), ERRORS)
def test_bad_inputs_are_refused_with_a_reason(name, number):
    arrays, kwargs, error, words = ROWS[name].errors[number]
    with pytest.raises(error, match=words):
        mg.OPS[name](*arrays, **kwargs)


def scaled(rule, position, masked):
    """A rule whose gradient by one input is 1 % too large."""

    def wrong(dy, *saved, **needs):
        result = rule(dy, *saved, **needs)
        gradients = list(result) if isinstance(result, tuple) else [result]
        if gradients[position] is not None:
            gradients[position] = gradients[position] * 1.01
        return tuple(gradients)

    return wrong


FLAT = {"sign", "floor", "ceil", "round", "floor_divide"}  # their gradient is 0: nothing to scale


@pytest.mark.parametrize("name", [name for name in DIFFERENTIABLE if name not in FLAT])
def test_a_rule_that_is_one_percent_off_is_caught_input_by_input(name, monkeypatch):
    row, op = ROWS[name], mg.OPS[name]
    caught = set()
    floating: set[int] = set()
    right = op.rule

    @settings(max_examples=8, database=None)
    @given(data=st.data())
    def hunt(data):
        arrays, kwargs = row.draw(data.draw)
        for i, a in enumerate(arrays):
            if a.dtype.kind != "f" or i in row.constants:
                continue
            floating.add(i)
            if i in caught:
                continue
            xs = [mg.tensor(b, requires_grad=j == i) for j, b in enumerate(arrays)]
            monkeypatch.setattr(op, "rule", scaled(right, i, op.masked))
            try:
                verdict = mg.gradcheck(
                    function(name, kwargs), xs, fast_mode=is_large(arrays), raise_exception=False
                ).verdict
            finally:
                monkeypatch.setattr(op, "rule", right)
            if verdict == "fail":
                caught.add(i)

    hunt()
    assert caught == floating != set()
