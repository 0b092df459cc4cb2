"""The kernels of optimisers by themselves, and the memory that optimisers hand to them."""

import math

import numpy as np
import pytest

import minigrad as mg
from minigrad import nn, optim
from minigrad.kernels import optimizers as kernels
from minigrad.kernels.threads import Launcher
from minigrad.optim import clip, launch

SIZES = [[0], [1], [7], [64], [5001], [3, 0, 4100, 1, 8, 0, 2]]
COUNTS = [1, 2, 3, 8]


# One number at a time, in Python's float64: (g, p, *states), settings -> (p, *states).
def slow_sgd(g, p, velocity, sign, decay, keep, gain, ahead, lr):
    d = sign * g + decay * p if decay else sign * g
    if velocity is None:
        return p - lr * d, None
    v = keep * velocity + gain * d
    return p - lr * (d + ahead * v if ahead else v), v


def slow_adam(g, p, mean, square, largest, sign, decay, shrink, a1, b2, a2, eps, rate):
    d = sign * g + decay * p if decay else sign * g
    m, v = mean + a1 * (d - mean), b2 * square + a2 * d * d
    most = v if largest is None else max(largest, v)
    return shrink * p - rate * m / (math.sqrt(most) + eps), m, v, None if largest is None else most


def slow_rmsprop(g, p, square, mean, velocity, sign, decay, alpha, gain, eps, momentum, lr):
    d = sign * g + decay * p if decay else sign * g
    s = alpha * square + gain * d * d
    m = None if mean is None else mean + gain * (d - mean)
    step = d / (math.sqrt(s if m is None else max(0.0, s - m * m)) + eps)
    v = None if velocity is None else momentum * velocity + step
    return p - lr * (step if v is None else v), s, m, v


# kernel, reference, settings, which states are kept (squares, which are not negative, are marked 2)
SGD = (1.0, 0.3, 0.9, 0.7, 0.0, 0.1)
ADAM = (1.0, 0.3, 1.0, 0.1, 0.8, 0.2, 1e-3, 0.1)
RMSPROP = (1.0, 0.3, 0.8, 0.2, 0.5, 0.9, 0.1)
CASES = {
    "sgd": (kernels.sgd_step, slow_sgd, SGD, (0,)),
    "sgd momentum": (kernels.sgd_step, slow_sgd, SGD, (1,)),
    "sgd uphill": (kernels.sgd_step, slow_sgd, (-1.0, *SGD[1:]), (1,)),
    "sgd nesterov": (kernels.sgd_step, slow_sgd, (1.0, 0.0, 0.9, 1.0, 0.9, 0.1), (1,)),
    "adam": (kernels.adam_step, slow_adam, ADAM, (1, 2, 0)),
    "adam decoupled": (kernels.adam_step, slow_adam, (1.0, 0.0, 0.9, *ADAM[3:]), (1, 2, 0)),
    "adam uphill": (kernels.adam_step, slow_adam, (-1.0, *ADAM[1:]), (1, 2, 0)),
    "amsgrad": (kernels.adam_step, slow_adam, ADAM, (1, 2, 2)),
    "adam exact": (kernels.adam_step_exact, slow_adam, ADAM, (1, 2, 2)),
    "rmsprop": (kernels.rmsprop_step, slow_rmsprop, RMSPROP, (2, 0, 0)),
    "rmsprop centred": (kernels.rmsprop_step, slow_rmsprop, RMSPROP, (2, 1, 0)),
    "rmsprop momentum": (kernels.rmsprop_step, slow_rmsprop, RMSPROP, (2, 0, 1)),
    "rmsprop uphill": (kernels.rmsprop_step, slow_rmsprop, (-1.0, *RMSPROP[1:]), (2, 1, 1)),
    "rmsprop exact": (kernels.rmsprop_step_exact, slow_rmsprop, RMSPROP, (2, 1, 1)),
}
each_case = pytest.mark.parametrize(("step", "reference", "settings", "states"), CASES.values(), ids=CASES)
each_dtype = pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=lambda dtype: dtype.__name__)


def draw(kinds, sizes, dtype, seed=0):
    """A row of arrays for each kind, 1 of any sign and 2 not negative, each in a room of 3 marks on either side.

    For kind 0 there is None.
    """
    rng = np.random.default_rng(seed)
    rows = []
    for kind in kinds:
        rooms = [np.full(size + 6, 77.0, dtype) for size in sizes]
        for room, size in zip(rooms, sizes, strict=True):
            room[3:-3] = np.abs(rng.standard_normal(size)) if kind == 2 else rng.standard_normal(size)
        rows.append(rooms if kind else None)
    return rows


def inner(rows):
    return [rooms and [room[3:-3] for room in rooms] for rooms in rows]


def copied(rows):
    return [rooms and [room.copy() for room in rooms] for rooms in rows]


