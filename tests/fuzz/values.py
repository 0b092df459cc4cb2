"""What is passed in place of a good argument: good arrays in other guises, and things that nobody should pass."""

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

import minigrad as mg


class Subclass(np.ndarray):
    """An array that is more than one."""


def _strided(array: np.ndarray) -> np.ndarray:
    wide = np.full([2 * size for size in array.shape], 7, array.dtype)
    wide[tuple(slice(0, None, 2) for _ in array.shape)] = array
    return wide[tuple(slice(0, None, 2) for _ in array.shape)]


def _reversed(array: np.ndarray) -> np.ndarray:
    every = tuple(slice(None, None, -1) for _ in array.shape)
    return array[every].copy()[every]


def _unaligned(array: np.ndarray) -> np.ndarray:
    memory = np.zeros(array.nbytes + 1, np.uint8)[1:]
    view = memory.view(array.dtype).reshape(array.shape)
    view[...] = array
    return view


def _read_only(array: np.ndarray) -> np.ndarray:
    array = array.copy()
    array.flags.writeable = False
    return array


def _matrix(array: np.ndarray) -> np.ndarray:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PendingDeprecationWarning)
        return np.matrix(array)


# The same values: the result is the same to the last bit, and so is the gradient.
GUISES: dict[str, Callable[[np.ndarray], Any]] = {
    "strided": _strided,
    "reversed": _reversed,
    "fortran": lambda a: np.array(a, order="F"),
    "swapped": lambda a: a.astype(a.dtype.newbyteorder()),
    "unaligned": _unaligned,
    "read_only": _read_only,
    "transposed_view": lambda a: a.T.copy().T,
    "subclass": lambda a: a.copy().view(Subclass),
    "matrix": lambda a: _matrix(a) if a.ndim == 2 else a,
    "tensor": mg.as_tensor,
    "frozen_tensor": lambda a: mg.as_tensor(_read_only(a)),
}


def _overlapping(array: np.ndarray) -> np.ndarray:
    plain = np.array(array, order="C")
    return np.lib.stride_tricks.as_strided(plain, strides=tuple(min(s, plain.itemsize) for s in plain.strides))


def _repeated(array: np.ndarray) -> np.ndarray:
    return np.broadcast_to(array.reshape(-1)[0], array.shape) if array.size else array


# Other values, but laid out like none of NumPy's own: the result is that of a plain copy.
LAYOUTS: dict[str, Callable[[np.ndarray], np.ndarray]] = {"overlapping": _overlapping, "stride_0": _repeated}


def _most(dtype: np.dtype[Any]) -> Any:
    return True if dtype.kind == "b" else np.finfo(dtype).max if dtype.kind == "f" else np.iinfo(dtype).max


def _of_many_axes(array: np.ndarray) -> np.ndarray:
    """More axes than some of NumPy's own functions can take without crashing."""
    return array.reshape(array.shape + (1,) * (40 - array.ndim))


ARRAYS: dict[str, Callable[[np.ndarray], Any]] = {
    "one_axis_more": lambda a: a[None],
    "one_axis_less": lambda a: a[0] if a.ndim and len(a) else a.reshape(()) if a.size == 1 else a.reshape(-1),
    "many_axes": _of_many_axes,
    "flat": lambda a: a.reshape(-1),
    "scalar": lambda a: np.asarray(a.reshape(-1)[:1].sum(), a.dtype),
    "number": lambda a: a.dtype.type(1),
    "no_samples": lambda a: a[:0] if a.ndim else a,
    "no_size": lambda a: np.zeros((*a.shape[:-1], 0), a.dtype),
    "one_more": lambda a: np.concatenate([a, a[:1]]) if a.ndim else a,
    "wider": lambda a: np.concatenate([a, a[..., :1]], -1) if a.ndim else a,
    "huge_view": lambda a: np.broadcast_to(np.ones((), a.dtype), (2**40, *a.shape[1:])),
    "nan": lambda a: np.full_like(a, np.nan) if a.dtype.kind == "f" else a,
    "infinite": lambda a: np.full_like(a, -np.inf) if a.dtype.kind == "f" else a,
    "negative": lambda a: a if a.dtype.kind == "b" else -np.abs(a) - a.dtype.type(1),
    "large": lambda a: np.full_like(a, _most(a.dtype)),
    **{
        name: lambda a, name=name: a.astype(name)
        for name in ("bool", "int8", "uint8", "int32", "int64", "uint64", "float16", "float32", "float64", "longdouble")
    },
    **{name: lambda a, name=name: a.astype(name) for name in ("complex64", "complex128", "object", "str")},
    "dates": lambda a: a.astype("int64").astype("datetime64[s]"),
    "records": lambda a: np.zeros(a.shape, [("x", "f4"), ("y", "i4")]),
    "masked": lambda a: np.ma.masked_array(a, np.arange(a.size).reshape(a.shape) % 2 == 0),
    "lists": lambda a: a.tolist(),
}

_EXPRESSIONS = """
    -1 0 1 2 3 7 2**31-1 2**31 2**32 2**63-1 2**63 2**64 10**30 -2**31 -2**63 1.5 -0.0 0.5 1e-300 1e300 nan inf -inf
    True False None 1j 'x' '' 'same' 'valid' 'mean' 'folder' 'empty' 'no/such' b'x' () (1,) (1,2) (0,0) (2,2,2) (-1,1)
    (2**31,1) (2**63,2**63)
    (1.5,1) ('a','b') (None,None) ((1,1),(1,1)) ((1,),(1,)) ((0,2**31),(0,0)) [] [2] [1,2] [[1],[2,3]] {} {'a':1}
    {1,2} range(2) range(10**12) slice(None) ... object() int np.int64(2) np.uint8(2) np.float32(0.5)
    np.float64(nan) np.bool_(True) np.array(2) np.array([1,2]) np.array([]) np.str_('x') print 'float32' 'int3'
    np.float16
"""
OTHERS: dict[str, Any] = {text: eval(text, {"np": np, "nan": np.nan, "inf": np.inf}) for text in _EXPRESSIONS.split()}
