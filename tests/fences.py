"""Unreadable pages around every array that a kernel is launched with: an access outside of one ends the process.

Linux and macOS only: it takes `mprotect`.
"""

import contextlib
import ctypes
import importlib
import mmap
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

import minigrad.kernels
from minigrad.kernels.threads import Launcher

PAGE = mmap.PAGESIZE
NO_ACCESS, MARK = 0, 0xA5


def launchers() -> dict[int, str]:
    """Every kernel of the package that is launched, by id: `module.name`."""
    found: dict[int, str] = {}
    for path in Path(minigrad.kernels.__path__[0]).glob("*.py"):
        module = importlib.import_module(f"minigrad.kernels.{path.stem}")
        for name, value in vars(module).items():
            if isinstance(value, Launcher):
                found.setdefault(id(value), f"{path.stem}.{name}")
    return found


def _forbid(address: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mprotect(ctypes.c_void_p(address), ctypes.c_size_t(PAGE), NO_ACCESS):
        raise OSError(ctypes.get_errno(), "mprotect failed")


def _room(pages: int) -> np.ndarray:
    """Pages of memory between two that can be neither read nor written; never given back."""
    whole = np.frombuffer(mmap.mmap(-1, (pages + 2) * PAGE), np.uint8)
    _forbid(whole.ctypes.data)
    _forbid(whole.ctypes.data + (pages + 1) * PAGE)
    return whole[PAGE:-PAGE]


class Fences:
    """Moves the arrays of each launch between unreadable pages, close to the one behind or to the one before.

    What is left of an array's pages on its other side is marked, and the marks are looked at after the launch. The
    file `progress` tells what runs, for whoever finds the process dead.
    """

    def __init__(self, at_end: bool, progress: Path) -> None:
        self.at_end = at_end
        self.reached: set[str] = set()
        self._names = launchers()
        self._free: dict[int, list[np.ndarray]] = {}
        self._progress = os.open(progress, os.O_WRONLY | os.O_CREAT)
        self._case = ""

    @contextlib.contextmanager
    def around(self, case: str) -> Iterator[None]:
        """Every launch within is fenced."""
        call: Callable[..., None] = Launcher.__call__
        self._case = case

        def fenced(launcher: Launcher, parts: int, n: int, *args: Any) -> None:
            name = self._names.get(id(launcher), launcher.kernel.py_func.__qualname__)
            self.reached.add(name)
            shapes = [f"{a.dtype}{list(a.shape)}" if isinstance(a, np.ndarray) else f"{a}" for a in args]
            self._tell(f"{case}\n{name}({parts}, {n}, {', '.join(shapes)})\n")
            fence = self._launch_by_addresses if name.startswith("optimizers.") else self._launch
            fence(lambda *moved: call(launcher, parts, n, *moved), args)

        Launcher.__call__ = fenced  # type: ignore[method-assign]
        try:
            yield
        finally:
            Launcher.__call__ = call  # type: ignore[method-assign]

    def _tell(self, text: str) -> None:
        os.pwrite(self._progress, text.encode(), 0)
        os.ftruncate(self._progress, len(text.encode()))

    def _launch_by_addresses(self, call: Callable[..., None], args: tuple[Any, ...]) -> None:
        """As `_launch`, also for the arrays to which the first of them points: `kernels/optimizers.py` tells how."""
        addresses, bounds, like = args[:3]
        kind = np.ctypeslib.as_ctypes_type(like.dtype)
        sizes = np.diff(bounds).tolist() * len(addresses)
        pointed = [
            np.ctypeslib.as_array((kind * size).from_address(address)) if address else np.empty(0, like.dtype)
            for address, size in zip(addresses.ravel().tolist(), sizes, strict=True)
        ]

        def pointing(*moved: Any) -> None:
            places = [a.ctypes.data if address else 0 for a, address in zip(moved, addresses.flat, strict=False)]
            moved[len(pointed)][...] = np.reshape(places, addresses.shape)
            call(*moved[len(pointed) :])

        self._launch(pointing, (*pointed, addresses.copy(), *args[1:]))

    def _launch(self, call: Callable[..., None], args: tuple[Any, ...]) -> None:
        arrays = [a for a in args if isinstance(a, np.ndarray)]
        moved: dict[int, tuple[np.ndarray, np.ndarray, np.ndarray]] = {}
        for array in arrays:
            if id(array) not in moved:
                assert not any(np.may_share_memory(array, other) for other, _, _ in moved.values()), self._case
                moved[id(array)] = (array, *self._fenced(array))
        call(*(moved[id(a)][1] if isinstance(a, np.ndarray) else a for a in args))
        for array, copy, room in moved.values():
            start = copy.ctypes.data - room.ctypes.data
            beside = np.concatenate((room[:start], room[start + copy.nbytes :]))
            assert (beside == MARK).all(), f"{self._case}: something was written beside an array of {array.shape}"
            if array.flags.writeable:
                array[...] = copy
            self._free[len(room)].append(room)

    def _fenced(self, array: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """A copy of the array at a fence, and the room that it is in."""
        assert array.flags.c_contiguous, self._case
        size = max(1, -(-array.nbytes // PAGE)) * PAGE
        free = self._free.setdefault(size, [])
        room = free.pop() if free else _room(size // PAGE)
        room.fill(MARK)
        copy = np.ndarray(array.shape, array.dtype, room, size - array.nbytes if self.at_end else 0)
        copy[...] = array
        copy.flags.writeable = array.flags.writeable
        return copy, room
