"""The pool: memory is used again when the last array over it is gone, and never before."""

import copy
import gc
import os
import pickle
import subprocess
import sys
import threading

import numba
import numpy as np
import pytest

from minigrad import memory
from minigrad.memory import LEAST_POOLED, Pool, allocate, is_owner, owner_of, zeros

SHAPE = (3, LEAST_POOLED)
SIZE = 12 * LEAST_POOLED


@pytest.fixture(autouse=True)
def empty_pool():
    memory.pool.trim()
    yield
    memory.pool.trim()


def address(array):
    return array.__array_interface__["data"][0]


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64, np.bool_])
@pytest.mark.parametrize("shape", [(), (0,), (3, 0, 2), (5, 7), SHAPE, (1, 2, LEAST_POOLED + 1), (LEAST_POOLED,)])
def test_an_array_is_a_plain_one_and_writable(shape, dtype):
    array = allocate(shape, dtype)
    assert type(array) is np.ndarray
    assert (array.shape, array.dtype) == (shape, np.dtype(dtype))
    assert array.flags.carray
    array.fill(1)
    assert (array == 1).all()
    if array.size >= LEAST_POOLED:
        assert address(array) % memory.ALIGNMENT == 0


def test_arrays_in_use_have_memory_of_their_own():
    arrays = [allocate((LEAST_POOLED + i,), np.float32) for i in range(50)]
    for i, array in enumerate(arrays):
        array.fill(i)
    for i, array in enumerate(arrays):
        assert (array == i).all()


def test_memory_is_used_again_for_sizes_near_by():
    array = allocate(SHAPE, np.float32)
    first = address(array)
    del array
    assert address(allocate((3 * LEAST_POOLED - 5,), np.float32)) == first
    assert address(allocate((SIZE,), np.uint8)) == first
    assert address(allocate((2, *SHAPE), np.float32)) != first


@numba.njit
def tail(x):
    return x[1:]


VIEWS = {
    "slice": lambda a: a[1:],
    "view of a view": lambda a: a[1:][:, 3:].T,
    "reshape": lambda a: a.reshape(-1),
    "other dtype": lambda a: a.view(np.uint8),
    "element": lambda a: a[0, :1],
    "subclass": lambda a: a.view(np.matrix),
    "memoryview": memoryview,
    "dlpack": np.from_dlpack,
    "broadcast": lambda a: np.broadcast_to(a, (2, *SHAPE)),
    "jitted": tail,
    "what it stands on": lambda a: a.base[5:],
}


@pytest.mark.parametrize("take", VIEWS.values(), ids=VIEWS)
def test_memory_is_in_use_while_any_view_lives(take):
    array = allocate(SHAPE, np.float32)
    first = address(array)
    array.fill(7)
    view = take(array)
    del array
    gc.collect(0)  # what is meant is young
    others = [allocate(SHAPE, np.float32) for _ in range(3)]
    for other in others:
        assert address(other) != first
        other.fill(0)
    assert np.asarray(view).any()
    del view, others
    gc.collect(0)
    arrays = [allocate(SHAPE, np.float32) for _ in range(4)]
    assert first in map(address, arrays)


def test_memory_is_in_use_while_torch_uses_it():
    torch = pytest.importorskip("torch")
    array = allocate(SHAPE, np.float32)
    first = address(array)
    tensor = torch.from_numpy(array)[1:]
    del array
    assert address(allocate(SHAPE, np.float32)) != first
    del tensor
    assert first in [address(a) for a in [allocate(SHAPE, np.float32) for _ in range(2)]]


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy, np.copy, lambda a: pickle.loads(pickle.dumps(a))])
def test_copies_are_independent(duplicate):
    array = zeros(SHAPE, np.float32)
    twin = duplicate(array)
    array.fill(1)
    assert type(twin) is np.ndarray
    assert not twin.any()


def test_zeros_are_zeros_in_used_memory():
    for _ in range(3):
        array = zeros(SHAPE, np.float64)
        assert not array.any()
        array.fill(5)
        del array


def test_an_owner_is_the_same_for_all_views():
    for array in (allocate(SHAPE, np.float32), np.ones((3, 4))):
        assert is_owner(array)
        for view in (array[1:], array.T, array.reshape(-1)[2:].view(np.uint8)):
            assert not is_owner(view)
            assert owner_of(view) is owner_of(array)
    assert owner_of(allocate(SHAPE, np.float32)) is not owner_of(np.ones(3))