def values(rooms):
    return None if rooms is None else np.concatenate([room[3:-3] for room in rooms])


def take_step(step, parts, rows, settings):
    """Launch a kernel on rows of arrays: gradients, parameters, states."""
    sizes = [array.size for array in rows[0]]
    addresses = np.zeros((len(rows), len(sizes)), np.int64)
    for row, arrays in zip(addresses, rows, strict=True):
        if arrays is not None:
            row[:] = [array.ctypes.data for array in arrays]
    size = sum(sizes)
    step(min(parts, max(size, 1)), size, addresses, np.cumsum([0, *sizes]), np.array(settings, rows[0][0].dtype))


@each_case
@each_dtype
@pytest.mark.parametrize("sizes", SIZES, ids=str)
def test_every_number_steps_by_the_formula_with_the_same_bits_in_any_number_of_parts(
    step, reference, settings, states, dtype, sizes
):
    before = draw((1, 1, *states), sizes, dtype)
    results = []
    for count in COUNTS:
        rows = copied(before)
        take_step(step, count, inner(rows), settings)
        results.append(rows)
    for rows in results[1:]:
        for rooms, others in zip(results[0], rows, strict=True):
            for a, b in zip(rooms or [], others or [], strict=True):
                np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(values(results[0][0]), values(before[0]))
    for rooms in results[0]:
        for room in rooms or []:
            assert (room[:3] == 77).all()
            assert (room[-3:] == 77).all()
    numbers = [float(number) for number in np.array(settings, dtype)]
    columns = [[None] * sum(sizes) if rooms is None else values(rooms).tolist() for rooms in before]
    wanted = [reference(*each, *numbers) for each in zip(*columns, strict=True)]
    eps = np.finfo(dtype).eps
    for rooms, right in zip(results[0][1:], zip(*wanted, strict=True), strict=bool(wanted)):
        if rooms is not None:
            np.testing.assert_allclose(values(rooms), right, rtol=200 * eps, atol=20 * eps)


def test_an_array_is_found_by_its_id():
    arrays = [np.ones(3), np.ones((2, 3), np.float32)[:, 1:], np.zeros(0), np.array(2.0)]
    np.testing.assert_array_equal(launch.addresses_of(arrays), [a.ctypes.data for a in arrays])


def test_a_gradient_that_shares_memory_with_what_is_written_is_found():
    memory, sizes = np.zeros(40), np.array([4, 6])
    written = memory[10:], memory[24:]  # of the second parameter 10 to 16, of the first one's state 24 to 28
    apart = [np.zeros(8) for _ in range(3)]
    for first in range(34):
        rows = [[apart[0], memory[first:]], [apart[1], written[0]], [written[1], apart[2]]]
        addresses = np.array([[array.ctypes.data for array in row] for row in rows])
        meets = 4 < first < 16 or 18 < first < 28
        assert kernels.first_shared(addresses, sizes, 8) == (1 if meets else -1), first
        addresses[2] = 0  # a state that is not kept
        assert kernels.first_shared(addresses, sizes, 8) == (1 if 4 < first < 16 else -1), first


@each_case
def test_nan_and_infinity_stay_where_they_are_and_show(step, reference, settings, states):
    rows = draw((1, 1, *states), [50], np.float32)
    clean = copied(rows)
    arrays, others = inner(rows), inner(clean)
    arrays[0][0][7], arrays[0][0][9] = np.nan, np.inf
    take_step(step, 1, arrays, settings)
    take_step(step, 1, others, settings)
    for row, (a, b) in enumerate(zip(arrays, others, strict=True)):
        if a is not None:
            assert np.isnan(a[0][7])
            assert not np.isfinite(a[0][9]) or row == 1
            np.testing.assert_array_equal(np.delete(a[0], [7, 9]), np.delete(b[0], [7, 9]))


def test_without_decay_an_infinite_weight_is_no_nan():
    for step, states, settings in [
        (kernels.sgd_step, (0,), SGD),
        (kernels.adam_step, (1, 2, 0), ADAM),
        (kernels.rmsprop_step, (2, 0, 0), RMSPROP),
    ]:
        rows = inner(draw((1, 1, *states), [9], np.float64))
        p = rows[1][0]
        p[4] = np.inf
        take_step(step, 1, rows, (1.0, 0.0, *settings[2:]))
        assert p[4] == np.inf


def test_the_largest_square_keeps_a_nan():
    rows = inner(draw((1, 1, 1, 2, 2), [9], np.float32))
    (p,), (largest,) = rows[1], rows[4]
    largest[2] = np.nan
    take_step(kernels.adam_step, 1, rows, ADAM)
    np.testing.assert_array_equal(np.isnan(largest), np.arange(9) == 2)
    np.testing.assert_array_equal(np.isnan(p), np.arange(9) == 2)


