"""The kernels of optimisers by themselves, and the memory that optimisers hand to them."""

import math

import numpy as np
import pytest

import minigrad as mg
from minigrad import nn, optim
from minigrad.kernels import optimizers as kernels
from minigrad.kernels.threads import Launcher
from minigrad.optim import clip, launch

SIZES = [0, 1, 7, 64, 5001]
COUNTS = [1, 2, 3, 8]


# One number at a time, in Python's float64: (p, g, *states), settings -> (p, *states).
def slow_sgd(p, g, velocity, decay, keep, gain, ahead, lr):
    d = g + decay * p if decay else g
    if velocity is None:
        return p - lr * d, None
    v = keep * velocity + gain * d
    return p - lr * (d + ahead * v if ahead else v), v


def slow_adam(p, g, mean, square, largest, decay, shrink, a1, b2, a2, eps, rate):
    d = g + decay * p if decay else g
    m, v = mean + a1 * (d - mean), b2 * square + a2 * d * d
    most = v if largest is None else max(largest, v)
    return shrink * p - rate * m / (math.sqrt(most) + eps), m, v, None if largest is None else most


def slow_rmsprop(p, g, square, mean, velocity, decay, alpha, gain, eps, momentum, lr):
    d = g + decay * p if decay else g
    s = alpha * square + gain * d * d
    m = None if mean is None else mean + gain * (d - mean)
    step = d / (math.sqrt(s if m is None else max(0.0, s - m * m)) + eps)
    v = None if velocity is None else momentum * velocity + step
    return p - lr * (step if v is None else v), s, m, v


# kernel, reference, settings, which states are kept (squares, which are not negative, are marked 2)
SGD = (0.3, 0.9, 0.7, 0.0, 0.1)
ADAM = (0.3, 1.0, 0.1, 0.8, 0.2, 1e-3, 0.1)
RMSPROP = (0.3, 0.8, 0.2, 0.5, 0.9, 0.1)
CASES = {
    "sgd": (kernels.sgd_step, slow_sgd, SGD, (0,)),
    "sgd momentum": (kernels.sgd_step, slow_sgd, SGD, (1,)),
    "sgd nesterov": (kernels.sgd_step, slow_sgd, (0.0, 0.9, 1.0, 0.9, 0.1), (1,)),
    "adam": (kernels.adam_step, slow_adam, ADAM, (1, 2, 0)),
    "adam decoupled": (kernels.adam_step, slow_adam, (0.0, 0.9, *ADAM[2:]), (1, 2, 0)),
    "amsgrad": (kernels.adam_step, slow_adam, ADAM, (1, 2, 2)),
    "adam exact": (kernels.adam_step_exact, slow_adam, ADAM, (1, 2, 2)),
    "rmsprop": (kernels.rmsprop_step, slow_rmsprop, RMSPROP, (2, 0, 0)),
    "rmsprop centred": (kernels.rmsprop_step, slow_rmsprop, RMSPROP, (2, 1, 0)),
    "rmsprop momentum": (kernels.rmsprop_step, slow_rmsprop, RMSPROP, (2, 0, 1)),
    "rmsprop exact": (kernels.rmsprop_step_exact, slow_rmsprop, RMSPROP, (2, 1, 1)),
}
each_case = pytest.mark.parametrize(("step", "reference", "settings", "states"), CASES.values(), ids=CASES)
each_dtype = pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=lambda dtype: dtype.__name__)


def draw(kinds, size, dtype, seed=0):
    """Arrays by kind, 1 of any sign and 2 not negative, each in a room of 3 marks on either side."""
    rng = np.random.default_rng(seed)
    rooms = []
    for kind in kinds:
        room = np.full(size + 6 if kind else 6, 77.0, dtype)
        room[3:-3] = rng.standard_normal(size if kind else 0)
        rooms.append(np.abs(room) if kind == 2 else room)
    return rooms


