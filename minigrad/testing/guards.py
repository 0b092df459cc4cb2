"""Arrays that show what a kernel does to memory: guard cells around them, and bytes in fresh ones that tell.

A read outside an array, or of memory that nobody has written, changes the result with the bytes that lie there.
"""

import contextlib
import ctypes
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
from llvmlite import ir
from numba.core import cgutils
from numba.np import arraymath, arrayobj, linalg

GUARD = 4096  # bytes on either side
NAN, NUMBER = 0xFF, 0x41  # as floats of any width NaN, and a number that gets lost in no sum

_empty, _empty_like, _zeros, _zeros_like = np.empty, np.empty_like, np.zeros, np.zeros_like
_byte_in_jitted = ctypes.c_uint8(0)


class Guarded(NamedTuple):
    """An array in the middle of a buffer of which the rest is filled with one byte."""

    array: np.ndarray
    buffer: np.ndarray
    byte: int

    def overrun(self) -> int | None:
        """The flat index, below 0 or behind the last, at which something was written; None where nothing was."""
        outside = self.buffer != self.byte
        outside[GUARD : GUARD + self.array.nbytes] = False
        if not outside.any():
            return None
        places = (np.flatnonzero(outside) - GUARD) // self.array.itemsize
        return int(places[np.argmin(np.abs(places))])


def guarded(shape: tuple[int, ...], dtype: Any, byte: int, fill: int) -> Guarded:
    """An array of bytes `fill` between guard cells of `byte`."""
    dtype = np.dtype(dtype)
    size = int(np.prod(shape)) * dtype.itemsize
    raw = _empty(size + 2 * GUARD + 64, np.uint8)
    start = -raw.ctypes.data % 64
    buffer = raw[start : start + size + 2 * GUARD]
    buffer.fill(byte)
    buffer[GUARD : GUARD + size] = fill
    return Guarded(np.ndarray(shape, dtype, buffer, GUARD), buffer, byte)


def guarded_copy(array: np.ndarray, byte: int) -> Guarded:
    """A copy of an array between guard cells of `byte`."""
    copy = guarded(array.shape, array.dtype, byte, 0)
    copy.array[...] = array
    return copy


@contextlib.contextmanager
def fresh_memory(byte: int, fill: int) -> Iterator[list[Guarded]]:
    """What `np.empty` and `np.zeros` give within lies between guard cells, that of `np.empty` filled with `fill`.

    So is the memory that jitted functions allocate, without guard cells. Yields the arrays that were made. Jitted code
    must be compiled before: Numba knows `np.empty` by identity.
    """
    made: list[Guarded] = []

    def make(original: Callable[..., np.ndarray], fill: int) -> Callable[..., np.ndarray]:
        def replacement(shape: Any, dtype: Any = float, order: str = "C", **others: Any) -> np.ndarray:
            if order != "C" or others or np.dtype(dtype).hasobject:
                return original(shape, dtype, order, **others)
            sides = (shape,) if np.ndim(shape) == 0 else tuple(shape)
            made.append(guarded(sides, dtype, byte, fill))
            return made[-1].array

        return replacement

    def make_like(original: Callable[..., np.ndarray], fill: int) -> Callable[..., np.ndarray]:
        def replacement(prototype: Any, dtype: Any = None, order: str = "K", **others: Any) -> np.ndarray:
            like = np.asanyarray(prototype)
            kind = np.dtype(like.dtype if dtype is None else dtype)
            is_plain = type(like) is np.ndarray and like.flags.c_contiguous and not kind.hasobject
            if not is_plain or order not in "CKA" or others:
                return original(prototype, dtype, order, **others)
            made.append(guarded(like.shape, kind, byte, fill))
            return made[-1].array

        return replacement

    _byte_in_jitted.value = fill
    replaced: Any = np
    replaced.empty, replaced.empty_like = make(_empty, fill), make_like(_empty_like, fill)
    replaced.zeros, replaced.zeros_like = make(_zeros, 0), make_like(_zeros_like, 0)
    try:
        yield made
    finally:
        replaced.empty, replaced.empty_like, replaced.zeros, replaced.zeros_like = (
            _empty, _empty_like, _zeros, _zeros_like,
        )  # fmt: skip


def fill_jitted_memory() -> None:
    """Let what jitted functions allocate, if compiled from here on, hold the byte that `fresh_memory` names."""
    numba_modules: tuple[Any, ...] = (arrayobj, arraymath, linalg)
    memset: Any = cgutils.memset
    original = numba_modules[0]._empty_nd_impl
    address = ir.Constant(cgutils.intp_t, ctypes.addressof(_byte_in_jitted))

    def filled(context: Any, builder: Any, array_type: Any, shapes: Any) -> Any:
        array = original(context, builder, array_type, shapes)
        byte = builder.load(builder.inttoptr(address, cgutils.voidptr_t))
        memset(builder, array.data, builder.mul(array.nitems, array.itemsize), byte)
        return array

    for module in numba_modules:
        module._empty_nd_impl = filled
