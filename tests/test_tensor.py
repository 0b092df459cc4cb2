"""What a tensor is: making it, looking at it, sharing it, copying it, changing it."""

import copy
import operator
import pickle

import numpy as np
import pytest

import minigrad as mg

RNG = np.random.default_rng(6)


def leaf(*shape):
    return mg.tensor(RNG.uniform(0.5, 2.0, shape), requires_grad=True)


def weights(*shape):
    return RNG.normal(size=shape)


@pytest.mark.parametrize(
    ("data", "dtype", "shape"),
    [
        (1.5, np.float32, ()),
        (2, np.int64, ()),
        (True, np.bool_, ()),
        ([1.0, 2.0], np.float32, (2,)),
        ([1, 2.5], np.float32, (2,)),
        ([[1, 2], [3, 4]], np.int64, (2, 2)),
        ([True, False], np.bool_, (2,)),
        ([], np.float32, (0,)),
        ([[], []], np.float32, (2, 0)),
        ((1.0, (2.0)), np.float32, (2,)),
        (range(3), np.int64, (3,)),
        (np.arange(3.0), np.float64, (3,)),
        (np.zeros((0, 2), np.int8), np.int8, (0, 2)),
        (np.float64(3), np.float64, ()),
        (np.array([1, 2], ">i4"), np.int32, (2,)),
        ([mg.tensor(1.0), mg.tensor(2.0)], np.float32, (2,)),
        ([[mg.tensor(np.ones(3)), np.zeros(3)]], np.float64, (1, 2, 3)),
        ([mg.tensor(1.0), 2], np.float32, (2,)),
        (mg.tensor([1, 2]), np.int64, (2,)),
    ],
)
def test_python_floats_become_float32_and_arrays_keep_their_dtype(data, dtype, shape):
    for x in (mg.tensor(data), mg.as_tensor(data)):
        assert (x.dtype, x.shape, x.dtype.isnative) == (dtype, shape, True)


@pytest.mark.parametrize("dtype", ["bool", "int8", "int16", "int32", "int64", "uint8", "uint64", "float32", "float64"])
def test_a_dtype_can_be_asked_for(dtype):
    assert mg.tensor([0, 1], dtype=dtype).tolist() == np.array([0, 1], dtype).tolist()
    assert mg.as_tensor(np.array([0.0, 1.0]), dtype=dtype).dtype == dtype


@pytest.mark.parametrize(
    ("data", "error", "message"),
    [
        ([[1, 2], [3]], ValueError, "tensor: need rows of equal length"),
        ([np.ones(2), np.ones(3)], ValueError, "tensor: need rows of equal length"),
        ("abc", TypeError, "tensor: need booleans, integers, float32 or float64"),
        ([1, "a"], TypeError, "tensor: need booleans"),
        (None, TypeError, "tensor: need booleans"),
        ([1j], TypeError, "got complex128"),
        (np.float16(1), TypeError, "got float16"),
        (np.zeros(2, "M8[s]"), TypeError, "tensor: need booleans"),
        (2**80, TypeError, "tensor: need booleans"),
    ],
)
def test_data_that_is_no_array_of_numbers_is_a_clear_error(data, error, message):
    for make in (mg.tensor, mg.as_tensor):
        with pytest.raises(error, match=message):
            make(data)


def test_a_dtype_that_there_is_not_is_a_clear_error():
    for dtype in ("float16", complex, "no such", object):
        with pytest.raises(TypeError, match="tensor: need"):
            mg.tensor([1.0], dtype=dtype)
    with pytest.raises(TypeError, match="tensor: need numbers"):
        mg.tensor(["1"], dtype=np.float32)


def test_only_floats_can_require_grad():
    with pytest.raises(TypeError, match="only float32 and float64 tensors have gradients, got int64"):
        mg.tensor([1], requires_grad=True)


def test_tensor_copies_and_as_tensor_shares():
    array = weights(3)
    copied, shared = mg.tensor(array), mg.as_tensor(array)
    array[0] = 7
    assert copied[0].item() != 7
    assert shared[0].item() == 7
    shared[1] = 8.0
    assert array[1] == 8
    assert mg.as_tensor(shared) is shared
    assert not np.shares_memory(mg.tensor(shared).data, array)
    assert mg.as_tensor(shared, dtype=np.float32).dtype == np.float32


def test_a_list_does_not_lose_the_history_of_its_tensors():
    x = leaf(2)
    with pytest.raises(RuntimeError, match=r"use mg\.stack"):
        mg.tensor([x * 2, x])
    with mg.no_grad():
        assert mg.tensor([x * 2, x]).shape == (2, 2)


