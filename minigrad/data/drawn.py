"""Drawn and photographed digits, framed as those that classifiers are trained on."""

import os
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from minigrad.data.images import resize
from minigrad.extras import require
from minigrad.files import path_of

LUMA = np.array([0.299, 0.587, 0.114])  # of red, green and blue; ITU-R BT.601, as Pillow's greys
FAINT = 0.15  # of the strongest ink; what is fainter is the paper's grain, or ringing around JPEG's edges
LEAST_CONTRAST = 0.1  # between ink and paper, of that between black and white: less is grain alone
ENOUGH = 2048  # pixels each way; larger images are reduced


@dataclass(frozen=True)
class Framing:
    """Where a set's digits lie in their images: the longer side takes `part` of the frame.

    The centre of mass comes to the middle, or, unless `by_mass`, the middle of the digit's box. With a `raster` the
    digit is drawn on so many pixels each way, and these are enlarged.
    """

    part: float
    by_mass: bool
    raster: int | None = None


# Source: Y. LeCun, C. Cortes and C. J. C. Burges, The MNIST database of handwritten digits, 1998: digits fit in a box
# of 20 x 20 pixels, and their centre of mass is moved to the centre of 28 x 28.
MNIST = Framing(20 / 28, by_mass=True)
EMBEDDED = Framing(1.0, by_mass=False, raster=8)


def framing_of(data: str) -> Framing:
    """How digits are framed in a data set: 'digits', which are embedded, in their own way, all others as in MNIST."""
    return EMBEDDED if data == "digits" else MNIST