@each_case
@each_dtype
@pytest.mark.parametrize("size", SIZES)
def test_every_number_steps_by_the_formula_with_the_same_bits_in_any_number_of_parts(
    step, reference, settings, states, dtype, size
):
    before = draw((1, 1, *states), size, dtype)
    results = []
    for count in COUNTS:
        rooms = [room.copy() for room in before]
        step(min(count, max(size, 1)), size, *[room[3:-3] for room in rooms], np.array(settings, dtype))
        results.append(rooms)
    for rooms in results[1:]:
        for a, b in zip(results[0], rooms, strict=True):
            np.testing.assert_array_equal(a, b)
    p, g, *kept = results[0]
    np.testing.assert_array_equal(g, before[1])
    for room in results[0]:
        assert (room[:3] == 77).all()
        assert (room[-3:] == 77).all()
    numbers = [float(number) for number in np.array(settings, dtype)]
    columns = [room[3:-3].tolist() if room.size > 6 else [None] * size for room in before]
    wanted = [reference(*each, *numbers) for each in zip(*columns, strict=True)]
    eps = np.finfo(dtype).eps
    for room, values in zip((p, *kept), zip(*wanted, strict=True), strict=bool(size)):
        if room.size > 6:
            np.testing.assert_allclose(room[3:-3], values, rtol=200 * eps, atol=20 * eps)


@each_case
def test_nan_and_infinity_stay_where_they_are_and_show(step, reference, settings, states):
    arrays = [room[3:-3] for room in draw((1, 1, *states), 50, np.float32)]
    clean = [a.copy() for a in arrays]
    arrays[1][7], arrays[1][9] = np.nan, np.inf
    given = np.array(settings, np.float32)
    step(1, 50, *arrays, given)
    step(1, 50, *clean, given)
    for a, b in zip(arrays, clean, strict=True):
        if a.size:
            assert np.isnan(a[7])
            assert not np.isfinite(a[9]) or a is arrays[0]
            np.testing.assert_array_equal(np.delete(a, [7, 9]), np.delete(b, [7, 9]))


def test_without_decay_an_infinite_weight_is_no_nan():
    for step, states, settings in [
        (kernels.sgd_step, (0,), (0.0, *SGD[1:])),
        (kernels.adam_step, (1, 2, 0), (0.0, *ADAM[1:])),
        (kernels.rmsprop_step, (2, 0, 0), (0.0, *RMSPROP[1:])),
    ]:
        p, g, *kept = (room[3:-3] for room in draw((1, 1, *states), 9, np.float64))
        p[4] = np.inf
        step(1, 9, p, g, *kept, np.array(settings))
        assert p[4] == np.inf


def test_the_largest_square_keeps_a_nan():
    p, g, mean, square, largest = (room[3:-3] for room in draw((1, 1, 1, 2, 2), 9, np.float32))
    largest[2] = np.nan
    kernels.adam_step(1, 9, p, g, mean, square, largest, np.array(ADAM, np.float32))
    np.testing.assert_array_equal(np.isnan(largest), np.arange(9) == 2)
    np.testing.assert_array_equal(np.isnan(p), np.arange(9) == 2)


def slow_norm(x, order):
    sizes = [abs(float(value)) for value in x]
    return max(sizes, default=0.0) if order == math.inf else math.fsum(size**order for size in sizes)


@each_dtype
@pytest.mark.parametrize("order", [1.0, 2.0, 3.5, math.inf])
@pytest.mark.parametrize("size", [0, 1, 2047, 2048, 2 * 2048 + 5, 9 * 2048 + 1])
def test_powers_are_summed_by_chunks_with_the_same_bits_in_any_number_of_parts(dtype, order, size):
    x = np.random.default_rng(size).standard_normal(size).astype(dtype)
    chunks = -(-size // kernels.CHUNK)
    results = []
    for count in COUNTS:
        partial = np.full(chunks + 1, np.nan)
        kernels.power_sum(min(count, max(chunks, 1)), chunks, x, order, partial[:chunks])
        results.append(partial)
    for partial in results[1:]:
        np.testing.assert_array_equal(partial, results[0])
    pieces = [slow_norm(x[i * kernels.CHUNK : (i + 1) * kernels.CHUNK], order) for i in range(chunks)]
    np.testing.assert_allclose(results[0], [*pieces, np.nan], rtol=1e-12)


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
