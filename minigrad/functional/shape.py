"""Layers without weights of their own: linear maps of given weights, embeddings, padding, resizing, one-hot codes."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from minigrad import ops
from minigrad.functional.arguments import takes_arrays
from minigrad.functional.pool import adaptive_avg_pool1d, adaptive_avg_pool2d
from minigrad.kinds import check_kind, several
from minigrad.op import Array
from minigrad.ops.checks import one_float_dtype
from minigrad.ops.geometry import LARGEST, integer
from minigrad.tape import Variable
from minigrad.trail import FeaturesError


@takes_arrays
def linear(input: Array, weight: Array, bias: Array | None = None) -> Any:
    """A linear map of the last dimension: y[..., k] = bias[k] + sum over c of weight[k, c] x[..., c].

    Shapes: input (..., C), weight (K, C), bias (K); result (..., K).
    Raises: ValueError where shapes do not fit, TypeError for mixed dtypes.
    """
    return over_rows(ops.linear, input, weight, bias)


def over_rows(layer: Callable[..., Any], input: Array, weight: Array, bias: Array | None) -> Any:
    """A linear layer for (N, C) applied to (..., C)."""
    if not len(input.shape) or len(weight.shape) != 2 or input.shape[-1] != weight.shape[1]:
        columns = weight.shape[-1] if len(weight.shape) else "C"
        shapes = f"{tuple(input.shape)} and {tuple(weight.shape)}"
        rule = f"linear: need input (..., {columns}) and weight (K, C), got {shapes}"
        raise FeaturesError(rule, weight, input.shape)
    if len(input.shape) == 2:
        return layer(input, weight, bias)
    flat = ops.reshape(input, shape=(math.prod(input.shape[:-1]), input.shape[-1]))
    y = layer(flat, weight, bias, rows=max(1, math.prod(input.shape[1:-1])))
    return ops.reshape(y, shape=(*input.shape[:-1], weight.shape[0]))


def _integers(name: str, values: Array) -> np.ndarray:
    """Integers in a piece: of more than memory can hold, a look at each would take for ever."""
    numbers = np.asarray(values._array if isinstance(values, Variable) else values)
    if numbers.dtype.kind not in "iu":
        raise TypeError(f"{name}: need integers, got {numbers.dtype}")
    return np.array(numbers, order="C", copy=None)


@takes_arrays
def embedding(input: Array, weight: Array, padding_idx: int | None = None) -> Any:
    """The rows of weight that integers choose: y[i] = weight[input[i]]; the row `padding_idx` gets no gradient.

    Shapes: input integers of any shape, weight (V, D); result (*input.shape, D). Raises: ValueError outside [0, V).
    """
    numbers = _integers("embedding", input)
    if len(weight.shape) != 2:
        raise ValueError(f"embedding: need weight (V, D), got {tuple(weight.shape)}")
    rows = weight.shape[0]
    if numbers.size and not (numbers.min() >= 0 and numbers.max() < rows):
        raise ValueError(f"embedding: need numbers in [0, {rows}), got {numbers.min()} to {numbers.max()}")
    indices = ops.cast(input, dtype=np.int64)  # a copy: backward needs them as they are now
    y = ops.take(weight, indices)
    if padding_idx is None:
        return y
    if not -rows <= integer("embedding", "padding_idx", padding_idx, -rows) < rows:
        raise ValueError(f"embedding: need padding_idx in [{-rows}, {rows}), got {padding_idx}")
    constant = y.detach() if isinstance(y, Variable) else y  # type: ignore[attr-defined]
    return ops.where(ops.unsqueeze(ops.equal(indices, padding_idx % rows), -1), constant, y)


@takes_arrays
def pad(input: Array, pad: Sequence[int], mode: str = "constant", value: float | None = None) -> Any:
    """Values added around a tensor: pairs (before, after) for the last dimension first, as in PyTorch.

    `mode` is 'constant' (with `value`, 0 if None; negative widths cut off), 'reflect', 'replicate' or 'circular'.
    Raises: ValueError for widths that do not fit.
    """
    widths = tuple(integer("pad", "widths", w, -LARGEST) for w in several("pad", "pad", pad))
    ndim = len(input.shape)
    if len(widths) % 2 or len(widths) > 2 * ndim:
        raise ValueError(f"pad: need pairs of widths, for at most {ndim} dimensions, got {widths}")
    pairs = [(0, 0)] * (ndim - len(widths) // 2) + list(zip(widths[::2], widths[1::2], strict=True))[::-1]
    if mode == "constant":
        return ops.pad(input, widths=tuple(pairs), value=0.0 if value is None else value)
    if mode not in ("reflect", "replicate", "circular"):
        raise ValueError(f"pad: need mode 'constant', 'reflect', 'replicate' or 'circular', got {mode!r}")
    y = input
    for dim, (before, after) in enumerate(pairs):
        if (before, after) != (0, 0):
            y = y[(*(slice(None),) * dim, _around(mode, input.shape[dim], before, after))]
    return y


def _around(mode: str, size: int, before: int, after: int) -> np.ndarray:
    """Which cells a padded axis shows."""
    most = {"reflect": size - 1, "circular": size, "replicate": max(before, after) if size else 0}[mode]
    if min(before, after) < 0 or max(before, after) > most:
        raise ValueError(f"pad: mode {mode!r} takes widths from 0 to {most} for size {size}, got {(before, after)}")
    places = np.arange(-before, size + after)
    if mode == "replicate":
        return np.clip(places, 0, size - 1)
    if mode == "circular":
        return places % size
    return (size - 1) - np.abs((size - 1) - np.abs(places))


@takes_arrays
def one_hot(tensor: Array, num_classes: int = -1) -> Any:
    """1 at each integer's place, 0 elsewhere; of -1 classes there are as many as the largest integer needs.

    Shapes: tensor (...) of integers; result (..., num_classes), int64.
    Raises: ValueError outside [0, num_classes), TypeError for what are no integers.
    """
    numbers = _integers("one_hot", tensor)
    if num_classes == -1:
        if not numbers.size:
            raise ValueError("one_hot: need num_classes where there are no numbers")
        num_classes = max(int(numbers.max()) + 1, 1)
    integer("one_hot", "num_classes", num_classes, 1)
    if numbers.size and not (numbers.min() >= 0 and numbers.max() < num_classes):
        raise ValueError(f"one_hot: need numbers in [0, {num_classes}), got {numbers.min()} to {numbers.max()}")
    return ops.cast(ops.equal(ops.unsqueeze(tensor, -1), np.arange(num_classes)), dtype=np.int64)


@takes_arrays
def interpolate(
    input: Array,
    size: int | Sequence[int] | None = None,
    scale_factor: float | Sequence[float] | None = None,
    mode: str = "nearest",
    align_corners: bool | None = None,
) -> Any:
    """Resize signals or images: mode 'nearest', 'linear' (N, C, L), 'bilinear' (N, C, H, W), or 'area' (means).

    A result's cell i lies at (i + 0.5) / scale - 0.5 of the input, or with `align_corners` at i (H - 1) / (OH - 1).
    Give either `size`, or `scale_factor` for floor(H scale).
    Shapes: input (N, C, L) or (N, C, H, W); result (N, C, OL) or (N, C, OH, OW).
    Raises: ValueError for other modes, ranks or sizes.
    """
    one_float_dtype("interpolate", input)
    rank = len(input.shape) - 2
    if rank not in (1, 2):
        raise ValueError(f"interpolate: need input (N, C, L) or (N, C, H, W), got {tuple(input.shape)}")
    if (size is None) == (scale_factor is None):
        raise ValueError("interpolate: need either size or scale_factor")
    if mode not in ("nearest", "area", {1: "linear", 2: "bilinear"}[rank]):
        raise ValueError(f"interpolate: need mode 'nearest', 'linear' (1-D), 'bilinear' (2-D) or 'area', got {mode!r}")
    if align_corners and mode in ("nearest", "area"):
        raise ValueError("interpolate: align_corners goes with 'linear' and 'bilinear'")
    sizes = tuple(input.shape[2:])
    given = size if scale_factor is None else scale_factor
    values = several("interpolate", "size or scale_factor", given)
    values = values * rank if len(values) == 1 else values
    if len(values) != rank:
        raise ValueError(f"interpolate: need one size or scale_factor, or {rank}, got {given!r}")
    if scale_factor is None:
        outs = tuple(integer("interpolate", "size", v, 1) for v in values)
        scales = tuple(out / s for out, s in zip(outs, sizes, strict=True)) if min(sizes) else (1.0,) * rank
    else:
        for value in values:
            check_kind("interpolate", "scale_factor", float, value)
        scales = tuple(map(float, values))
        if not all(map(math.isfinite, scales)):
            raise ValueError(f"interpolate: need finite scale_factor, got {scale_factor}")
        outs = tuple(integer("interpolate", "size", int(s * v), 1) for s, v in zip(sizes, scales, strict=True))
    if min(sizes) < 1:
        raise ValueError(f"interpolate: need at least one cell, got {tuple(input.shape)}")
    if mode == "area":
        return (adaptive_avg_pool1d, adaptive_avg_pool2d)[rank - 1](input, outs)
    y = input
    for i, (s, out, scale) in enumerate(zip(sizes, outs, scales, strict=True)):
        before = (slice(None),) * (2 + i)
        if mode == "nearest":
            # Of a given size the exact quotient: with a rounded scale, cells on a boundary would come out one too low.
            # Of a scale_factor PyTorch's, which rounds to float32.
            rounded = (np.arange(out, dtype=np.float32) * np.float32(1 / scale)).astype(np.int64)
            places = np.arange(out) * s // out if scale_factor is None else rounded
            y = y[(*before, np.minimum(places, s - 1))]
        elif out != s:  # as in PyTorch, where a scale_factor that leaves the size as it is then changes nothing
            low, high, share = _neighbours(s, out, scale, bool(align_corners))
            share = share.astype(input.dtype).reshape(-1, *(1,) * (rank - 1 - i))
            y = y[(*before, low)] * (1 - share) + y[(*before, high)] * share
    return y


def _neighbours(size: int, out: int, scale: float, align_corners: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """For each cell of the result the two of the input beside it, and how far towards the second it lies."""
    if align_corners:
        places = np.arange(out) * ((size - 1) / max(out - 1, 1))
    else:
        places = np.maximum((np.arange(out) + 0.5) / scale - 0.5, 0.0)
    low = np.minimum(places.astype(np.int64), size - 1)
    return low, np.minimum(low + 1, size - 1), np.minimum(places - low, 1.0)
