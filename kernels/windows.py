"""From images to the cells that a filter's window sees, and back.

One axis is (size, window, stride, before, dilation, out): sizes of input and window, step, padding before the first
cell, distance of a window's cells, and number of windows; height and width come as one array `axes` of twelve. Cell f
of window o lies at o * stride - before + f * dilation.
"""

from .jit import kernel


@kernel
def axis_of(axes, which):
    """Height (0) or width (1) as a tuple."""
    i = 6 * which
    return axes[i], axes[i + 1], axes[i + 2], axes[i + 3], axes[i + 4], axes[i + 5]


@kernel
def inside(axis, cell):
    """The windows [first, last) whose given cell lies in the input rather than in its padding."""
    size, _, stride, before, dilation, out = axis
    offset = cell * dilation - before
    first = min(out, max(0, (stride - 1 - offset) // stride))
    last = min(out, (size - 1 - offset) // stride + 1)
    return first, max(first, last)


@kernel
def gather_patches(x, channel, channels, height, width, top, bottom, patches):
    """patches[(oh, ow), (c, fh, fw)] = the cell of x that window (oh, ow) sees at (fh, fw), for top <= oh < bottom."""
    size_h, fh, sh, ph, dh, _ = height
    size_w, fw, sw, pw, dw, out_w = width
    for oh in range(top, bottom):
        for ow in range(out_w):
            patch = patches[(oh - top) * out_w + ow]
            r = 0
            for c in range(channels):
                for i in range(fh):
                    h = oh * sh - ph + i * dh
                    for j in range(fw):
                        w = ow * sw - pw + j * dw
                        seen = 0 <= h < size_h and 0 <= w < size_w
                        patch[r] = x[channel + c, h, w] if seen else 0
                        r += 1


@kernel
def scatter_patches(patches, channel, channels, height, width, top, bottom, dx):
    """The transpose of gather_patches: dx gets each patch's value added at the cell it came from."""
    size_h, fh, sh, ph, dh, _ = height
    size_w, fw, sw, pw, dw, out_w = width
    for oh in range(top, bottom):
        for ow in range(out_w):
            patch = patches[(oh - top) * out_w + ow]
            r = 0
            for c in range(channels):
                for i in range(fh):
                    h = oh * sh - ph + i * dh
                    for j in range(fw):
                        w = ow * sw - pw + j * dw
                        if 0 <= h < size_h and 0 <= w < size_w:
                            dx[channel + c, h, w] += patch[r]
                        r += 1
