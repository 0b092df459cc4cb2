"""Labelled images in training and test splits, from wherever they come."""

import dataclasses
import functools
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from minigrad.data.images import Images, Pixels, resize, scaled, to_pixels
from minigrad.data.sampling import stratify, whole
from minigrad.dtypes import array_of
from minigrad.kinds import check_kind, refuse

MOST_CLASSES = 1 << 16


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Split:
    """Images and their labels: `split.images`, `split.labels`, `len(split)`, `split[:100]`, `split.take(indices)`.

    `images` are the pixels in [0, 1], float32 or float64. Where the pixels are bytes, which take a quarter of the
    memory, images are float32, read-only, and made when they are first asked for; `Batches` converts batch by batch.
    Shapes: pixels, images (N, C, H, W), uint8, float32 or float64; labels (N,), int64. Slices share the pixels.
    Raises: TypeError, ValueError for other arrays.
    """

    pixels: Pixels
    labels: NDArray[np.int64]

    def __post_init__(self) -> None:
        for what, array, dtypes in (
            ("images", self.pixels, (np.uint8, np.float32, np.float64)),
            ("labels", self.labels, (np.int64,)),
        ):
            if not isinstance(array, np.ndarray) or array.dtype not in dtypes:
                names = " or ".join(dtype.__name__ for dtype in dtypes)
                got = array.dtype if isinstance(array, np.ndarray) else type(array).__name__
                raise TypeError(f"Split: need {what} in an array of {names}, got {got}")
        if self.pixels.ndim != 4 or self.labels.shape != self.pixels.shape[:1]:
            raise ValueError(
                f"Split: need images (N, C, H, W) and labels (N,), got {self.pixels.shape} and {self.labels.shape}"
            )

    @functools.cached_property
    def images(self) -> Images:
        """The pixels as floats in [0, 1], (N, C, H, W)."""
        images = scaled(self.pixels)
        if images is not self.pixels:
            images.flags.writeable = False  # a change would not reach the pixels, nor what batches are made of
        return images

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(C, H, W)"""
        channels, height, width = self.pixels.shape[1:]
        return channels, height, width

    def __len__(self) -> int:
        return len(self.labels)

    def __repr__(self) -> str:
        return f"Split({len(self)} images {'x'.join(map(str, self.image_shape))} {self.pixels.dtype})"

    def __getitem__(self, samples: slice) -> "Split":
        if not isinstance(samples, slice):
            raise TypeError(f"Split: need a slice such as split[:100], got {samples!r}; or split.take(indices)")
        return Split(self.pixels[samples], self.labels[samples])

    def take(self, indices: ArrayLike) -> "Split":
        """The samples at integer indices (any order, repeats allowed) or where a boolean mask (N,) is true, copied."""
        chosen = np.asarray(indices)
        if chosen.size == 0:
            chosen = chosen.astype(np.intp)  # an empty list comes as floats
        if chosen.ndim != 1:
            raise ValueError(f"take: need a list of indices, got shape {chosen.shape}")
        return Split(self.pixels[chosen], self.labels[chosen])

    def holdout(self, size: float, seed: int = 0) -> tuple["Split", "Split"]:
        """Two disjoint splits, (train, validation), with every class in both in proportion.

        `size` of validation: a fraction in (0, 1), or a whole number of samples. Both keep the order of this split.
        Raises: ValueError if either would be empty.
        """
        check_kind("holdout", "size", float, size)
        total = len(self)
        count = int(size) if isinstance(size, int | np.integer) else round(size * total) if 0 < size < 1 else 0
        if not 0 < count < total:
            raise ValueError(f"holdout: need a fraction in (0, 1) or a count in 1..N-1, got {size} with N = {total}")
        held = stratify(self.labels, count, whole("holdout: seed", seed, least=0))
        return self.take(~held), self.take(held)


@dataclasses.dataclass(frozen=True, eq=False)
class DataSet:
    """A training and a test split of images of one size, labelled by their place in `classes`.

    Raises: ValueError for splits of different image sizes, or a label that is no place in `classes`.
    """

    name: str
    train: Split
    test: Split
    classes: tuple[str, ...]

    def __post_init__(self) -> None:
        if self.train.image_shape != self.test.image_shape:
            raise ValueError(
                f"DataSet: need test images of the training images' size {self.train.image_shape}, "
                f"got {self.test.image_shape}"
            )
        for split in (self.train, self.test):
            wrong = split.labels[(split.labels < 0) | (split.labels >= len(self.classes))]
            if wrong.size:
                raise ValueError(f"DataSet: need labels from 0 to below {len(self.classes)}, got {wrong[0]}")

    def resize(self, size: int | tuple[int, int]) -> "DataSet":
        """The same set with its images enlarged to `size`; see `mg.data.resize`."""
        train, test = (Split(resize(split.images, size), split.labels) for split in (self.train, self.test))
        return dataclasses.replace(self, train=train, test=test)


def arrays(
    images: ArrayLike,
    labels: ArrayLike,
    test: float | tuple[ArrayLike, ArrayLike] = 0.2,
    *,
    classes: Sequence[str] | None = None,
    name: str = "arrays",
    seed: int = 0,
) -> DataSet:
    """A data set of one's own arrays; `test` is a pair (images, labels), or what to hold out (see `Split.holdout`).

    `classes` are '0', '1', ... up to the largest label unless given. Arrays that need no conversion are shared.
    Shapes: images (N, H, W) or (N, C, H, W), uint8, float32 or float64; labels (N,), any integers.
    Units: uint8 pixels count as divided by 255; floating ones should lie in [0, 1].
    Raises: TypeError, ValueError for anything else, pixels that are not finite, labels outside the classes.
    """
    train = _split(images, labels)
    if isinstance(test, tuple) and len(test) != 2:
        raise ValueError(f"arrays: need a pair (images, labels) as test, got {len(test)} of them")
    train, held = (train, _split(*test)) if isinstance(test, tuple) else train.holdout(test, seed)
    try:
        names = _names(train, held) if classes is None else tuple(classes)
    except TypeError:
        refuse("arrays", "classes", "names", classes)
    return DataSet(name, train, held, names)


def _split(images: ArrayLike, labels: ArrayLike) -> Split:
    labels = array_of("arrays", labels)
    if labels.dtype.kind not in "iu":
        raise TypeError(f"arrays: need integer labels, got {labels.dtype}")
    pixels = to_pixels(images)
    if labels.shape != pixels.shape[:1]:
        raise ValueError(f"arrays: need labels (N,) with N = {len(pixels)}, got {labels.shape}")
    return Split(pixels, labels.astype(np.int64, copy=False))


def _names(*splits: Split) -> tuple[str, ...]:
    largest = max((int(split.labels.max()) for split in splits if len(split)), default=-1)
    if largest >= MOST_CLASSES:
        raise ValueError(f"arrays: need labels below {MOST_CLASSES} where no classes are given, got {largest}")
    return tuple(map(str, range(largest + 1)))
