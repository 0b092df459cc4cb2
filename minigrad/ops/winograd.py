"""3x3 convolutions of arrays at stride 1 by Winograd's F(4x4, 3x3)."""

import functools

import numpy as np

from minigrad.kernels import winograd as kernels
from minigrad.kernels.simd import VECTOR_BYTES
from minigrad.kernels.threads import parts
from minigrad.kernels.tile import ROWS
from minigrad.ops.batch import sum_over_batch
from minigrad.ops.geometry import Axis
from minigrad.ops.memory import allocate

LEAST_CHANNELS = 16  # on either side: with fewer, the transforms cost more than they save
LEAST_OUTPUTS = 3  # along each axis: a tile has four

_enabled = True


def set_winograd_enabled(enabled: bool) -> None:
    """Whether 3x3 convolutions at stride 1 with 16 channels and filters or more may use Winograd's transforms.

    At first they may. In float32 the largest difference from float64 is then some 2e-6 of the largest output, 1e-6
    without, and a NaN or an infinity spreads over the 4 x 4 outputs of its tile. The setting holds for the whole
    process, for gradients as well. Raises: TypeError for anything but a truth value.
    """
    global _enabled
    if not isinstance(enabled, bool | np.bool_):
        raise TypeError(f"set_winograd_enabled: need True or False, got {enabled!r}")
    _enabled = bool(enabled)


def is_winograd_enabled() -> bool:
    """Whether 3x3 convolutions at stride 1 may use Winograd's transforms."""
    return _enabled


def suits(axes: tuple[Axis, ...], channels: int, filters: int, groups: int) -> bool:
    """Whether the transform pays for such a convolution, and for its gradients."""
    return (
        _enabled
        and len(axes) == 2
        and groups == 1
        and min(channels, filters) >= LEAST_CHANNELS
        and all(
            (a.window, a.stride, a.dilation) == (3, 1, 1)
            and max(a.before, a.after) <= 2
            and min(a.out, a.size) >= LEAST_OUTPUTS
            for a in axes
        )
    )


@functools.lru_cache(maxsize=256)
def _places(height: int, width: int, top: int, left: int, pitch: int, lanes: int) -> np.ndarray:
    """Where each pixel of an image lies in its block."""
    return (((np.arange(height) + top)[:, None] * pitch + np.arange(width) + left) * lanes).reshape(-1)


def _sizes(samples: int, channels: int, filters: int, axes: tuple[Axis, ...]) -> kernels.TileSizes:
    height, width = axes
    down, across = -(-height.out // 4), -(-width.out // 4)
    return kernels.TileSizes(
        samples, channels, filters, height.size, width.size, height.out, width.out, down, across, _rows(across)
    )


def _rows(across: int) -> int:
    """How many rows of tiles to compute at a time: about a block, and as near as can be to a number of whole tiles."""
    return max(range(1, max(1, kernels.BLOCK // across) + 1), key=lambda r: (r * across / -(-r * across // ROWS), r))


def reversed_axes(axes: tuple[Axis, ...]) -> tuple[Axis, ...]:
    """The convolution of dy with the flipped filters that gives dx."""
    return tuple(Axis(a.out, 3, 1, 2 - a.before, 1, a.size, 2 - a.after) for a in axes)


def forward(
    x: np.ndarray,
    panels: np.ndarray,
    bias: np.ndarray,
    axes: tuple[Axis, ...],
    y: np.ndarray,
    floor: float,
    codes: np.ndarray,
) -> None:
    """Fill y (and codes) from filters in panels (panels, 3 * C * 3, width) and a bias as long as these are wide."""
    count, _, width = panels.shape
    (samples, channels), filters = x.shape[:2], y.shape[1]
    u = allocate((count, kernels.PLACES, channels, width), x.dtype)
    step = VECTOR_BYTES // x.dtype.itemsize
    n_parts = parts(count * channels, 2 * u.size)
    scratch = allocate((n_parts, kernels.PLACES * step), x.dtype)
    kernels.transform_filters(n_parts, count * channels, panels.reshape(-1), channels, u.reshape(-1), scratch)

    sizes = _sizes(samples, channels, filters, axes)
    blocks = -(-samples * sizes.down // sizes.rows)
    n_parts = parts(blocks, samples * sizes.down * sizes.across * u.size // 30)
    scratch = allocate((n_parts, kernels.forward_scratch(sizes, step)), x.dtype)
    where = _places(axes[0].size, axes[1].size, axes[0].before, axes[1].before, 4 * sizes.across + 2, step)
    kernels.winograd_forward(
        n_parts, blocks, x.reshape(-1), u.reshape(-1), bias, where, np.array(sizes, np.int64), x.dtype.type(floor),
        y.reshape(-1), codes.reshape(-1), scratch,
    )  # fmt: skip


def weight_gradient(dy: np.ndarray, x: np.ndarray, axes: tuple[Axis, ...], count: int, width: int) -> np.ndarray:
    """dw in panels (count, 3 * C * 3, width)."""
    channels, filters, step = x.shape[1], dy.shape[1], VECTOR_BYTES // x.dtype.itemsize
    height, across = axes

    def chunk_sums(some: slice, partial: np.ndarray) -> None:
        sizes = _sizes(len(x[some]), channels, filters, axes)
        tiles = sizes.samples * sizes.down * sizes.across
        n_parts = parts(len(partial), tiles * kernels.PLACES * channels * filters // 30)
        scratch = allocate((n_parts, kernels.weight_scratch(sizes, step)), x.dtype)
        pitch = 4 * sizes.across
        kernels.winograd_weight_gradient(
            n_parts, len(partial), dy[some].reshape(-1), x[some].reshape(-1),
            _places(height.size, across.size, height.before, across.before, pitch + 2, step),
            _places(height.out, across.out, 0, 0, pitch, step), np.array(sizes, np.int64),
            partial.reshape(len(partial), -1), scratch,
        )  # fmt: skip

    return sum_over_batch(len(x), (count, channels * 9, width), x.dtype, chunk_sums)
