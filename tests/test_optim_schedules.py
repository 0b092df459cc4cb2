"""Schedules of the learning rate: formulas, sequences, resuming, errors."""

import math

import numpy as np
import pytest
from hypothesis import given, strategies as st

from minigrad import nn, optim
from minigrad.optim import lr_scheduler as schedules


def parameter():
    return nn.Parameter([1.0])


def sgd(*lrs):
    return optim.SGD([{"params": [parameter()], "lr": lr} for lr in lrs], momentum=0.5)


SCHEDULES = [
    (lambda o: schedules.StepLR(o, 3, 0.5), lambda t: 0.5 ** (t // 3)),
    (lambda o: schedules.MultiStepLR(o, [5, 2, 5], 0.5), lambda t: 1.0 if t < 2 else 0.5 if t < 5 else 0.125),
    (lambda o: schedules.LinearLR(o, 0.25, 0.75, 4), lambda t: 0.25 + 0.5 * min(t, 4) / 4),
    (lambda o: schedules.LinearLR(o, 0.25, total_iters=1), lambda t: 0.25 if t == 0 else 1.0),
    (lambda o: schedules.CosineAnnealingLR(o, 6), lambda t: (1 + math.cos(math.pi * t / 6)) / 2),
    (lambda o: schedules.LambdaLR(o, lambda t: 1 / (1 + t)), lambda t: 1 / (1 + t)),
    (
        lambda o: schedules.SequentialLR(
            o,
            [schedules.LinearLR(o, 0.5, 1.0, 3), schedules.CosineAnnealingLR(o, 5), schedules.StepLR(o, 2, 0.1)],
            [3, 8],
        ),
        lambda t: (
            0.5 + t / 6 if t < 3 else (1 + math.cos(math.pi * (t - 3) / 5)) / 2 if t < 8 else 0.1 ** ((t - 8) // 2)
        ),
    ),
]


@pytest.mark.parametrize(("make", "factor"), SCHEDULES)
def test_schedules_set_every_groups_rate_by_their_formula(make, factor):
    optimizer = sgd(0.1, 0.4)
    schedule = make(optimizer)
    for t in range(12):
        expected = [0.1 * factor(t), 0.4 * factor(t)]
        np.testing.assert_allclose([group["lr"] for group in optimizer.param_groups], expected, rtol=1e-12, atol=1e-17)
        assert schedule.get_last_lr() == [group["lr"] for group in optimizer.param_groups]
        schedule.step()


@pytest.mark.parametrize(("make", "factor"), SCHEDULES)
@given(steps=st.integers(0, 9))
def test_a_resumed_schedule_goes_on(make, factor, steps):
    optimizer, resumed_optimizer = sgd(0.1), sgd(7.0)
    schedule, resumed = make(optimizer), make(resumed_optimizer)
    for _ in range(steps):
        schedule.step()
    saved = optimizer.state_dict(), schedule.state_dict()
    resumed_optimizer.load_state_dict(saved[0])
    resumed.load_state_dict(saved[1])
    for _ in range(4):
        assert [g["lr"] for g in optimizer.param_groups] == [g["lr"] for g in resumed_optimizer.param_groups]
        schedule.step()
        resumed.step()


@pytest.mark.parametrize("three_phase", [False, True])
def test_one_cycle_rises_and_falls_and_the_momentum_the_other_way(three_phase):
    optimizer = sgd(1.0, 1.0)
    schedule = schedules.OneCycleLR(optimizer, [0.5, 0.25], epochs=4, steps_per_epoch=5, three_phase=three_phase)
    rates, momenta = [], []
    for _ in range(20):
        rates.append([group["lr"] for group in optimizer.param_groups])
        momenta.append(optimizer.param_groups[0]["momentum"])
        schedule.step()
    rates = np.array(rates)
    np.testing.assert_allclose(rates[:, 0], 2 * rates[:, 1], rtol=1e-12)
    np.testing.assert_allclose(rates[[0, 5, 19], 0], [0.02, 0.5, 0.02 / 1e4], rtol=1e-12)
    assert np.all(np.diff(rates[:6, 0]) > 0)
    assert np.all(np.diff(rates[5:, 0]) < 0)
    np.testing.assert_allclose([momenta[0], momenta[5], momenta[19]], [0.95, 0.85, 0.95], rtol=1e-12)
    with pytest.raises(ValueError, match="step 21 of 20"):
        schedule.step()


def test_one_cycle_in_straight_lines_returns_to_its_start_before_it_ends():
    optimizer = optim.SGD([parameter()])
    options = {"pct_start": 0.3, "anneal_strategy": "linear", "three_phase": True, "cycle_momentum": False}
    schedule = schedules.OneCycleLR(optimizer, 1.0, 20, div_factor=5.0, final_div_factor=2.0, **options)
    rates = [0.2]
    for _ in range(19):
        schedule.step()
        rates += schedule.get_last_lr()
    expected = np.interp(np.arange(20), [0, 5, 10, 19], [0.2, 1.0, 0.2, 0.1])
    np.testing.assert_allclose(rates, expected, rtol=1e-12)
    assert optimizer.param_groups[0]["momentum"] == 0


def test_one_cycle_moves_the_first_beta_of_adam():
    optimizer = optim.Adam([parameter()], betas=(0.5, 0.9))
    schedules.OneCycleLR(optimizer, 0.1, 10)
    assert optimizer.param_groups[0]["betas"] == (0.95, 0.9)


def test_a_group_that_is_added_later_needs_a_new_schedule():
    optimizer = sgd(0.1)
    schedule = schedules.StepLR(optimizer, 3)
    optimizer.add_param_group({"params": [parameter()]})
    with pytest.raises(RuntimeError, match="StepLR: a group was added to the optimizer"):
        schedule.step()


WRONG = [
    (lambda: schedules.StepLR(parameter(), 3), TypeError, "StepLR: need an optimizer, got Parameter"),
    (lambda: schedules.StepLR(optim.SGD([parameter()]), 0), ValueError, "need step_size >= 1"),
    (lambda: schedules.StepLR(optim.SGD([parameter()]), 2, last_epoch=3), KeyError, "needs its initial_lr"),
    (lambda: schedules.LinearLR(optim.SGD([parameter()]), 0.0), ValueError, "LinearLR: need factors"),
    (lambda: schedules.LinearLR(optim.SGD([parameter()]), total_iters=0), ValueError, "need total_iters >= 1"),
    (lambda: schedules.CosineAnnealingLR(optim.SGD([parameter()]), 0), ValueError, "need T_max >= 1"),
    (
        lambda: schedules.LambdaLR(optim.SGD([parameter()]), [abs, abs]),
        ValueError,
        "need 1 functions, one per group, got 2",
    ),
    (lambda: schedules.OneCycleLR(optim.SGD([parameter()]), 0.1), ValueError, "need total_steps"),
    (lambda: schedules.OneCycleLR(optim.SGD([parameter()]), [0.1, 0.2], 5), ValueError, "need one max_lr or 1"),
    (
        lambda: schedules.OneCycleLR(optim.SGD([parameter()]), 0.1, 5, pct_start=2.0),
        ValueError,
        r"need pct_start in \[0, 1\]",
    ),
    (lambda: schedules.SequentialLR(optim.SGD([parameter()]), [], []), ValueError, "need one milestone fewer"),
]


@pytest.mark.parametrize(("use", "error", "message"), WRONG)
def test_wrong_arguments_are_named(use, error, message):
    with pytest.raises(error, match=message):
        use()
