"""Images as arrays (N, C, H, W), bytes or floats in [0, 1]: conversion and enlarging."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from minigrad.data.sampling import whole
from minigrad.dtypes import array_of

MOST_PIXELS = 1 << 16  # each way
Images = NDArray[np.floating[Any]]
Pixels = NDArray[np.uint8] | Images


def to_pixels(images: ArrayLike) -> Pixels:
    """Images (N, H, W) or (N, C, H, W) as (N, C, H, W), of native bytes or floats that are finite."""
    pixels: NDArray[Any] = array_of("arrays", images)
    if pixels.ndim not in (3, 4) or 0 in pixels.shape[1:]:
        raise ValueError(f"arrays: need images (N, H, W) or (N, C, H, W) with C, H, W >= 1, got {pixels.shape}")
    if pixels.ndim == 3:
        pixels = pixels[:, None]
    native = pixels.dtype.newbyteorder("=")
    if native not in (np.uint8, np.float32, np.float64):
        raise TypeError(f"arrays: need images of uint8 (0 to 255), float32 or float64, got {pixels.dtype}")
    if native != np.uint8 and not np.isfinite(pixels).all():
        raise ValueError("arrays: need finite pixels, got NaN or infinity")
    return pixels.astype(native, copy=False)


def scaled(pixels: NDArray[Any]) -> Images:
    """Bytes as float32 in [0, 1]; floats as they are."""
    return np.divide(pixels, np.float32(255), dtype=np.float32) if pixels.dtype == np.uint8 else pixels


def float_images(function: str, images: ArrayLike) -> Images:
    """Images (N, C, H, W) of floats in native byte order; an error that names the function for anything else."""
    pixels: NDArray[Any] = array_of(function, images)
    if pixels.ndim != 4 or 0 in pixels.shape[1:]:
        raise ValueError(f"{function}: need images (N, C, H, W) with C, H, W >= 1, got {pixels.shape}")
    native = pixels.dtype.newbyteorder("=")
    if native not in (np.float32, np.float64):
        raise TypeError(f"{function}: need images of float32 or float64, got {pixels.dtype}")
    return pixels.astype(native, copy=False)


def resize(images: ArrayLike, size: int | tuple[int, int]) -> Images:
    """Bilinear enlarging (or shrinking, without a filter) to `size`: an int, or (height, width).

    y = R x C^T: two matrices whose rows hold the two weights of an output row or column, centre i at
    (i + 1/2) H / OH - 1/2; as PyTorch's `interpolate(mode="bilinear", align_corners=False)`.
    Shapes: (N, C, H, W) -> (N, C, OH, OW), float32 or float64 kept.
    Units: those of the pixels, which must be finite.
    Raises: TypeError, ValueError for other dtypes, shapes and sizes.
    """
    images = float_images("resize", images)
    pair = size if isinstance(size, tuple) else (size, size)
    if len(pair) != 2:
        raise ValueError(f"resize: need an int or (height, width), got {size!r}")
    height, width = (whole("resize: size", out, least=1) for out in pair)
    if max(height, width) > MOST_PIXELS:
        raise ValueError(f"resize: need at most {MOST_PIXELS} rows and columns, got {height} and {width}")
    rows, columns = (
        _bilinear(n, out).astype(images.dtype) for n, out in zip(images.shape[2:], (height, width), strict=True)
    )
    # Not by @: sums of a threaded BLAS may depend on its number of threads.
    resized: Images = np.einsum("lk,nchk->nchl", columns, np.einsum("ij,ncjk->ncik", rows, images))
    return resized


def _bilinear(n: int, out: int) -> NDArray[np.float64]:
    """Matrix (out, n) whose rows are the weights of the pixels around each output's centre."""
    centre = np.maximum((np.arange(out) + 0.5) * n / out - 0.5, 0)
    below = centre.astype(np.intp)
    weight = centre - below
    matrix = np.zeros((out, n))
    matrix[np.arange(out), below] = 1 - weight
    # At the last pixel both neighbours are the same one, and their weights add up.
    matrix[np.arange(out), np.minimum(below + 1, n - 1)] += weight
    return matrix