def slow_norm(x, order):
    sizes = [abs(float(value)) for value in x]
    return max(sizes, default=0.0) if order == math.inf else math.fsum(size**order for size in sizes)


@each_dtype
@pytest.mark.parametrize("order", [1.0, 2.0, 3.5, 2.1, math.inf])
@pytest.mark.parametrize("sizes", [[0], [1], [2047], [2048, 3], [4101, 0, 1], [18433]], ids=str)
def test_powers_are_summed_by_chunks_with_the_same_bits_in_any_number_of_parts(dtype, order, sizes):
    rng = np.random.default_rng(sum(sizes))
    xs = [rng.standard_normal(size).astype(dtype) for size in sizes]
    pieces = [x[i : i + kernels.CHUNK] for x in xs for i in range(0, x.size, kernels.CHUNK)]
    chunks = np.cumsum([0, *(-(-size // kernels.CHUNK) for size in sizes)])
    addresses, bounds = np.array([[x.ctypes.data for x in xs]]), np.cumsum([0, *sizes])
    results = []
    for count in COUNTS:
        partial, n = np.full(len(pieces) + 1, np.nan), len(pieces)
        kernels.power_sum(min(count, max(n, 1)), n, addresses, bounds, xs[0][:0], chunks, order, partial[:n])
        results.append(partial)
    for partial in results[1:]:
        np.testing.assert_array_equal(partial, results[0])
    np.testing.assert_allclose(results[0], [*(slow_norm(piece, order) for piece in pieces), np.nan], rtol=1e-12)


@pytest.mark.parametrize("order", [1.0, 2.0, 3.0, math.inf])
def test_the_norm_has_the_same_bits_at_any_number_of_threads(order, monkeypatch):
    rng = np.random.default_rng(3)
    given = [nn.Parameter(np.zeros(shape, np.float32)) for shape in [(90, 70), (), (5001,), (0,), (3, 4)]]
    norms = []
    for count in COUNTS:
        monkeypatch.setattr(clip, "parts", lambda n, work, count=count: max(1, min(count, n)))
        rng = np.random.default_rng(3)
        for p in given:
            p.grad = mg.tensor(rng.standard_normal(p.shape).astype(np.float32))
        norms.append(optim.clip_grad_norm_(given, 1e-3, order).item())
    assert len(set(norms)) == 1
    assert norms[0] > 1


def test_the_tests_above_launch_every_kernel():
    launched = {id(case[0]) for case in CASES.values()} | {id(kernels.power_sum)}
    assert {id(value) for value in vars(kernels).values() if isinstance(value, Launcher)} == launched


@each_dtype
def test_states_of_weights_without_gradient_become_zero_and_no_denormals(dtype):
    small = float(np.finfo(dtype).smallest_normal)
    for kind, options in [
        (optim.SGD, {"momentum": 0.5}),
        (optim.Adam, {"betas": (0.5, 0.5), "amsgrad": False}),
        (optim.RMSprop, {"alpha": 0.5, "momentum": 0.5, "centered": True}),
    ]:
        p = nn.Parameter(np.ones(33, dtype))
        optimizer = kind([p], lr=0.1, **options)
        p.grad = mg.tensor(np.full(33, 1e-3, dtype))
        optimizer.step()
        p.grad = mg.tensor(np.zeros(33, dtype))
        for _ in range(160 if dtype is np.float32 else 1100):  # halved so often, they pass through all denormals
            optimizer.step()
            for name, array in optimizer.state[p].items():
                assert name == "step" or (np.abs(array[array != 0]) >= small).all(), (kind, name)
        assert all(name == "step" or not array.any() for name, array in optimizer.state[p].items())


@pytest.mark.parametrize("make", [optim.Adam, optim.RMSprop])
def test_where_eps_does_not_hide_it_a_step_by_a_denormal_square_is_taken(make):
    """The square of 1e-21 is denormal in float32; a step is of the size of lr nevertheless, as in float64."""
    moved = []
    for dtype in (np.float32, np.float64):
        p = nn.Parameter(np.zeros(20, dtype))
        optimizer = make([p], lr=1.0, eps=0.0)
        for _ in range(3):
            p.grad = mg.tensor(np.full(20, 1e-21, dtype))
            optimizer.step()
        moved.append(p.data)
    np.testing.assert_allclose(moved[0], moved[1], rtol=0.2)  # denormals have few digits


@pytest.mark.parametrize(("eps", "hidden"), [(1e-8, True), (1e-3, True), (1e-12, False), (0.0, False)])
def test_denormal_squares_are_let_go_only_where_no_bit_of_a_step_changes(eps, hidden):
    assert launch.hides_denormals(eps, 1e-3, np.dtype(np.float32)) is hidden
    if hidden:
        root = np.sqrt(np.finfo(np.float32).smallest_normal / np.float32(1e-3))
        assert root + np.float32(eps) == np.float32(eps)
