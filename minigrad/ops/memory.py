"""Where ops get memory for outputs and scratch: kernels allocate nothing."""

from typing import Any

import numpy as np


def allocate(shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    """An array that a kernel is about to fill."""
    try:
        return np.empty(shape, dtype)
    except ValueError:  # NumPy's word for more bytes than an address can count
        raise MemoryError(f"no memory holds an array of shape {shape} and dtype {np.dtype(dtype)}") from None
