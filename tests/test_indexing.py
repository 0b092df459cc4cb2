"""Indexing of every kind has NumPy's values, and sends each gradient to where the value came from."""

import numpy as np
import pytest
from hypothesis import given, strategies as st
from hypothesis.extra import numpy as hnp

import minigrad as mg

SHAPES = hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4)
FULL_SHAPES = hnp.array_shapes(min_dims=1, max_dims=3, min_side=1, max_side=4)


def check(shape, index, seed, given_index=None):
    """Values as NumPy's; the gradient as a sum of the cotangents over where each value was picked."""
    rng = np.random.default_rng(seed)
    array = rng.normal(size=shape)
    x = mg.tensor(array, requires_grad=True)
    y = x[index if given_index is None else given_index]
    expected = np.asarray(array[index])
    np.testing.assert_array_equal(y.detach(), expected)
    dy = rng.normal(size=expected.shape)
    y.backward(dy)
    picked = np.zeros(shape)
    np.add.at(picked, index, dy)
    np.testing.assert_allclose(x.grad, picked, rtol=1e-13, atol=1e-13)


@given(SHAPES.flatmap(lambda s: st.tuples(st.just(s), hnp.basic_indices(s, allow_newaxis=True))), st.integers(0, 99))
def test_slices_integers_ellipsis_and_newaxis(drawn, seed):
    check(*drawn, seed)


@given(
    FULL_SHAPES.flatmap(lambda s: st.tuples(st.just(s), hnp.integer_array_indices(s, dtype=np.int64))),
    st.integers(0, 99),
    st.sampled_from(["arrays", "tensors", "lists"]),
)
def test_integer_arrays_tensors_and_lists(drawn, seed, kind):
    shape, index = drawn
    convert = {"arrays": lambda i: i, "tensors": mg.tensor, "lists": np.ndarray.tolist}[kind]
    if kind == "lists" and any(i.ndim == 0 or i.size == 0 for i in index):
        convert = lambda i: i  # noqa: E731 (a list without numbers says nothing of its shape)
    check(shape, index, seed, tuple(map(convert, index)))


@given(
    FULL_SHAPES.flatmap(
        lambda s: st.tuples(
            st.just(s), st.integers(1, len(s)).flatmap(lambda n: hnp.arrays(bool, s[:n], elements=st.booleans()))
        )
    ),
    st.integers(0, 99),
    st.booleans(),
)
def test_boolean_masks(drawn, seed, as_tensor):
    shape, mask = drawn
    check(shape, mask, seed, mg.tensor(mask) if as_tensor else None)


@pytest.mark.parametrize(
    "index",
    [
        (slice(None), [0, 2, 2]),
        ([1, 1, 1],),
        ([0, 2], slice(1, 3)),
        (np.array([[0, 1], [2, 0]]), slice(None), [[1], [3]]),
        (slice(None, None, -1), None, [3, 0]),
        (np.array([True, False, True]), [1, 2]),
        (Ellipsis, np.array([3, 3])),
        (np.array(2),),
        (np.int64(1), -1),
        (True,),
        (False,),
        (np.True_, 0),
        ([],),
        (slice(None), np.array([], np.int64)),
        (np.array([0, 1], np.uint8),),
        (),
    ],
)
def test_mixed_indices(index):
    as_numpy_takes_it = tuple(np.array(i, dtype=int) if isinstance(i, list) else i for i in index)
    check((3, 4, 4), as_numpy_takes_it, 0, index)


@pytest.mark.parametrize("dims", [2, 32, 33, 64])
@pytest.mark.parametrize("index", [np.array([0, 1, 1]), (slice(None), np.array([0, 0])), (np.array([0, 1]),) * 2])
def test_tensors_of_many_dimensions(dims, index):
    """`np.add.at` crashes where there are more than 32."""
    flat = np.arange(4.0).reshape(2, 2)
    x = mg.tensor(flat.reshape(2, 2, *(1,) * (dims - 2)), requires_grad=True)
    (x[index] * x[index]).sum().backward()
    picked = np.zeros((2, 2))
    np.add.at(picked, index, 2 * flat[index])
    np.testing.assert_array_equal(x.grad.numpy().reshape(2, 2), picked)


def test_indexing_has_second_derivatives():
    x = mg.tensor(np.random.default_rng(0).normal(size=(3, 4)), requires_grad=True)
    for index in ((slice(1, None), [0, 2, 2]), (1,), (np.eye(3, 4) > 0,)):
        mg.gradgradcheck(lambda x, index=index: (x * x)[index], x)


@pytest.mark.parametrize(
    ("index", "error"),
    [
        (np.array([0.0, 1.0]), TypeError),
        ([0.5], TypeError),
        (mg.tensor([1.0]), TypeError),
        (1.0, IndexError),
        ("a", IndexError),
        (7, IndexError),
        ((0, 0, 0), IndexError),
        (np.array([True, False]), IndexError),
        ([[0, 1], [2]], ValueError),
    ],
)
def test_indices_that_are_none_or_outside_are_errors(index, error):
    x = mg.tensor(np.zeros((3, 4)))
    with pytest.raises(error):
        x[index]


def test_an_index_with_a_mask_is_refused():
    with pytest.raises(TypeError, match="index: need an array without a mask"):
        mg.tensor([1.0, 2.0])[np.ma.masked_array([1, 0], [True, False])]


def test_an_index_beyond_the_end_stops_iteration_only_in_iter():
    x = mg.tensor([1, 2, 3])
    assert [int(v) for v in x] == [1, 2, 3]
    assert 2 in x
    assert 5 not in x


@given(
    FULL_SHAPES.flatmap(lambda s: st.tuples(st.just(s), hnp.basic_indices(s) | hnp.integer_array_indices(s))),
    st.integers(0, 99),
)
def test_assignment_writes_what_numpy_writes(drawn, seed):
    shape, index = drawn
    rng = np.random.default_rng(seed)
    array = rng.normal(size=shape)
    x = mg.tensor(array)
    value = rng.normal(size=np.shape(array[index])[1:])  # broadcasts over the first dimension
    array[index] = value
    x[index] = mg.tensor(value)
    np.testing.assert_array_equal(x, array)


def test_an_index_of_more_dimensions_than_numpys_add_takes_has_a_gradient():
    x = mg.tensor(np.arange(30.0).reshape(5, 6), requires_grad=True)
    rows = np.array([4, 0, 4]).reshape(3, *(1,) * 39)
    x[rows, np.array([[5], [5]])].sum().backward()
    expected = np.zeros((5, 6))
    expected[[4, 0], 5] = 4, 2
    np.testing.assert_array_equal(x.grad, expected)
