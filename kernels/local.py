"""The locally connected layer: a convolution whose windows do not share their weights.

x (N, C, H, W), w (OH * OW, K, C * FH * FW), y and dy (N, OH * OW, K): each pixel has its own matrix.
"""

from .jit import kernel, prange
from .reduce import CHUNK
from .threads import Launcher
from .windows import gather_patches, scatter_patches


@kernel(reassociate=True)  # a dot product is vectorised only if its terms may be added in another order
def _dot(a, b):
    total = a.dtype.type(0)
    for i in range(a.size):
        total += a[i] * b[i]
    return total


@kernel
def forward_range(start, stop, part, x, w, height, width, y, scratch):
    pixels, filters, _ = w.shape
    patches = scratch[part]
    for n in range(start, stop):
        gather_patches(x[n], 0, x.shape[1], height, width, 0, height[5], patches)
        for p in range(pixels):
            for k in range(filters):
                y[n, p, k] = _dot(w[p, k], patches[p])


@kernel(parallel=True)
def forward_parallel(parts, n, x, w, height, width, y, scratch):
    for part in prange(parts):
        forward_range(part * n // parts, (part + 1) * n // parts, part, x, w, height, width, y, scratch)


local_forward = Launcher(forward_range, forward_parallel)
"""y[n, p] = w[p] times the cells that window p sees of x[n]. scratch (parts, OH * OW, terms)."""


@kernel
def input_gradient_range(start, stop, part, dy, w, height, width, dx, scratch):
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


@kernel(parallel=True)
def input_gradient_parallel(parts, n, dy, w, height, width, dx, scratch):
    for part in prange(parts):
        input_gradient_range(part * n // parts, (part + 1) * n // parts, part, dy, w, height, width, dx, scratch)


local_input_gradient = Launcher(input_gradient_range, input_gradient_parallel)
"""dx of local_forward."""


@kernel
def weight_gradient_range(start, stop, part, dy, x, height, width, partial, scratch):
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


@kernel(parallel=True)
def weight_gradient_parallel(parts, n, dy, x, height, width, partial, scratch):
    for part in prange(parts):
        weight_gradient_range(part * n // parts, (part + 1) * n // parts, part, dy, x, height, width, partial, scratch)


local_weight_gradient = Launcher(weight_gradient_range, weight_gradient_parallel)
"""partial (chunks, OH * OW, K, terms): dw of each chunk of the batch, for tree_sum."""
