"""Batches: every sample once an epoch, in an order that comes back."""

import numpy as np
import pytest
from hypothesis import given, strategies as st

from minigrad.data import Batches, Split


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
