"""Checks that ops share. Kernels trust what they get; here is where it is looked at."""

from typing import Any

import numpy as np

from minigrad.dtypes import refuse_mask
from minigrad.tape import Variable

_FLOATS = (np.dtype(np.float32), np.dtype(np.float64))


def one_dtype(name: str, *arrays: np.ndarray | None) -> np.dtype:
    """The one dtype of an op's arrays."""
    found = None
    for array in arrays:  # the usual case, kept fast
        if array is not None and array.dtype is not found:
            if found is not None or not array.dtype.isnative:
                break
            found = array.dtype
    else:
        if found is not None:
            return found
    dtypes = list(dict.fromkeys(a.dtype.newbyteorder("=") for a in arrays if a is not None))
    if len(dtypes) > 1:
        raise TypeError(f"{name}: need one dtype, got {' and '.join(map(str, dtypes))}; convert with .to(dtype)")
    return dtypes[0]


def one_float_dtype(name: str, *arrays: np.ndarray | None) -> np.dtype:
    """The one dtype of an op's arrays: float32 or float64."""
    dtype = one_dtype(name, *arrays)
    if dtype not in _FLOATS:
        raise TypeError(f"{name}: need float32 or float64, got {dtype}")
    return dtype


def check_arrays(name: str, *values: Any) -> None:
    """Functions that look at shapes before any op does need what has one."""
    for value in values:
        refuse_mask(name, value)
        if not isinstance(value, (Variable, np.ndarray, np.generic)):
            raise TypeError(f"{name}: need tensors or arrays, got {type(value).__name__}")
