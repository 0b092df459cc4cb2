"""The 1x1 convolution: a mixing of channels, the same at every pixel. No windows, only products.

x (N, C, P), y and dy (N, K, P), w (K, C).
"""

from .jit import kernel
from .matrix import add_product
from .reduce import CHUNK
from .threads import Launcher


@kernel
def forward_range(start, stop, part, x, w, bias, y):
    filters, channels = w.shape
    for n in range(start, stop):
        for k in range(filters):
            y[n, k, :] = bias[k] if bias.size else 0
        add_product(y[n], 0, 0, w, 0, 0, x[n], 0, 0, filters, channels, x.shape[2])


conv1x1_forward = Launcher(forward_range)
"""y[n] = w x[n] + bias, with bias (K) or empty; with w transposed and no bias, dx from dy."""


@kernel
def weight_gradient_range(start, stop, part, dy, x, partial, scratch):
    samples, filters, pixels = dy.shape
    channels = x.shape[1]
    transposed = scratch[part]
    for chunk in range(start, stop):
        dw = partial[chunk]
        dw[:] = 0
        for n in range(chunk * CHUNK, min(samples, (chunk + 1) * CHUNK)):
            for c in range(channels):
                for p in range(pixels):
                    transposed[p, c] = x[n, c, p]
            add_product(dw, 0, 0, dy[n], 0, 0, transposed, 0, 0, filters, pixels, channels)


conv1x1_weight_gradient = Launcher(weight_gradient_range)
"""partial (chunks, K, C): dw of each chunk of the batch, for tree_sum. scratch (parts, P, C)."""
