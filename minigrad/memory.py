"""Memory for arrays. What large arrays leave behind is used again: a page that is fresh from the system costs more to
touch than most kernels spend on it, and `malloc` hands the pages of large arrays back every time.

An array from the pool is a plain view of a block. NumPy keeps a view's base alive, and does not look through a base of
another type, so the block dies when the last array over it does, and its memory goes back to the pool.
"""

import itertools
import math
from collections import deque
from typing import Any, TypeAlias

import numpy as np

ALIGNMENT = 64  # bytes: a cache line, and the widest register there is
LEAST_POOLED = 1 << 14  # items: what is smaller malloc recycles by itself, in less time than the pool's bookkeeping
BUDGET = 1 << 29  # bytes that are kept free at most; beyond them, what has lain longest goes back to the system

Bytes: TypeAlias = np.ndarray[Any, np.dtype[np.uint8]]


class _Memory(np.ndarray):
    """Aligned bytes. Its type is its use: the base of a block is this, not the plain array it was cut from."""

    __slots__ = ()


class Pool:
    """Free memory by size class, as stacks: what was used last is the likeliest to be in a cache.

    There is no lock. Memory comes back in finalisers, which run at any moment, also in the middle of `take` in the same
    thread; what must not be cut in two is one call of a deque's method.
    """

    def __init__(self, budget: int):
        self.budget = budget
        self.free_bytes = 0  # may drift when threads collide, and is counted anew now and then
        self._free: dict[int, deque[tuple[int, Bytes]]] = {}  # each with the time at which it came back
        self._clock = itertools.count(1)

    def take(self, size: int) -> Bytes:
        """Memory of one of the size classes."""
        try:
            memory = self._free[size].pop()[1]
        except (KeyError, IndexError):
            return _fresh(size)
        self.free_bytes -= size
        return memory

    def give_back(self, memory: Bytes) -> None:
        """Keep memory that nobody uses any more."""
        size, now = memory.nbytes, next(self._clock)
        if size > self.budget:
            return
        stack = self._free.get(size)
        if stack is None:
            stack = self._free.setdefault(size, deque())
        stack.append((now, memory))
        self.free_bytes += size
        if self.free_bytes > self.budget or now % 1024 == 0:
            self.trim(self.budget)

    def trim(self, budget: int = 0) -> None:
        """Give free memory back to the system, what has lain longest first, until `budget` bytes at most are left."""
        stacks = dict(self._free)
        self.free_bytes = sum(size * len(stack) for size, stack in stacks.items())
        while self.free_bytes > budget:
            try:
                size = min((size for size in stacks if stacks[size]), key=lambda size: stacks[size][0][0])
                stacks[size].popleft()
            except (ValueError, IndexError):  # another thread was there first: nothing is left, or not that
                return
            self.free_bytes -= size


pool = Pool(BUDGET)


class _Block(np.ndarray):
    """Memory in use."""

    __slots__ = ()

    def __del__(self, give_back: Any = pool.give_back) -> None:  # bound here: at exit the module's names may be gone
        memory = self.base
        if type(memory) is not type(self):  # or it is a view that somebody took of a block
            give_back(memory)


def _fresh(size: int) -> Bytes:
    raw = np.empty(size + ALIGNMENT, np.uint8)
    return _Memory((size,), np.uint8, raw, -raw.ctypes.data % ALIGNMENT)


def _size_class(size: int) -> int:
    """The size rounded up to four binary digits: at most an eighth is wasted."""
    step = 1 << (size.bit_length() - 4)
    return -(-size // step) * step


def allocate(shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    """An array that somebody is about to fill.

    A large one (from `LEAST_POOLED` items on) is aligned to 64 bytes, and its memory used again; a small one is as
    NumPy makes it, aligned to 16 bytes.
    """
    try:
        count = math.prod(shape)
        if count < LEAST_POOLED:
            return np.empty(shape, dtype)
        size = _size_class(count * np.dtype(dtype).itemsize)
        try:
            memory = pool.take(size)
        except MemoryError:
            pool.trim()
            memory = pool.take(size)
        return np.ndarray(shape, dtype, memory.view(_Block))
    except (ValueError, MemoryError):  # a ValueError is NumPy's word for more bytes than an address can count
        raise MemoryError(f"no memory holds an array of shape {shape} and dtype {np.dtype(dtype)}") from None


def zeros(shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    """An array of zeros; a large one is from the pool."""
    array = allocate(shape, dtype)
    array.fill(0)
    return array


def copied(array: np.ndarray) -> np.ndarray:
    """A contiguous copy; a large one is in memory from the pool."""
    copy = allocate(array.shape, array.dtype)
    np.copyto(copy, array)
    return copy


def added(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """a + b, of one shape and dtype; a large sum is in memory from the pool."""
    return np.add(a, b, out=allocate(a.shape, a.dtype))


def is_owner(array: np.ndarray) -> bool:
    """Whether an array has its memory to itself, until somebody takes a view of it."""
    return array.base is None or type(array.base) is _Block


def may_overlap(array: np.ndarray) -> bool:
    """Whether several values of an array may lie in one place: a stride is shorter than what it steps over."""
    if array.flags.forc:
        return False
    reach = array.itemsize
    for stride, size in sorted((abs(stride), size) for stride, size in zip(array.strides, array.shape, strict=True)):
        if size > 1 and stride < reach:
            return True
        reach += stride * max(size - 1, 0)
    return False


def owner_of(array: np.ndarray) -> Any:
    """What holds an array's memory: the same object for all of its views."""
    owner: Any = array
    while isinstance(owner, np.ndarray) and type(owner) is not _Block and owner.base is not None:
        owner = owner.base
    return owner
