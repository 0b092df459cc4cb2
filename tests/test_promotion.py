"""Which dtype comes out when dtypes meet: PyTorch's rules."""

import itertools
import operator

import numpy as np
import pytest

import minigrad as mg
from minigrad.dtypes import SUPPORTED

NAMES = sorted(dtype.name for dtype in SUPPORTED)
TABLE = [
    # a, b: dtype and dimensions, or a number; result
    (("float32", 1), ("float64", 1), "float64"),
    (("float32", 1), ("float64", 0), "float32"),
    (("float64", 0), ("float32", 0), "float64"),
    (("int64", 1), ("float32", 1), "float32"),
    (("int64", 1), ("float32", 0), "float32"),
    (("int64", 1), ("float64", 0), "float64"),
    (("int8", 1), ("int64", 0), "int8"),
    (("int8", 1), ("uint8", 1), "int16"),
    (("uint8", 1), ("int32", 1), "int32"),
    (("int64", 1), ("uint64", 1), "int64"),
    (("bool", 1), ("uint8", 1), "uint8"),
    (("bool", 1), ("int16", 0), "int16"),
    (("bool", 1), ("bool", 1), "bool"),
    (("float64", 1), 2, "float64"),
    (("float32", 1), 2.5, "float32"),
    (("int8", 1), 2, "int8"),
    (("int8", 1), 2.5, "float32"),
    (("int8", 1), True, "int8"),
    (("bool", 1), 2, "int64"),
    (("bool", 1), 2.5, "float32"),
    (("bool", 0), True, "bool"),
    (("float64", 0), 2.5, "float64"),
    (("float32", 1), np.float64(2.5), "float32"),
    (("float32", 0), np.float64(2.5), "float32"),
    (("int8", 1), np.int64(2), "int8"),
]


def operand(described):
    if not isinstance(described, tuple):
        return described
    name, ndim = described
    return mg.tensor(np.ones((2,) * ndim, name))


@pytest.mark.parametrize(("a", "b", "expected"), TABLE)
def test_results_have_the_promoted_dtype(a, b, expected):
    for left, right in ((a, b), (b, a)):
        for function in (operator.add, operator.mul, mg.maximum):
            assert function(operand(left), operand(right)).dtype == expected
        assert (operand(left) == operand(right)).dtype == np.bool_
        assert (
            mg.where(mg.tensor([True, False]), operand(left), operand(right)).dtype
            == mg.where(mg.tensor([True, False]), operand(right), operand(left)).dtype
        )


@pytest.mark.parity
@pytest.mark.parametrize("kinds", [(1, 1), (1, 0), (0, 0), (1, "number"), (0, "number")], ids=str)
def test_every_pair_of_dtypes_is_promoted_as_in_torch(kinds):
    torch = pytest.importorskip("torch")
    numbers = {"bool": True, "int64": 2, "float32": 2.5}
    pairs = 0
    for a, b in itertools.product(NAMES, numbers if kinds[1] == "number" else NAMES):
        x, y = np.ones((2,) * kinds[0], a), numbers[b] if kinds[1] == "number" else np.ones((2,) * kinds[1], b)
        theirs = torch.tensor(x), y if kinds[1] == "number" else torch.tensor(y)
        try:
            expected = str(torch.result_type(*theirs)).removeprefix("torch.")
        except RuntimeError:
            assert {"uint16", "uint32", "uint64"} & {a, b}  # torch has no rule for these
            continue
        ours = mg.tensor(x), y if kinds[1] == "number" else mg.tensor(y)
        assert mg.maximum(*ours).dtype == expected, (a, b)
        assert (ours[1] + ours[0]).dtype == expected, (a, b)
        pairs += 1
    assert pairs > 20


@pytest.mark.parametrize(
    "function", [operator.truediv, lambda a, b: mg.exp(a) * mg.exp(b), lambda a, b: (a * b).mean()]
)
@pytest.mark.parametrize("dtypes", [("int64", "int64"), ("bool", "int8"), ("uint8", "bool")])
def test_functions_without_integer_values_give_the_default_float(function, dtypes):
    a, b = (mg.tensor(np.ones(3, dtype)) for dtype in dtypes)
    assert function(a, b).dtype == np.float32


def test_division_of_large_integers_is_a_division_of_floats():
    assert (mg.tensor([7]) / mg.tensor([2])).tolist() == [3.5]
    assert (7 / mg.tensor([2])).tolist() == [3.5]
    assert (mg.tensor([7]) // 2).tolist() == [3]
    assert (mg.tensor([-7]) % 4).tolist() == [1]


def test_a_number_that_an_integer_dtype_cannot_hold_is_an_error():
    with pytest.raises(ValueError, match=r"^add: a number does not fit: .*300"):
        mg.tensor([1], dtype=np.int8) + 300


def test_a_scalar_tensor_of_higher_precision_keeps_its_gradient_dtype():
    x = mg.tensor(np.ones(3, np.float32), requires_grad=True)
    s = mg.tensor(np.float64(2), requires_grad=True)
    dy = np.array([1.0, 2.0, 3.0], np.float32)
    y = x * s
    assert y.dtype == np.float32
    y.backward(dy)
    assert (x.grad.dtype, s.grad.dtype) == (np.float32, np.float64)
    assert s.grad.item() == 6


@pytest.mark.parametrize("name", ["bool", "int8", "int32", "uint8", "int64"])
def test_sums_of_integers_are_int64(name):
    x = mg.tensor(np.ones((2, 3), name))
    assert x.sum().dtype == np.int64
    assert x.sum(0).tolist() == [2, 2, 2]
    assert x.cumsum(1).dtype == np.int64


def test_products_of_matrices_refuse_mixed_dtypes_naming_both():
    a, b = mg.tensor(np.ones((2, 2), np.float32)), mg.tensor(np.ones((2, 2)))
    for call in (lambda: a @ b, lambda: mg.einsum("ij,jk->ik", a, b), lambda: mg.functional.linear(a, b)):
        with pytest.raises(TypeError, match="need one dtype, got float32 and float64"):
            call()
