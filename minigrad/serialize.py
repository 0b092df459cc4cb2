"""Saving and loading tensors by name, as safetensors: a file others can read, that never runs code."""

import errno
import os
from collections.abc import Mapping
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy

from minigrad.files import path_of, write_whole
from minigrad.kinds import refuse
from minigrad.tensor import Tensor, as_tensor, tensor

_DTYPES = {"BOOL", "F32", "F64", *(f"{kind}{bits}" for kind in "IU" for bits in (8, 16, 32, 64))}  # as they name ours


def save(tensors: Mapping[str, Any], path: str | os.PathLike[str], metadata: Mapping[str, str] | None = None) -> None:
    """Write named tensors or arrays, such as a module's `state_dict()`, to a safetensors file.

    The file appears whole or not at all. Raises TypeError for names or values that cannot be saved.
    """
    path = path_of("save", path)
    pairs = [(None, None)] if not isinstance(metadata, Mapping) else metadata.items()
    if metadata is not None and not all(isinstance(text, str) for pair in pairs for text in pair):
        refuse("save", "metadata", "strings by name", metadata)
    arrays = {}
    for name, value in tensors.items():
        if not isinstance(name, str) or not isinstance(value, (Tensor, np.ndarray)):
            raise TypeError(f"save: need tensors or arrays by name, got {type(value).__name__} as {name!r}")
        arrays[name] = np.ascontiguousarray(as_tensor(value).data).reshape(value.shape)
    write_whole(path, safetensors.numpy.save(arrays, None if metadata is None else dict(metadata)))


def load(path: str | os.PathLike[str]) -> dict[str, Tensor]:
    """The tensors of a safetensors file by name.

    Raises: ValueError, naming the file, if it is not one; TypeError, naming the tensor, for a dtype that minigrad does
    not have.
    """
    arrays, _ = read(path, "load")
    return {name: tensor(array) for name, array in arrays.items()}


def read(path: str | os.PathLike[str], caller: str) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """The arrays of a safetensors file by name, and its metadata; errors as `load`'s, naming the caller."""
    path = path_of(caller, path)
    if path.is_dir():  # of which safetensors says "No such device"
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    try:
        with safetensors.safe_open(path, framework="np") as file:
            names = file.keys()
            foreign = {name: dtype for name in names if (dtype := file.get_slice(name).get_dtype()) not in _DTYPES}
            if foreign:
                listed = ", ".join(f"{name} ({dtype})" for name, dtype in foreign.items())
                raise TypeError(f"{caller}: {path}: need booleans, integers, F32 or F64, got {listed}")
            return {name: file.get_tensor(name) for name in names}, file.metadata() or {}
    except safetensors.SafetensorError as error:
        raise ValueError(f"{caller}: {path} is not a whole safetensors file ({error})") from None
