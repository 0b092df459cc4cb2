"""Where ops get memory for outputs and scratch: kernels allocate nothing."""

from typing import Any

import numpy as np


def allocate(shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    """An array that a kernel is about to fill."""
    return np.empty(shape, dtype)
