"""Batches: every sample once an epoch, in an order that comes back."""

import numpy as np
import pytest
from hypothesis import given, strategies as st

from minigrad.data import Batches, Split, arrays


def numbered(samples):
    """A split whose sample i is an image full of i, labelled i."""
    labels = np.arange(samples)
    return Split(np.ones((samples, 1, 2, 2)) * labels[:, None, None, None], labels)


@given(
    samples=st.integers(0, 40),
    batch_size=st.integers(1, 50),
    shuffle=st.booleans(),
    seed=st.integers(0, 2**63 - 1),
    drop_last=st.booleans(),
)
def test_an_epoch_takes_every_sample_once(samples, batch_size, shuffle, seed, drop_last):
    split = numbered(samples)
    batches = Batches(split, batch_size, shuffle=shuffle, seed=seed, drop_last=drop_last)
    for epoch in range(2):
        sizes, seen = [], []
        for images, labels in batches:
            np.testing.assert_array_equal(images[:, 0, 1, 1], labels)
            sizes.append(len(labels))
            seen += labels.tolist()
        full, rest = divmod(samples, batch_size)
        assert sizes == [batch_size] * full + ([rest] if rest and not drop_last else [])
        assert len(sizes) == len(batches)
        assert seen == batches.order(epoch)[: sum(sizes)].tolist()
        assert sorted(batches.order(epoch)) == list(range(samples))
        if not shuffle:
            assert seen == list(range(sum(sizes)))


ORDERS = {(0, 0): [0, 2, 1, 5, 4, 3, 6, 7], (1, 3): [3, 2, 5, 4, 6, 1, 0, 7]}


def test_orders_differ_by_epoch_and_seed_and_come_back():
    def epochs(batches, count=3):
        return [np.concatenate([labels for _, labels in batches]).tolist() for _ in range(count)]

    split = numbered(30)
    first = epochs(Batches(split, 7))
    assert first == epochs(Batches(split, 7)) == epochs(Batches(split, 30, seed=0))
    orders = first + epochs(Batches(split, 7, seed=1))
    assert len({tuple(order) for order in orders}) == 6
    resumed = Batches(split, 7)
    resumed.set_epoch(2)
    assert epochs(resumed, 1) == first[2:]
    assert resumed.epoch == 3
    together = Batches(split, 30)
    pair = iter(together), iter(together)
    assert [next(each)[1].tolist() for each in reversed(pair)] == [first[1], first[0]]


def test_orders_are_the_same_in_every_release_and_on_every_machine():
    for (seed, epoch), order in ORDERS.items():
        assert Batches((np.arange(8),), 3, seed=seed).order(epoch).tolist() == order


@pytest.mark.parametrize("shuffle", [False, True])
def test_batches_are_contiguous_native_writable_copies(shuffle):
    originals = [
        np.arange(60.0).reshape(5, 3, 4).astype(">f4"),
        np.asfortranarray(np.arange(15).reshape(5, 3)),
        np.arange(40)[::-1].reshape(4, 10).T[::2, 1:],
        np.arange(5, dtype=np.uint8),
    ]
    for array in originals:
        array.flags.writeable = False
    batches = Batches(tuple(originals), 2, shuffle=shuffle)
    order = batches.order(0)
    for number, batch in enumerate(batches):
        for part, array in zip(batch, originals, strict=True):
            np.testing.assert_array_equal(part, array[order[2 * number : 2 * number + 2]])
            assert part.dtype == array.dtype.newbyteorder("=")
            assert part.flags.c_contiguous
            assert part.flags.writeable
            assert not np.shares_memory(part, array)
    assert number == 2


def bytes_split():
    pixels = np.random.default_rng(1).integers(0, 256, (40, 1, 3, 2), np.uint8)
    return Split(pixels, np.arange(40) % 4)


def test_a_split_of_bytes_is_the_split_of_their_floats_bit_for_bit():
    split = bytes_split()
    floats = Split(np.divide(split.pixels, 255, dtype=np.float32), split.labels)
    pairs = [
        (split, floats), (split[3:9], floats[3:9]), (split.take([5, 5, 0]), floats.take([5, 5, 0])),
        *zip(split.holdout(0.3, 2), floats.holdout(0.3, 2), strict=True), (split[:0], floats[:0]),
    ]  # fmt: skip
    for some, same in pairs:
        assert some.pixels.dtype == np.uint8
        assert (some.images.dtype, some.images.tobytes()) == (np.float32, same.images.tobytes())
        for (images, labels), (expected, classes) in zip(Batches(some, 7), Batches(same, 7), strict=True):
            assert (images.dtype, images.tobytes()) == (np.float32, expected.tobytes())
            assert images.flags.writeable
            np.testing.assert_array_equal(labels, classes)


def test_bytes_become_floats_only_where_somebody_asks():
    split = arrays(np.zeros((40, 5, 5), np.uint8), np.arange(40) % 4, 10).train
    list(Batches(split.holdout(5)[0], 8))
    assert (split.image_shape, repr(split)) == ((1, 5, 5), "Split(30 images 1x5x5 uint8)")
    assert "images" not in vars(split)
    assert split.images is split.images
    with pytest.raises(ValueError, match="read-only"):
        split.images[0] = 1
    assert np.shares_memory(split[4:].pixels, split.pixels)
    floats = numbered(3)
    assert floats.images is floats.pixels


def test_batches_refuse_what_they_cannot_serve():
    x, y = np.zeros((4, 2)), np.zeros(4)
    for data in (x, 3, None):
        with pytest.raises(TypeError, match="Batches: need a Split or a tuple of arrays"):
            Batches(data, 2)
    for data in ((), (x, y[:3]), (x, np.float32(1)), [1, 2]):
        with pytest.raises(ValueError, match="Batches: need one array or more, all of N samples"):
            Batches(data, 2)
    for size, error in ((0, ValueError), (-3, ValueError), (2.0, TypeError), ("2", TypeError), (None, TypeError)):
        with pytest.raises(error, match="Batches: batch_size: need an integer"):
            Batches((x, y), size)
    for seed, error in ((-1, ValueError), (2**63, ValueError), (0.5, TypeError)):
        with pytest.raises(error, match="Batches: seed: need an integer"):
            Batches((x, y), 2, seed=seed)
    with pytest.raises(ValueError, match="Batches: epoch: need an integer from 0"):
        Batches((x, y), 2).set_epoch(-1)