def test_the_pool_keeps_its_budget_and_lets_the_oldest_go_first():
    pool = Pool(budget=250_000)
    blocks = [memory._fresh(size) for size in (100_000, 90_000, 80_000)]
    ids = list(map(id, blocks))
    for block in blocks:
        pool.give_back(block)
    del blocks, block
    assert pool.free_bytes == 170_000
    assert [id(pool.take(size)) for size in (90_000, 80_000)] == ids[1:]
    pool.give_back(memory._fresh(250_001))  # larger than the budget: it would drive all others out
    assert pool.free_bytes == 0
    for size in (100_000, 90_000):
        pool.give_back(memory._fresh(size))
    pool.trim()
    assert pool.free_bytes == 0


def test_the_process_keeps_no_more_than_the_budget(monkeypatch):
    monkeypatch.setattr(memory.pool, "budget", 3 * SIZE)
    arrays = [allocate(SHAPE, np.float32) for _ in range(8)]
    addresses = set(map(address, arrays))
    del arrays
    assert memory.pool.free_bytes <= 3 * SIZE
    again = [allocate(SHAPE, np.float32) for _ in range(3)]
    assert set(map(address, again)) <= addresses
    assert memory.pool.free_bytes == 0


def test_threads_never_share_memory():
    faults = []

    def work(seed):
        rng = np.random.default_rng(seed)
        held = []
        for i in range(400):
            value = seed * 1000 + i
            array = allocate((LEAST_POOLED + int(rng.integers(0, 3000)),), np.float32)
            array.fill(value)
            held.append((value, array))
            if len(held) > 6:
                value, array = held.pop(int(rng.integers(0, len(held))))
                if not (array == value).all():
                    faults.append(value)

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)
    assert not faults


def test_memory_may_come_back_at_any_moment():
    """Arrays that die in a cycle come back when the collector happens to run, also within the pool's own methods."""
    threshold = gc.get_threshold()
    gc.set_threshold(1)
    try:
        for i in range(200):
            array = allocate(SHAPE, np.float32)
            array.fill(i)
            cycle = [array]
            cycle.append(cycle)
            other = allocate(SHAPE, np.float32)
            other.fill(-1)
            assert (array == i).all()
    finally:
        gc.set_threshold(*threshold)


def run(script):
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", script], capture_output=True, text=True, timeout=120, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_a_process_ends_quietly_while_arrays_are_in_use():
    print(
        run(
            "from minigrad.memory import allocate\n"
            "import sys, builtins\n"
            "kept = [allocate((1 << 20,), 'f4') for _ in range(4)]\n"
            "builtins.kept, sys.kept = kept[1][3:], kept\n"
            "loop = [kept[2]]; loop.append(loop)\n"
        )
    )


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_a_forked_child_has_memory_of_its_own():
    out = run(
        "import os, sys\n"
        "from minigrad.memory import allocate\n"
        "a = allocate((1 << 20,), 'f4'); a.fill(1); b = allocate((1 << 20,), 'f4'); del b\n"
        "child = os.fork()\n"
        "if not child:\n"
        "    c = allocate((1 << 20,), 'f4'); c.fill(2); a.fill(3); del a; allocate((1 << 20,), 'f4').fill(4)\n"
        "    os._exit(int(not (c == 2).all()))\n"
        "assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0\n"
        "print(a.min(), a.max())\n"
    )
    assert out.split() == ["1.0", "1.0"]


def test_too_much_is_a_memory_error_that_says_how_much():
    for shape in ((2**40, 2**20), (2**62, 4), (2**46,)):
        with pytest.raises(MemoryError, match=r"shape \(\d+,.* and dtype float64"):
            allocate(shape, np.float64)


def test_free_memory_goes_back_before_an_allocation_fails(monkeypatch):
    array = allocate(SHAPE, np.float32)
    del array
    fresh, calls = memory._fresh, []

    def scarce(size):
        calls.append(memory.pool.free_bytes)
        if memory.pool.free_bytes:
            raise MemoryError
        return fresh(size)

    monkeypatch.setattr(memory, "_fresh", scarce)
    assert allocate((2, *SHAPE), np.float32).nbytes == 2 * SIZE
    assert len(calls) == 2
