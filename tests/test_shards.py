"""A batch that processes share: who holds which samples, and how their sums make the batch's."""

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

import minigrad as mg
from minigrad import functional as F
from minigrad.kernels.reduce import CHUNK
from minigrad.ops.batch import batch_sum
from minigrad.shards import Shard, sharded


def shards(samples, size):
    """The shards of all processes, of which each gives what `given` has for it."""
    given = []
    return [Shard(rank, size, samples, lambda _: np.stack(given)) for rank in range(size)], given


sizes = st.integers(1, 300), st.sampled_from([1, 2, 3, 4, 5, 8, 16])


@given(*sizes)
def test_every_sample_is_held_once_in_runs_that_are_branches_of_the_tree(samples, size):
    found, _ = shards(samples, size)
    holders = found[0].holders
    held = [i for one in found[:holders] for i in range(samples)[one.held]]
    assert held == list(range(samples))
    chunks = found[0].length // CHUNK
    assert chunks & (chunks - 1) == 0
    assert found[0].length == CHUNK or size * found[0].length // 2 < samples  # no longer than need be
    for rank, one in enumerate(found):
        assert one.count(rank) == (one.held.stop - one.held.start if rank < holders else 0)
    for one in found[holders:]:  # they compute something, so that they meet the others
        assert one.held == slice(samples - 1, samples)


@given(*sizes, st.sampled_from([np.float32, np.float64]), st.integers(0, 2**32))
@settings(max_examples=50)
def test_the_runs_sums_added_pairwise_are_the_batchs_to_the_last_bit(samples, size, dtype, seed):
    x = np.random.default_rng(seed).standard_normal((samples, 3, 5)).astype(dtype)
    found, given_ = shards(samples, size)
    given_ += [batch_sum(x[one.held]) for one in found]
    rows = list(found[0].rows(given_[0]))
    while len(rows) > 1:
        pairs = [rows[i : i + 2] for i in range(0, len(rows), 2)]
        rows = [pair[0] + pair[1] if len(pair) > 1 else pair[0] for pair in pairs]
    assert rows[0].tobytes() == batch_sum(x).tobytes()


def test_a_part_that_is_no_part_changes_no_bit():
    """Not even the sign of a zero."""
    found, _ = shards(20, 2)
    total = np.array([0.0, -0.0, 1.0, np.inf, np.nan, 1e-310])
    assert (found[0].part_of(total) + found[1].part_of(total)).tobytes() == total.tobytes()


@given(*sizes, st.sampled_from([0.1, 0.5]), st.booleans())
@settings(max_examples=40)
def test_dropout_keeps_the_same_values_of_a_run_as_of_the_batch(samples, size, p, of_channels):
    x = np.ones((samples, 6, 2, 2), np.float32)
    drop = F.dropout2d if of_channels else F.dropout
    with mg.random.seeded(5):
        whole = drop(x, p)
    for one in shards(samples, size)[0]:
        token = sharded.set(one)
        try:
            with mg.random.seeded(5):
                np.testing.assert_array_equal(drop(x[one.held], p), whole[one.held])
        finally:
            sharded.reset(token)


@pytest.mark.parametrize("create_graph", [False, True])
def test_second_derivatives_of_a_shared_batch_norm_are_refused(create_graph):
    one = Shard(0, 1, 6, lambda array: array[None])
    x = mg.tensor(np.random.default_rng(0).standard_normal((6, 2)), requires_grad=True)
    token = sharded.set(one)
    try:
        y = F.batch_norm(x, None, None, training=True)
    finally:
        sharded.reset(token)
    if create_graph:
        with pytest.raises(RuntimeError, match="batch_norm: of a batch on several processes"):
            mg.grad(y, x, np.ones((6, 2)), create_graph=True)
    else:
        shared = mg.grad(y, x, np.eye(6, 2))[0]
        alone = mg.grad(F.batch_norm(x, None, None, training=True), x, np.eye(6, 2))[0]
        assert shared.numpy().tobytes() == alone.numpy().tobytes()