@pytest.mark.parametrize(
    ("x", "text"),
    [
        (mg.tensor(1.5), "tensor(1.5)"),
        (mg.tensor([1.0, 2.5], requires_grad=True), "tensor([1. , 2.5], requires_grad=True)"),
        (mg.tensor(np.array([1.0])), "tensor([1.], dtype=float64)"),
        (mg.tensor([1, 2]), "tensor([1, 2])"),
        (mg.tensor([1, 2], dtype=np.uint8), "tensor([1, 2], dtype=uint8)"),
        (mg.tensor([True, False]), "tensor([ True, False])"),
        (mg.tensor([]), "tensor([])"),
        (mg.tensor(np.zeros((2, 0), np.float32)), "tensor([], shape=(2, 0))"),
        (mg.tensor([1 / 3, 2.0], requires_grad=True) * 2, "tensor([0.6667, 4.    ], op=<multiply>)"),
        (mg.tensor([[1.0, 2.0], [3.0, 4.0]]), "tensor([[1., 2.],\n        [3., 4.]])"),
    ],
)
def test_repr_shows_values_and_what_is_special(x, text):
    assert repr(x) == text
    assert f"{x}" == text


def test_repr_of_a_large_tensor_is_short():
    assert len(repr(mg.tensor(np.zeros((1000, 1000))))) < 1000


def test_sizes_are_those_of_the_array():
    x = mg.tensor(np.zeros((2, 3, 4)))
    assert (x.shape, x.ndim, x.dim(), x.numel(), len(x)) == ((2, 3, 4), 3, 3, 24, 2)
    assert (x.size(), x.size(-1), x.T.shape) == ((2, 3, 4), 4, (4, 3, 2))


def test_single_values_become_python_numbers():
    x = mg.tensor([2.5], requires_grad=True)
    assert (x.item(), float(x), int(x), bool(x), f"{x:.2f}") == (2.5, 2.5, 2, True, "2.50")
    assert not mg.tensor(0)
    assert [10, 20, 30][mg.tensor(1)] == 20
    assert mg.tensor([[1, 2]]).tolist() == [[1, 2]]


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda: mg.tensor([1.0, 2.0]).item(), ValueError),
        (lambda: bool(mg.tensor([1.0, 2.0])), ValueError),
        (lambda: bool(mg.tensor([])), ValueError),
        (lambda: operator.index(mg.tensor(1.0)), TypeError),
        (lambda: operator.index(mg.tensor([1, 2])), TypeError),
        (lambda: len(mg.tensor(1.0)), TypeError),
        (lambda: list(mg.tensor(1.0)), TypeError),
    ],
)
def test_there_is_no_number_in_several_values_and_no_length_without_dimensions(call, error):
    with pytest.raises(error):
        call()


def test_iteration_gives_rows_with_history():
    x, dy = leaf(3, 2), weights(2)
    first, second, third = x
    (first * third).backward(dy)
    np.testing.assert_allclose(x.grad, [dy * third.data, 0 * dy, dy * first.data], rtol=1e-14)
    assert second.shape == (2,)


def test_data_is_read_only_and_shares():
    x = leaf(3)
    with pytest.raises(ValueError, match="read-only"):
        x.data[0] = 1
    assert np.shares_memory(x.data, x.detach().data)


def test_tensors_are_keys_by_identity():
    x, y = mg.tensor([1.0]), mg.tensor([1.0])
    assert {x: 1, y: 2}[x] == 1


def test_numpy_raises_where_history_would_be_lost():
    x = leaf(3)
    for lose in (lambda: x.numpy(), lambda: np.asarray(x), lambda: np.array(x * 2)):
        with pytest.raises(RuntimeError, match=r"requires grad; use \.detach\(\)"):
            lose()
    with mg.no_grad():
        np.testing.assert_array_equal(np.asarray(x), x.data)
    np.testing.assert_array_equal(x.detach().numpy(), x.data)


def test_numpy_protocol_copies_only_when_asked():
    x = mg.tensor(weights(3))
    assert np.shares_memory(np.asarray(x), x.data)
    assert np.shares_memory(np.array(x, copy=False), x.data)
    assert not np.shares_memory(np.array(x), x.data)
    assert np.asarray(x, dtype=np.float32).dtype == np.float32
    with pytest.raises(ValueError, match="copy"):
        np.array(x, dtype=np.float32, copy=False)


def test_dlpack_shares_memory_both_ways():
    x = mg.tensor(weights(3))
    array = np.from_dlpack(x)
    assert np.shares_memory(array, x.data)
    source = weights(2, 2)
    y = mg.from_dlpack(source)
    assert np.shares_memory(y.data, source)
    with pytest.raises(BufferError, match="requires grad"):
        np.from_dlpack(leaf(2))
    with pytest.raises(TypeError, match="from_dlpack: need an array with __dlpack__, got int"):
        mg.from_dlpack(3)
    with pytest.raises(ValueError, match=r"from_dlpack: .*native"):
        mg.from_dlpack(np.ones(2, ">f4"))


@pytest.mark.parity
def test_dlpack_shares_memory_with_torch():
    torch = pytest.importorskip("torch")
    x = mg.tensor(weights(3))
    theirs = torch.from_dlpack(x)
    theirs[0] = 7
    assert x[0].item() == 7
    back = mg.from_dlpack(theirs)
    assert np.shares_memory(back.data, x.data)


