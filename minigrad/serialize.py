"""Saving and loading tensors by name, as safetensors: a file others can read, that never runs code."""

import os
from collections.abc import Mapping
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy

from minigrad.files import write_whole
from minigrad.tensor import Tensor, as_tensor, tensor


def save(tensors: Mapping[str, Any], path: str | os.PathLike[str], metadata: Mapping[str, str] | None = None) -> None:
    """Write named tensors or arrays, such as a module's `state_dict()`, to a safetensors file.

    The file appears whole or not at all. Raises TypeError for names or values that cannot be saved.
    """
    arrays = {}
    for name, value in tensors.items():
        if not isinstance(name, str) or not isinstance(value, (Tensor, np.ndarray)):
            raise TypeError(f"save: need tensors or arrays by name, got {type(value).__name__} as {name!r}")
        arrays[name] = np.ascontiguousarray(as_tensor(value).data).reshape(value.shape)
    write_whole(path, safetensors.numpy.save(arrays, None if metadata is None else dict(metadata)))


def load(path: str | os.PathLike[str]) -> dict[str, Tensor]:
    """The tensors of a safetensors file by name; raises ValueError, naming the file, if it is not one."""
    arrays, _ = read(path, "load")
    return {name: tensor(array) for name, array in arrays.items()}


def read(path: str | os.PathLike[str], caller: str) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """The arrays of a safetensors file by name, and its metadata; raises ValueError, naming the file, if it is none."""
    try:
        with safetensors.safe_open(path, "np") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, file.metadata() or {}  # noqa: SIM118
    except safetensors.SafetensorError as error:
        raise ValueError(f"{caller}: {os.fspath(path)} is not a whole safetensors file ({error})") from None
