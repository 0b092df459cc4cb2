"""Parameter: a tensor that a module learns."""

from typing import Any

import numpy as np

from minigrad.dtypes import check_dtype, default_float
from minigrad.tape import Storage
from minigrad.tensor import Tensor


class Parameter(Tensor):
    """A leaf tensor that becomes a parameter of the module it is assigned to.

    It copies `data`: a tensor, an array, or nested lists. Raises: TypeError for integers that are to require grad.
    """

    __slots__ = ()

    def __init__(self, data: Any, requires_grad: bool = True):
        super().__init__(data, requires_grad=requires_grad)

    def __repr__(self) -> str:
        return f"Parameter containing:\n{super().__repr__()}"


def blank(shape: tuple[int, ...], dtype: Any, value: float = 0.0) -> Parameter:
    """A parameter of one value, float32 unless `dtype` says otherwise, for an initialiser to fill."""
    return Parameter(np.full(shape, value, check_dtype("dtype", default_float if dtype is None else dtype)))


def convert(tensor: Tensor, dtype: np.dtype[Any]) -> None:
    """Give a floating tensor, and its gradient, another dtype: the same object, so that optimisers still know it."""
    if tensor.dtype.kind != "f" or tensor.dtype == dtype:
        return
    tensor._storage.version += 1  # what was recorded with the old values must not be differentiated with the new ones
    tensor._array, tensor._storage = tensor._array.astype(dtype), Storage()
    if tensor.grad is not None:
        tensor.grad = tensor.grad.detach().to(dtype)
