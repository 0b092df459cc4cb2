"""The locally connected layer: a convolution whose windows do not share their weights.

x (N, C, H, W), w (OH * OW, K, C * FH * FW), y and dy (N, OH * OW, K): each pixel has its own matrix.
"""

from .jit import kernel
from .reduce import CHUNK
from .threads import Launcher
from .windows import axis_of, gather_patches, scatter_patches


@kernel(reassociate=True)  # a dot product is vectorised only if its terms may be added in another order
def _dot(a, b):
    total = a.dtype.type(0)
    for i in range(a.size):
        total += a[i] * b[i]
    return total


@kernel
def forward_range(start, stop, part, x, w, axes, y, scratch):
    height, width = axis_of(axes, 0), axis_of(axes, 1)
    pixels, filters, _ = w.shape
    patches = scratch[part]
    for n in range(start, stop):
        gather_patches(x[n], 0, x.shape[1], height, width, 0, height[5], patches)
        for p in range(pixels):
            for k in range(filters):
                y[n, p, k] = _dot(w[p, k], patches[p])


local_forward = Launcher(forward_range, flushes=True)
"""y[n, p] = w[p] times the cells that window p sees of x[n]. scratch (parts, OH * OW, terms)."""


@kernel
def input_gradient_range(start, stop, part, dy, w, axes, dx, scratch):
    height, width = axis_of(axes, 0), axis_of(axes, 1)
    pixels, filters, terms = w.shape
    patches = scratch[part]
    for n in range(start, stop):
        for p in range(pixels):
            patch = patches[p]
            patch[:] = 0
            for k in range(filters):
                g, row = dy[n, p, k], w[p, k]
                for r in range(terms):
                    patch[r] += g * row[r]
        dx[n] = 0
        scatter_patches(patches, 0, dx.shape[1], height, width, 0, height[5], dx[n])


local_input_gradient = Launcher(input_gradient_range, flushes=True)
"""dx of local_forward."""


@kernel
def weight_gradient_range(start, stop, part, dy, x, axes, partial, scratch):
    height, width = axis_of(axes, 0), axis_of(axes, 1)
    samples, pixels, filters = dy.shape
    terms = partial.shape[3]
    patches = scratch[part]
    for chunk in range(start, stop):
        dw = partial[chunk]
        dw[:] = 0
        for n in range(chunk * CHUNK, min(samples, (chunk + 1) * CHUNK)):
            gather_patches(x[n], 0, x.shape[1], height, width, 0, height[5], patches)
            for p in range(pixels):
                patch = patches[p]
                for k in range(filters):
                    g, row = dy[n, p, k], dw[p, k]
                    for r in range(terms):
                        row[r] += g * patch[r]


local_weight_gradient = Launcher(weight_gradient_range, flushes=True)
"""partial (chunks, OH * OW, K, terms): dw of each chunk of the batch, for tree_sum."""
