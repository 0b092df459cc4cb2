"""Augmentation: images as they might as well have been written, other ones in every epoch."""

import dataclasses
import math
import numbers

import numpy as np
from numpy.typing import ArrayLike, NDArray

from minigrad.data.images import MOST_PIXELS, Images, float_images
from minigrad.data.sampling import whole
from minigrad.kernels.augment import augment_images, augment_scratch
from minigrad.kernels.simd import VECTOR_BYTES
from minigrad.kernels.threads import parts
from minigrad.memory import allocate
from minigrad.random import derived


@dataclasses.dataclass(frozen=True, kw_only=True)
class Augment:
    """Move, turn, scale and bend images at random: `Batches(split, 64, augment=Augment(shift=2, degrees=10))`.

    y(p) = x(R(p - t) / s + alpha (g * u)(p)), positions from the image's middle, bilinear between pixels, 0 outside.
    Each sample has its own t (each way within +- shift), rotation R (within +- degrees), s (in the range `scale`) and
    elastic field: u independent and uniform in (-1, 1) at each pixel and for each axis, g the Gaussian of width sigma
    (to 3 sigma). All channels are distorted alike. All draws are uniform.
    What becomes of a sample depends on the seed, the epoch and the sample's number alone: not on its batch, nor on
    the threads.
    Shapes: (N, C, H, W) -> the same, float32 or float64 kept; `samples` (N,).
    Units: shift, alpha and sigma in pixels; the displacements' standard deviation is alpha / (6.14 sigma). For
    handwritten digits of 28 x 28 the source has sigma=4, alpha=34. torchvision's alpha is twice as large, its
    `translate` a fraction of the image.
    Raises: TypeError, ValueError for other settings and arrays.
    Source: P. Simard, D. Steinkraus and J. Platt, "Best practices for convolutional neural networks applied to visual
    document analysis", 2003.
    """

    shift: float = 0.0
    degrees: float = 0.0
    scale: tuple[float, float] = (1.0, 1.0)
    alpha: float = 0.0
    sigma: float = 4.0

    def __post_init__(self) -> None:
        for name, least in (("shift", ">= 0"), ("degrees", ">= 0"), ("alpha", ">= 0"), ("sigma", "> 0")):
            value = getattr(self, name)
            if not _is_finite(value) or value < 0 or (value == 0 and least == "> 0"):
                raise ValueError(f"Augment: need {name} {least} and finite, got {value!r}")
        if self.sigma > MOST_PIXELS:  # the Gaussian is an array
            raise ValueError(f"Augment: need sigma of at most {MOST_PIXELS}, got {self.sigma!r}")
        if not isinstance(self.scale, tuple) or len(self.scale) != 2 or not all(map(_is_finite, self.scale)):
            raise ValueError(f"Augment: need scale (least, most), two finite numbers, got {self.scale!r}")
        if not 0 < self.scale[0] <= self.scale[1]:
            raise ValueError(f"Augment: need scale (least, most) with 0 < least <= most, got {self.scale}")

    def __call__(self, images: ArrayLike, samples: ArrayLike | None = None, seed: int = 0, epoch: int = 0) -> Images:
        """Distorted copies of `images`, which are the samples of those numbers; 0, 1, ... unless given."""
        x = np.ascontiguousarray(float_images("Augment", images))
        chosen: NDArray[np.int64] = _numbers(samples, len(x))
        key = derived(derived(whole("Augment: seed", seed, least=0), 0), whole("Augment: epoch", epoch, least=0))
        weights = self._weights(x.dtype)
        taps, y = weights.shape[1], allocate(x.shape, x.dtype)
        count = parts(len(x), x.size * (8 + 2 * taps))
        size = augment_scratch(x.shape[1:], taps, VECTOR_BYTES // x.itemsize)
        augment_images(
            count, len(x), x, chosen, np.uint64(key), float(self.shift), math.radians(self.degrees),
            float(self.scale[0]), float(self.scale[1]), weights, y, allocate((count, size), x.dtype),
        )  # fmt: skip
        return y

    def _weights(self, dtype: np.dtype[np.floating]) -> NDArray[np.floating]:
        """The Gaussian, and the Gaussian times alpha: one for each axis of the field; of no length if alpha is 0."""
        if self.alpha == 0:
            return np.zeros((2, 0), dtype)
        reach = math.ceil(3 * self.sigma)
        with np.errstate(over="ignore"):  # what no position can be is outside of the image
            weights = np.exp(-0.5 * (np.arange(-reach, reach + 1) / self.sigma) ** 2)
            weights /= weights.sum()
            return np.stack([weights, self.alpha * weights]).astype(dtype)


def _is_finite(value: object) -> bool:
    return isinstance(value, numbers.Real) and math.isfinite(value)


def _numbers(samples: ArrayLike | None, count: int) -> NDArray[np.int64]:
    if samples is None:
        return np.arange(count)
    chosen = np.asarray(samples)
    if chosen.shape != (count,) or (count and chosen.dtype.kind not in "iu"):
        raise ValueError(f"Augment: need samples (N,) of integers with N = {count}, got {chosen.dtype} {chosen.shape}")
    return np.ascontiguousarray(chosen, np.int64)
