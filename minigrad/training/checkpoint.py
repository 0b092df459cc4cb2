"""Checkpoints: a run's whole state in one safetensors file, which never runs code and shows any damage.

The file holds the arrays of the state under readable names (`model.0.weight`, `optimizer.state.3.exp_avg`). Its
metadata hold the rest of the tree as JSON, in which {"$tensor": name} stands for an array, and a SHA-256 over all.
"""

import hashlib
import json
import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy

from minigrad import serialize
from minigrad.files import path_of, sync_folder, write_whole
from minigrad.tensor import Tensor
from minigrad.training.callbacks import Callback
from minigrad.training.run import Run

FORMAT = "minigrad checkpoint 1"


class CheckpointError(ValueError):
    """A file is damaged, no checkpoint, or that of another run."""


class Checkpoint(Callback):
    """Keeps a run's state in a file: after every epoch, and between steps `every` seconds after the last time.

    The checkpoint before it is kept under its name with `.previous` before the suffix.
    """

    def __init__(self, path: str | os.PathLike[str], every: float):
        self.path = path_of("fit: checkpoint", path)
        self.every = every
        self.written = -1, -1  # epoch and batch

    @property
    def previous(self) -> Path:
        return self.path.with_name(f"{self.path.stem}.previous{self.path.suffix}")

    def restore(self, run: Run) -> bool:
        """Let a run go on from the file, if there is one: whether there was. Of several processes one reads it."""
        state = self._read() if run.group is None else run.group.from_first(self._read)
        if state is None:
            return False
        try:
            run.load_state_dict(state)
        except (AttributeError, KeyError, OverflowError, TypeError, ValueError) as error:
            raise CheckpointError(f"{self._latest()} is no checkpoint to go on from: {error}") from error
        self.written = run.epoch, run.batch
        return True

    def _latest(self) -> Path | None:
        """The file to go on from; between the two renames of `save` there is only the previous one."""
        return next((path for path in (self.path, self.previous) if path.exists()), None)

    def _read(self) -> Any:
        path = self._latest()
        if path is None:
            return None
        try:
            return read(path)
        except ValueError as error:
            rest = f"; the one before it is {self.previous}" if path != self.previous and self.previous.exists() else ""
            raise CheckpointError(f"{path} cannot be read: {error}{rest}") from error

    def save(self, run: Run) -> None:
        if self.written == (run.epoch, run.batch):
            return
        content = packed(run.state_dict())
        fresh = self.path.with_name(f".{self.path.name}.new")
        try:
            write_whole(fresh, content)
        except OSError as error:
            raise OSError(error.errno, error.strerror, str(self.path)) from None
        if self.path.exists():
            os.replace(self.path, self.previous)
        os.replace(fresh, self.path)
        sync_folder(self.path.parent)
        self.written = run.epoch, run.batch
        self._due = time.monotonic() + self.every

    def start(self, run: Run) -> None:
        self._due = time.monotonic() + self.every

    def step(self, run: Run) -> None:
        if run.interrupted or time.monotonic() >= self._due:
            self.save(run)

    def epoch(self, run: Run) -> None:
        self.save(run)


def packed(state: dict[str, Any]) -> bytes:
    """The bytes of a checkpoint."""
    arrays: dict[str, np.ndarray] = {}
    tree = json.dumps(_without_arrays(state, (), arrays))
    return safetensors.numpy.save(arrays, {"format": FORMAT, "state": tree, "sha256": _digest(tree, arrays)})


def read(path: Path) -> Any:
    """The state in a checkpoint; ValueError for a file that is damaged, or something else."""
    arrays, metadata = serialize.read(path, "resume")
    if metadata.get("format") != FORMAT or not {"state", "sha256"} <= metadata.keys():
        raise ValueError(f"its metadata are not those of a {FORMAT}")
    if _digest(metadata["state"], arrays) != metadata["sha256"]:
        raise ValueError("it is damaged: its checksum is another")
    try:
        return _with_arrays(json.loads(metadata["state"]), arrays)
    except (KeyError, RecursionError, TypeError) as error:
        raise ValueError(f"its state is none ({type(error).__name__}: {error})") from None


def _digest(tree: str, arrays: dict[str, np.ndarray]) -> str:
    digest = hashlib.sha256(tree.encode())
    for name in sorted(arrays):
        array = arrays[name]
        digest.update(f"{name} {array.dtype.str} {array.shape}".encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def _without_arrays(tree: Any, path: tuple[str, ...], arrays: dict[str, np.ndarray]) -> Any:
    """The tree with a name in place of each array, which goes to `arrays`."""
    match tree:
        case dict():
            return {str(key): _without_arrays(value, (*path, str(key)), arrays) for key, value in tree.items()}
        case list() | tuple():
            return [_without_arrays(value, (*path, str(i)), arrays) for i, value in enumerate(tree)]
        case Tensor() | np.ndarray():
            name = ".".join(path)
            arrays[name] = np.ascontiguousarray(tree.data if isinstance(tree, Tensor) else tree).reshape(tree.shape)
            return {"$tensor": name}
        case np.generic():
            return tree.item()
    return tree


def _with_arrays(tree: Any, arrays: dict[str, np.ndarray]) -> Any:
    match tree:
        case {"$tensor": name}:
            return arrays[name]
        case dict():
            return {key: _with_arrays(value, arrays) for key, value in tree.items()}
        case list():
            return [_with_arrays(value, arrays) for value in tree]
    return tree
