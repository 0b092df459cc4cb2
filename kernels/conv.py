"""Cross-correlation of images with filters, and its two gradients.

x (N, C, H, W), y and dy (N, K, OH * OW). The cells that each window of an image sees are gathered as columns, a
block of output rows at a time, and multiplied with the filters. `height` and `width` are axes as in windows.py.
"""

from .jit import kernel
from .matrix import add_product
from .reduce import CHUNK
from .threads import Launcher
from .windows import axis_of, gather_columns, gather_patches, scatter_columns


@kernel
def forward_range(start, stop, part, x, w, bias, groups, axes, block, y, scratch):
    height, width = axis_of(axes, 0), axis_of(axes, 1)
    filters, terms = w.shape
    channels, per_group = x.shape[1] // groups, filters // groups
    out_h, out_w = height[5], width[5]
    columns = scratch[part]
    for n in range(start, stop):
        for k in range(filters):
            y[n, k, :] = bias[k] if bias.size else 0
        for g in range(groups):
            for top in range(0, out_h, block):
                bottom = min(out_h, top + block)
                gather_columns(x[n], g * channels, channels, height, width, top, bottom, columns)
                first, pixels = g * per_group, (bottom - top) * out_w
                add_product(y[n], first, top * out_w, w, first, 0, columns, 0, 0, per_group, terms, pixels)


conv_forward = Launcher(forward_range)
"""y = x * w + bias, with w (K, C/groups * FH * FW) and bias (K) or empty. scratch (parts, terms, block * OW)."""


@kernel
def input_gradient_range(start, stop, part, dy, wt, groups, axes, block, dx, scratch):
    height, width = axis_of(axes, 0), axis_of(axes, 1)
    terms, per_group = wt.shape[0] // groups, wt.shape[1]
    channels = dx.shape[1] // groups
    out_h, out_w = height[5], width[5]
    columns = scratch[part]
    for n in range(start, stop):
        dx[n] = 0
        for g in range(groups):
            for top in range(0, out_h, block):
                bottom = min(out_h, top + block)
                pixels = (bottom - top) * out_w
                columns[:, :pixels] = 0
                add_product(
                    columns, 0, 0, wt, g * terms, 0, dy[n], g * per_group, top * out_w, terms, per_group, pixels
                )
                scatter_columns(columns, g * channels, channels, height, width, top, bottom, dx[n])


conv_input_gradient = Launcher(input_gradient_range)
"""dx of conv_forward, with wt (groups * terms, K/groups) the filters of each group transposed."""


@kernel
def weight_gradient_range(start, stop, part, dy, x, groups, axes, block, partial, scratch):
    height, width = axis_of(axes, 0), axis_of(axes, 1)
    samples, filters, _ = dy.shape
    terms = partial.shape[2]
    channels, per_group = x.shape[1] // groups, filters // groups
    out_h, out_w = height[5], width[5]
    patches = scratch[part]
    for chunk in range(start, stop):
        dw = partial[chunk]
        dw[:] = 0
        for n in range(chunk * CHUNK, min(samples, (chunk + 1) * CHUNK)):
            for g in range(groups):
                for top in range(0, out_h, block):
                    bottom = min(out_h, top + block)
                    gather_patches(x[n], g * channels, channels, height, width, top, bottom, patches)
                    first, pixels = g * per_group, (bottom - top) * out_w
                    add_product(dw, first, 0, dy[n], first, top * out_w, patches, 0, 0, per_group, pixels, terms)


conv_weight_gradient = Launcher(weight_gradient_range)
"""partial (chunks, K, terms): dw of each chunk of the batch, for tree_sum. scratch (parts, block * OW, terms)."""
