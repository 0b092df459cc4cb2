"""Batches in an order that depends on the seed and the number of the epoch, and on nothing else."""

from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from minigrad.data.images import Images, scaled
from minigrad.data.sampling import Indices, permutation, whole
from minigrad.data.sets import Split
from minigrad.dtypes import array_of
from minigrad.kinds import check_kind

Augmentation: TypeAlias = Callable[[Images, Indices, int, int], Images]
"""(images, numbers of the samples, seed, epoch) -> images; see `Augment`."""


class Batches:
    """The samples of a split, or of a tuple of arrays, in batches: `for images, labels in Batches(split, 64)`.

    Each `for` is one epoch, in which every sample comes once; the last batch may be smaller unless `drop_last`.
    Shuffled epochs differ, and are the same again for the same `seed`; `set_epoch` says which one comes next.
    `augment` changes the first array of each batch, the images, by (images, numbers of the samples, seed, epoch): an
    `Augment`, or a function of one's own.
    Shapes: arrays (N, ...) -> arrays (batch_size, ...): copies, contiguous and in native byte order.
    Raises: TypeError, ValueError for arrays of different lengths, a batch size below 1, a negative seed.
    """

    def __init__(
        self,
        data: Split | tuple[NDArray[Any], ...] | list[NDArray[Any]],
        batch_size: int,
        *,
        shuffle: bool = True,
        seed: int = 0,
        drop_last: bool = False,
        augment: Augmentation | None = None,
    ):
        if not isinstance(data, Split | tuple | list):
            raise TypeError(f"Batches: need a Split or a tuple of arrays, got {type(data).__name__}")
        given = (data.pixels, data.labels) if isinstance(data, Split) else data
        self.arrays = tuple(array_of("Batches", array) for array in given)
        shapes = [array.shape for array in self.arrays]
        if not shapes or () in shapes or len({shape[0] for shape in shapes}) > 1:
            raise ValueError(f"Batches: need one array or more, all of N samples, got shapes {shapes}")
        self.batch_size = whole("Batches: batch_size", batch_size, least=1)
        check_kind("Batches", "shuffle", bool, shuffle)
        check_kind("Batches", "drop_last", bool, drop_last)
        self.shuffle, self.drop_last, self.augment = shuffle, drop_last, augment
        self._are_pixels = isinstance(data, Split)
        self.seed = whole("Batches: seed", seed, least=0)
        self.epoch = self.batch = 0

    @property
    def samples(self) -> int:
        """How many there are."""
        return len(self.arrays[0])

    def __len__(self) -> int:
        return self.samples // self.batch_size if self.drop_last else -(-self.samples // self.batch_size)

    def __iter__(self) -> Iterator[tuple[NDArray[Any], ...]]:
        return self.dealt(lambda samples: slice(0, samples))

    def dealt(self, held: Callable[[int], slice]) -> Iterator[tuple[NDArray[Any], ...]]:
        """An epoch for one of several processes that share its batches.

        Of all arrays but the last, which holds the targets, it gives the samples that `held(samples)` says of a batch.
        """
        # Not itself a generator, whose body would wait for the first batch: two iterators are two epochs.
        walk = self._walk(self.order(self.epoch), self.epoch, self.batch, held)
        self.epoch, self.batch = self.epoch + 1, 0
        return walk

    def set_epoch(self, epoch: int, batch: int = 0) -> None:
        """Let the next `for` be that epoch, from that batch on; a run that is resumed then goes on as it would have."""
        self.epoch = whole("Batches: epoch", epoch, least=0)
        self.batch = whole("Batches: batch", batch, least=0)

    def order(self, epoch: int) -> Indices:
        """The samples' indices in the order in which that epoch takes them."""
        epoch = whole("Batches: epoch", epoch, least=0)
        return permutation(self.samples, self.seed, epoch) if self.shuffle else np.arange(self.samples)

    def _walk(
        self, order: Indices, epoch: int, begin: int, held: Callable[[int], slice]
    ) -> Iterator[tuple[NDArray[Any], ...]]:
        last = len(self.arrays) - 1
        for start in range(begin * self.batch_size, len(self) * self.batch_size, self.batch_size):
            batch = order[start : start + self.batch_size]
            mine = batch[held(len(batch))]
            first, *others = (
                np.ascontiguousarray(
                    array.take(batch if i == last else mine, axis=0), dtype=array.dtype.newbyteorder("=")
                )
                for i, array in enumerate(self.arrays)
            )
            if self._are_pixels:
                first = scaled(first)
            if self.augment is not None:
                first = self.augment(first, mine, self.seed, epoch)
            yield first, *others