def frame_digit(pixels: ArrayLike, shape: tuple[int, int, int], framing: Framing = MNIST) -> NDArray[np.float32]:
    """A digit out of an image of any size, white on black, framed as in the images of a training set.

    The paper is what the border shows: the median grey of the outermost pixels. Ink is what departs from it, towards
    black or white, whichever goes further: ink = |grey - paper| / max |grey - paper|, and none below 0.15, which is
    noise. The box around the ink is scaled (each pixel the mean of what it covers), the strongest ink to 1, and placed
    as `framing` tells. Where the border is transparent, the paper is white, or black if what is visible is light.

    Shapes: pixels (H, W), or (H, W, 3) in colour, or (H, W, 4) with alpha -> `shape` (C, H, W), C times the same.
    Units: uint8 from 0 to 255, floats from 0 to 1; results from 0 to 1.
    Raises: TypeError, ValueError for other arrays, and for an image with nothing on it.
    """
    ink = _ink(*_grey(pixels))
    visible = ink >= FAINT
    rows, columns = (np.flatnonzero(visible.any(axis)) for axis in (1, 0))
    ink = np.where(visible, ink, 0)[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    channels, height, width = shape
    frame = (framing.raster or height, framing.raster or width)
    framed = _placed(_scaled(ink, framing.part * min(frame)), frame, framing.by_mass)
    if frame != (height, width):
        framed = resize(framed[None, None], (height, width))[0, 0]
    return np.repeat(framed[None], channels, axis=0)


def read_digit(
    path: str | os.PathLike[str], shape: tuple[int, int, int], framing: Framing = MNIST
) -> NDArray[np.float32]:
    """The digit in an image file, by `frame_digit`; turned upright if the camera noted how it was held.

    Raises: ValueError, naming the file, for one that is no image, is damaged, shows nothing, or is as large as a
    decompression bomb; OSError for one that cannot be read; ModuleNotFoundError without Pillow.
    """
    image_module, image_ops = require("PIL.Image", "pillow", "reading images"), require("PIL.ImageOps", "pillow")
    path = path_of("read_digit", path)
    bomb = image_module.DecompressionBombWarning
    with open(path, "rb") as file, warnings.catch_warnings():
        warnings.simplefilter("error", bomb)
        try:
            with image_module.open(file) as image:
                pixels = _pixels(image_ops.exif_transpose(image))
            return frame_digit(pixels, shape, framing)
        except image_module.UnidentifiedImageError:
            raise ValueError(f"{path}: not an image, or of an unknown kind") from None
        except (OSError, SyntaxError, ValueError, bomb, image_module.DecompressionBombError) as error:
            raise ValueError(f"{path}: {error}") from error


def _pixels(image: Any) -> NDArray[Any]:
    """The pixels (H, W) or (H, W, 4) of a Pillow image."""
    if image.mode[0] in "IF":  # 16 or 32 bits of grey, of which Pillow's own conversion keeps the lowest 8
        values = np.asarray(image, np.float32)
        return (values - values.min()) / max(np.ptp(values), 1e-9)
    colours = image.convert("RGBA")
    colours.thumbnail((ENOUGH, ENOUGH))
    return np.asarray(colours)


def _grey(pixels: ArrayLike) -> tuple[NDArray[Any], NDArray[Any]]:
    """Lightness and opacity (H, W) in [0, 1]."""
    array = np.asarray(pixels)
    if array.ndim not in (2, 3) or 0 in array.shape or (array.ndim == 3 and array.shape[2] not in (3, 4)):
        raise ValueError(f"frame_digit: need pixels (H, W), (H, W, 3) or (H, W, 4), got {array.shape}")
    if array.dtype == np.uint8:
        array = array / np.float32(255)
    if array.dtype.kind != "f":
        raise TypeError(f"frame_digit: need pixels of uint8 or floats, got {array.dtype}")
    if not np.isfinite(array).all():
        raise ValueError("frame_digit: need finite pixels, got NaN or infinity")
    if array.ndim == 2:
        return array, np.ones_like(array)
    grey = array[..., :3] @ LUMA.astype(array.dtype)
    return grey, array[..., 3] if array.shape[2] == 4 else np.ones_like(grey)


def _ink(grey: NDArray[Any], alpha: NDArray[Any]) -> NDArray[Any]:
    """How far each pixel departs from the paper, towards where most is: 1 for the furthest."""
    border, opacity = (np.concatenate([a[0], a[-1], a[1:-1, 0], a[1:-1, -1]]) for a in (grey, alpha))
    if np.median(opacity) >= 0.5:
        paper = np.median(border)
    elif (grey * alpha).sum() < 0.5 * alpha.sum():
        paper = 1.0
    else:
        paper = 0.0
    departure = (grey - paper) * alpha
    ink = departure if departure.max() > -departure.min() else -departure
    strongest = ink.max()
    if not strongest >= LEAST_CONTRAST:
        raise ValueError("nothing is drawn on it")
    return np.clip(ink / strongest, 0, 1)


def _scaled(ink: NDArray[Any], longest: float) -> NDArray[Any]:
    """Resized in proportion so that the longer side has so many pixels, with 1 as the largest value."""
    image_module = require("PIL.Image", "pillow", "framing digits")
    scale = longest / max(ink.shape)
    height, width = (max(1, round(n * scale)) for n in ink.shape)
    image = image_module.fromarray(np.ascontiguousarray(ink, np.float32))
    scaled = np.asarray(image.resize((width, height), image_module.Resampling.BOX))
    return scaled / scaled.max()


def _placed(ink: NDArray[Any], frame: tuple[int, int], by_mass: bool) -> NDArray[np.float32]:
    """On a black frame, with the centre of mass, or of the box, in the middle; moved aside where it would reach out."""
    height, width = ink.shape
    if by_mass:  # that of MNIST's digits lies, but for rounding, on pixel 14 of 28, counted from 0
        mass = ink.sum()
        centre = ink.sum(1) @ np.arange(height) / mass, ink.sum(0) @ np.arange(width) / mass
    else:
        centre = height / 2, width / 2
    top, left = (
        int(np.clip(np.floor(size / 2 - middle + 0.5), 0, size - side))
        for size, middle, side in zip(frame, centre, ink.shape, strict=True)
    )
    framed = np.zeros(frame, np.float32)
    framed[top : top + height, left : left + width] = ink
    return framed
