"""Locally connected layers: local connectivity without shared weights, the step between dense and convolution."""

import math
from typing import Any

import numpy as np

from minigrad.kernels import local as kernels
from minigrad.kernels.threads import parts
from minigrad.op import Array, Op, op
from minigrad.ops.batch import sum_over_batch
from minigrad.ops.checks import one_float_dtype
from minigrad.ops.conv import SPATIAL, WINDOW
from minigrad.ops.correlation import Axes
from minigrad.ops.geometry import plane
from minigrad.ops.memory import allocate


def _image(x: np.ndarray) -> np.ndarray:
    """Images as kernels take them, a signal as an image of one row."""
    return x if x.ndim == 4 else x.reshape(*x.shape[:2], 1, x.shape[2])


def _pixels_of(dy: np.ndarray) -> np.ndarray:
    """(N, K, OH, OW) as (N, K, OH * OW)."""
    return dy.reshape(*dy.shape[:2], math.prod(dy.shape[2:]))


def _pixels_first(dy: np.ndarray) -> np.ndarray:
    """(N, K, ...) as (N, pixels, K): in the kernel each pixel has its own filters."""
    return np.ascontiguousarray(_pixels_of(dy).swapaxes(1, 2))


def _matrices(w: np.ndarray, rank: int) -> np.ndarray:
    """(OH, OW, K, C, FH, FW) as one matrix (K, terms) per pixel."""
    return w.reshape(math.prod(w.shape[:rank]), w.shape[rank], math.prod(w.shape[rank + 1 :]))


def _family(rank: int) -> tuple[Op[Any], Op[Any], Op[Any]]:
    """locally_connected{rank}d and its gradients: like a convolution's, one trilinear form."""
    name = f"locally_connected{rank}d"
    input_name, weight_name = f"{name}_input_gradient", f"{name}_weight_gradient"

    def check(title: str, axes: Axes, x: np.ndarray | None, w: np.ndarray | None, dy: np.ndarray | None) -> None:
        one_float_dtype(title, x, w, dy)
        outs, sizes, windows = (tuple(a[i] for a in axes) for i in (5, 0, 1))
        if x is not None and (x.ndim != rank + 2 or x.shape[2:] != sizes):
            raise ValueError(f"{title}: need input (N, C, {SPATIAL[rank]}) with sizes {sizes}, got {x.shape}")
        if dy is not None and (dy.ndim != rank + 2 or dy.shape[2:] != outs):
            raise ValueError(f"{title}: need dy (N, K, {SPATIAL[rank]}) with sizes {outs}, got {dy.shape}")
        if w is not None:
            filters, channels = w.shape[rank : rank + 2] if w.ndim == 2 * rank + 2 else (-1, -1)
            channels = channels if x is None else x.shape[1]
            filters = filters if dy is None else dy.shape[1]
            if w.shape != (*outs, filters, channels, *windows):
                raise ValueError(
                    f"{title}: need weight (outputs, K, C, {WINDOW[rank]}) with outputs {outs}, C = {channels}, "
                    f"windows {windows}, got {w.shape}"
                )
        if x is not None and dy is not None and x.shape[0] != dy.shape[0]:
            raise ValueError(f"{title}: input {x.shape} and dy {dy.shape} differ in N")

    @op(name=name)
    def layer(x: Array, w: Array, *, axes: Axes) -> Any:
        """y[n, k, p] = the sum over c and the cells of window p of w[p, k, c] x[n, c]: a filter for each place"""
        check(name, axes, x, w, None)
        matrices, samples = _matrices(w, rank), x.shape[0]
        pixels, filters, terms = matrices.shape
        y = allocate((samples, pixels, filters), x.dtype)
        if y.size:
            n_parts = parts(samples, y.size * terms // 4)
            scratch = allocate((n_parts, pixels, terms), x.dtype)
            kernels.local_forward(n_parts, samples, _image(x), matrices, plane(axes), y, scratch)
        out = np.ascontiguousarray(y.swapaxes(1, 2))
        return out.reshape(samples, filters, *(a.out for a in axes)), (x, w, axes)

    @layer.vjp(masked=True)
    def layer_vjp(dy: Array, x: Array, w: Array, axes: Axes, *, needs: tuple[bool, ...]) -> Any:
        dx = input_gradient(dy, w, axes=axes) if needs[0] else None
        return dx, weight_gradient(dy, x, axes=axes) if needs[1] else None

    @op(name=input_name)
    def input_gradient(dy: Array, w: Array, *, axes: Axes) -> Any:
        """What the layer sends back to its input"""
        check(input_name, axes, None, w, dy)
        samples = dy.shape[0]
        dx = allocate((samples, w.shape[rank + 1], *(a.size for a in axes)), dy.dtype)
        if dx.size:
            matrices = _matrices(w, rank)
            n_parts = parts(samples, dy.size * matrices.shape[2] // 4)
            scratch = allocate((n_parts, matrices.shape[0], matrices.shape[2]), dy.dtype)
            kernels.local_input_gradient(
                n_parts, samples, _pixels_first(dy), matrices, plane(axes), _image(dx), scratch
            )
        return dx, (dy, w, axes)

    @input_gradient.vjp(masked=True)
    def input_gradient_vjp(g: Array, dy: Array, w: Array, axes: Axes, *, needs: tuple[bool, ...]) -> Any:
        d_dy = layer(g, w, axes=axes) if needs[0] else None
        return d_dy, weight_gradient(dy, g, axes=axes) if needs[1] else None

    @op(name=weight_name)
    def weight_gradient(dy: Array, x: Array, *, axes: Axes) -> Any:
        """What the layer sends back to its weights"""
        check(weight_name, axes, x, None, dy)
        samples, filters = dy.shape[:2]
        shape = (*(a.out for a in axes), filters, x.shape[1], *(a.window for a in axes))
        if not (x.size and dy.size):
            return np.zeros(shape, dy.dtype), (dy, x, axes)
        out, images = _pixels_first(dy), _image(x)
        pixels, terms = out.shape[1], math.prod(shape[rank + 1 :])

        def chunk_sums(some: slice, partial: np.ndarray) -> None:
            chunks = len(partial)
            n_parts = parts(chunks, out[some].size * terms // 4)
            scratch = allocate((n_parts, pixels, terms), dy.dtype)
            kernels.local_weight_gradient(n_parts, chunks, out[some], images[some], plane(axes), partial, scratch)

        dw = sum_over_batch(samples, (pixels, filters, terms), dy.dtype, chunk_sums)
        return dw.reshape(shape), (dy, x, axes)

    @weight_gradient.vjp(masked=True)
    def weight_gradient_vjp(g: Array, dy: Array, x: Array, axes: Axes, *, needs: tuple[bool, ...]) -> Any:
        d_dy = layer(x, g, axes=axes) if needs[0] else None
        return d_dy, input_gradient(dy, g, axes=axes) if needs[1] else None

    return layer, input_gradient, weight_gradient


locally_connected1d, locally_connected1d_input_gradient, locally_connected1d_weight_gradient = _family(1)
locally_connected2d, locally_connected2d_input_gradient, locally_connected2d_weight_gradient = _family(2)
LOCALLY_CONNECTED = {1: locally_connected1d, 2: locally_connected2d}