OPERATORS = [
    operator.add, operator.sub, operator.mul, operator.truediv, operator.pow, operator.floordiv, operator.mod,
    operator.lt, operator.le, operator.gt, operator.ge, operator.eq, operator.ne,
]  # fmt: skip


@pytest.mark.parametrize("function", [*OPERATORS, operator.matmul], ids=lambda f: f.__name__)
def test_an_array_beside_a_tensor_gives_a_tensor(function):
    a, b = RNG.uniform(0.5, 2.0, (3, 3)), RNG.uniform(0.5, 2.0, (3, 3))
    expected = function(a, b)
    for left, right in ((a, mg.tensor(b)), (mg.tensor(a), b), (mg.tensor(a), mg.tensor(b))):
        result = function(left, right)
        assert isinstance(result, mg.Tensor)
        np.testing.assert_allclose(result, expected, rtol=1e-15)


@pytest.mark.parametrize("function", OPERATORS, ids=lambda f: f.__name__)
@pytest.mark.parametrize("number", [2, 1.5, np.float64(1.5), np.float32(0.5), np.int64(2), True])
def test_a_number_beside_a_tensor_gives_a_tensor_of_its_dtype(function, number):
    b = RNG.uniform(0.5, 2.0, 3).astype(np.float32)
    x = mg.tensor(b)
    for result, expected in (
        (function(number, x), function(np.float32(number), b)),
        (function(x, number), function(b, np.float32(number))),
    ):
        assert isinstance(result, mg.Tensor)
        assert result.dtype == expected.dtype
        np.testing.assert_allclose(result, expected, rtol=1e-6)


def test_booleans_combine_with_arrays_on_either_side():
    a, b = np.array([True, True, False]), np.array([True, False, False])
    for left, right in ((a, mg.tensor(b)), (mg.tensor(a), b), (mg.tensor(a), mg.tensor(b))):
        assert (left & right).tolist() == [True, False, False]
        assert (left | right).tolist() == [True, True, False]
    assert (~mg.tensor(b)).tolist() == [False, True, True]
    assert (True & mg.tensor(b)).tolist() == [True, False, False]


@pytest.mark.parametrize("combine", [operator.and_, operator.or_])
def test_bitwise_operators_refuse_numbers(combine):
    with pytest.raises(TypeError, match="need booleans, got int64"):
        combine(mg.tensor([True, False]), mg.tensor([1, 2]))
    with pytest.raises(TypeError, match="need booleans, got int64"):
        combine(mg.tensor([1, 2]), True)
    with pytest.raises(TypeError, match="need booleans, got float32"):
        ~mg.tensor([1.0])


def test_a_tensor_equals_no_string_and_not_none():
    x = mg.tensor([1.0])
    assert (x == "a") is False
    assert (x != None) is True  # noqa: E711 (what it gives is tested)


def test_numpy_functions_do_not_take_tensors_silently():
    with pytest.raises(TypeError, match="ufunc"):
        np.exp(mg.tensor([1.0]))


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))])
def test_a_leaf_is_copied_with_grad_and_without_shared_memory(duplicate):
    x = leaf(3)
    x.grad = mg.tensor(weights(3))
    y = duplicate(x)
    assert (type(y), y.requires_grad, y.is_leaf) == (mg.Tensor, True, True)
    np.testing.assert_array_equal(y.data, x.data)
    np.testing.assert_array_equal(y.grad, x.grad)
    assert not np.shares_memory(y.data, x.data)
    assert not np.shares_memory(y.grad.data, x.grad.data)


def test_copies_of_one_object_stay_one_object():
    x = leaf(3)
    a, b = copy.deepcopy([x, x])
    assert a is b


def test_a_shallow_copy_shares_memory_and_version_but_not_the_gradient():
    x = leaf(3)
    y = copy.copy(x)
    z = x * y
    with mg.no_grad():
        y.zero_()
    with pytest.raises(RuntimeError, match="changed in place"):
        z.backward(weights(3))


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy, pickle.dumps])
def test_a_tensor_with_history_is_not_copied_behind_its_back(duplicate):
    with pytest.raises(RuntimeError, match=r"only leaf tensors .* use \.detach\(\)"):
        duplicate(leaf(3) * 2)


def test_clone_copies_values_and_keeps_history():
    x, dy = leaf(3), weights(3)
    y = x.clone()
    assert not np.shares_memory(y.data, x.data)
    y.backward(dy)
    np.testing.assert_array_equal(x.grad, dy)


def test_to_converts_with_history_and_is_the_tensor_itself_where_it_can_be():
    x, dy = leaf(3), weights(3).astype(np.float32)
    assert x.to(np.float64) is x
    assert x.double() is x
    x.float().backward(dy)
    assert x.grad.dtype == np.float64
    np.testing.assert_array_equal(x.grad, dy)
    assert x.long().dtype == np.int64
    with pytest.raises(TypeError, match="to: need"):
        x.to("float16")
