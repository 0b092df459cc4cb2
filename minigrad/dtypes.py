"""Which dtypes there are, and what comes out when they meet (PyTorch's rules, not NumPy's)."""

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np

DType = np.dtype[Any]

default_float = np.dtype(np.float32)
SUPPORTED: dict[DType, DType] = {
    np.dtype(name): np.dtype(name)  # NumPy's own objects, which are compared faster than equal ones
    for name in ("bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "float32", "float64")
}
_RANK = {"b": 0, "u": 1, "i": 1, "f": 2}


def check_dtype(what: str, dtype: Any) -> DType:
    """The dtype in native byte order; TypeError if minigrad has no such tensors."""
    try:
        native = np.dtype(dtype).newbyteorder("=")
    except TypeError as error:
        raise TypeError(f"{what}: need a NumPy dtype such as np.float32, got {dtype!r}") from error
    if native not in SUPPORTED:
        raise TypeError(f"{what}: need booleans, integers, float32 or float64, got {native}")
    return SUPPORTED[native]


def refuse_mask(what: str, value: Any) -> None:
    """TypeError for an array with a mask, whose hidden values would count as all others do."""
    if isinstance(value, np.ma.MaskedArray):
        raise TypeError(f"{what}: need an array without a mask, got a masked one; use .filled(value)")


def plain_array(what: str, value: Any) -> Any:
    """An array of a subclass as one of NumPy's own, which shares its memory; anything else as it is."""
    refuse_mask(what, value)
    return value.view(np.ndarray) if isinstance(value, np.ndarray) else value


def array_of(what: str, value: Any) -> np.ndarray:
    """An array, or nested lists of numbers, as one of NumPy's own; ValueError for lists that are no array."""
    try:
        return np.asarray(plain_array(what, value))
    except ValueError as error:
        raise ValueError(f"{what}: need an array ({error})") from None


def dtype_of_scalar(value: bool | int | float | np.generic) -> DType:
    """What a number becomes where nothing else decides: a Python one bool, int64 or the default float32."""
    if isinstance(value, np.generic):
        return value.dtype
    if isinstance(value, bool):
        return np.dtype(np.bool_)
    return np.dtype(np.int64) if isinstance(value, int) else default_float


def _meet(a: DType, b: DType) -> DType:
    """The dtype of two operands of equal standing: a float wins over any integer, whatever their sizes."""
    if _RANK[a.kind] != _RANK[b.kind]:
        return a if _RANK[a.kind] > _RANK[b.kind] else b
    if a.kind == "f" or a.kind == b.kind:
        return max(a, b, key=lambda dtype: dtype.itemsize)
    met = np.promote_types(a, b)
    return met if met in SUPPORTED and met.kind != "f" else np.dtype(np.int64)


def result_dtype(operands: Sequence[Any]) -> DType:
    """The dtype in which an elementwise op works on arrays and Python numbers.

    Arrays with dimensions decide; an array without, and after it a plain number, only where it is of a higher kind
    (bool < integer < float). So a float32 array keeps its precision beside 2.0 and beside a float64 array of shape ().
    """
    groups: tuple[list[DType], ...] = ([], [], [])
    for operand in operands:
        if isinstance(operand, np.ndarray):
            groups[0 if operand.ndim else 1].append(operand.dtype)
        elif operand is not None:
            groups[2].append(dtype_of_scalar(operand))
    found = [functools.reduce(_meet, group) for group in groups if group]
    return max(found, key=lambda dtype: _RANK[dtype.kind])  # of equal kinds the first


def promote(operands: list[Any]) -> list[Any]:
    """The operands as arrays of one dtype; booleans and None stay, and so do numbers beside an array that decides."""
    found = None
    for operand in operands:  # the usual case, kept fast: float arrays of one dtype
        if type(operand) is not np.ndarray or (found is not None and operand.dtype is not found):
            break
        found = operand.dtype
    else:
        if found is not None and found.kind == "f":
            return operands
    dtypes = [operand.dtype for operand in operands if isinstance(operand, np.ndarray)]
    is_mixed = dtypes.count(dtypes[0]) < len(dtypes) if dtypes else False
    if dtypes and not is_mixed and dtypes[0].kind == "f":
        return [operand.item() if isinstance(operand, np.generic) else operand for operand in operands]
    dtype = result_dtype(operands)

    def promoted(operand: Any) -> Any:
        if not isinstance(operand, np.ndarray):
            return operand if operand is None else np.asarray(operand, dtype)
        stays = operand.dtype == dtype or (operand.dtype.kind == "b" and is_mixed)
        return operand if stays else operand.astype(dtype)

    return list(map(promoted, operands))
