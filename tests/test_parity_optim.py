"""Optimisers, schedules and clipping beside PyTorch's, over 25 steps of a small problem."""

import inspect
import math

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

import minigrad as mg
from minigrad import nn, optim

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.parity

STEPS = 25
TOLERANCE = {np.float64: 1e-10, np.float32: 1e-5}


class Problem:
    """A network that learns a random map, with a scalar that the loss does not see; PyTorch computes the gradients.

    Both libraries get the same ones, as steps that divide by small numbers would magnify what rounding they differ by.
    """

    def __init__(self, dtype, seed=0):
        rng = np.random.default_rng(seed)
        self.dtype = dtype
        self.x, self.y = (torch.tensor(rng.normal(size=(8, features)).astype(dtype)) for features in (4, 3))
        values = [rng.normal(size=shape).astype(dtype) for shape in [(5, 4), (5,), (3, 5), (), ()]]
        self.ours = [nn.Parameter(value) for value in values]
        self.theirs = [torch.nn.Parameter(torch.tensor(value)) for value in values]

    def groups(self, parameters, **other):
        """Two groups, the second with settings of its own."""
        return [{"params": parameters[:2]}, {"params": parameters[2:], **other}]

    def backward(self):
        for p in self.theirs:
            p.grad = None
        w1, b1, w2, scale, _ = self.theirs
        (((self.x @ w1.T + b1).tanh() @ w2.T * scale - self.y) ** 2).mean().backward()
        for p, q in zip(self.ours, self.theirs, strict=True):
            p.grad = None if q.grad is None else mg.tensor(q.grad.numpy())

    def compare(self, what):
        for i, (a, b) in enumerate(zip(self.ours, self.theirs, strict=True)):
            expected = b.detach().numpy()
            tolerance = TOLERANCE[self.dtype] * max(1.0, np.abs(expected).max())
            np.testing.assert_allclose(a.data, expected, rtol=0, atol=tolerance, err_msg=f"{what}, parameter {i}")


def follow(problem, ours, theirs, schedules=()):
    for step in range(STEPS):
        problem.backward()
        ours.step()
        theirs.step()
        problem.compare(f"step {step}")
        for schedule in schedules:
            schedule.step()
        for a, b in zip(ours.param_groups, theirs.param_groups, strict=True):
            for key in {"lr", "momentum", "betas"} & a.keys():
                np.testing.assert_allclose(a[key], b[key], rtol=1e-10, atol=1e-16, err_msg=f"{key} after step {step}")


NAMES = ["SGD", "RMSprop", "Adam", "AdamW"]
SCHEDULES = ["StepLR", "MultiStepLR", "LinearLR", "CosineAnnealingLR", "OneCycleLR", "LambdaLR", "SequentialLR"]


@pytest.mark.parametrize("name", [*NAMES, *SCHEDULES, "clip_grad_norm_", "clip_grad_value_"])
def test_signatures_are_pytorchs_without_what_does_not_apply(name):
    homes = {"clip": (optim, torch.nn.utils), "LR": (optim.lr_scheduler, torch.optim.lr_scheduler)}
    home = homes["clip" if name.startswith("clip") else "LR"] if name not in NAMES else (optim, torch.optim)
    ours, theirs = (inspect.signature(getattr(library, name)).parameters for library in home)
    assert list(ours) == [n for n in theirs if n in ours]
    for n, parameter in ours.items():
        assert parameter.default == theirs[n].default, n
        assert parameter.kind in (theirs[n].kind, parameter.KEYWORD_ONLY), n


DECAY, LR, MOMENTUM = st.sampled_from([0.0, 0.1]), st.sampled_from([0.0, 0.01, 0.1]), st.sampled_from([0.0, 0.5, 0.9])
SETTINGS = {
    "SGD": st.fixed_dictionaries(
        {"lr": LR, "momentum": MOMENTUM, "dampening": st.sampled_from([0.0, 0.3]), "nesterov": st.booleans()}
    ),
    "RMSprop": st.fixed_dictionaries(
        {
            "lr": st.sampled_from([1e-3, 1e-2]),
            "alpha": st.sampled_from([0.8, 0.99]),
            "eps": st.sampled_from([1e-8, 1e-3]),
            "momentum": MOMENTUM,
            "centered": st.booleans(),
        }
    ),
    "Adam": st.fixed_dictionaries(
        {
            "lr": LR,
            "betas": st.sampled_from([(0.9, 0.999), (0.0, 0.5), (0.5, 0.0)]),
            "eps": st.sampled_from([1e-8, 1e-3]),
            "amsgrad": st.booleans(),
        }
    ),
}
SETTINGS["AdamW"] = SETTINGS["Adam"]


@pytest.mark.parametrize("dtype", TOLERANCE, ids=lambda dtype: dtype.__name__)
@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=15)
@given(data=st.data(), weight_decay=DECAY, maximize=st.booleans(), seed=st.integers(0, 9))
def test_optimisers_go_pytorchs_way(name, dtype, data, weight_decay, maximize, seed):
    drawn = data.draw(SETTINGS[name]) | {"weight_decay": weight_decay, "maximize": maximize}
    if drawn.get("nesterov") and (not drawn["momentum"] or drawn["dampening"]):
        drawn["nesterov"] = False
    if maximize:
        drawn["lr"] = min(drawn["lr"], 1e-3)  # climbing faster, numbers grow without bounds
    problem = Problem(dtype, seed)
    ours = getattr(optim, name)(problem.groups(problem.ours, lr=0.02 if not maximize else 1e-3), **drawn)
    theirs = getattr(torch.optim, name)(problem.groups(problem.theirs, lr=0.02 if not maximize else 1e-3), **drawn)
    follow(problem, ours, theirs)


@pytest.mark.parametrize("name", NAMES)
def test_states_have_pytorchs_structure_and_can_be_taken_over(name):
    problem = Problem(np.float64)
    options = {"lr": 0.01} | ({"momentum": 0.9} if name in ("SGD", "RMSprop") else {"amsgrad": True})
    make = [
        lambda: getattr(optim, name)(problem.ours, **options),
        lambda: getattr(torch.optim, name)(problem.theirs, **options),
    ]
    ours, theirs = (each() for each in make)
    follow(problem, ours, theirs)
    state, expected = ours.state_dict(), theirs.state_dict()
    assert state["param_groups"][0]["params"] == expected["param_groups"][0]["params"]
    assert state["state"].keys() == expected["state"].keys()
    for i, values in state["state"].items():
        assert values.keys() == expected["state"][i].keys()
        for key, value in values.items():
            np.testing.assert_allclose(value, expected["state"][i][key], rtol=0, atol=1e-10)
    resumed = make[0]()
    resumed.load_state_dict({"state": expected["state"], "param_groups": state["param_groups"]})
    follow(problem, resumed, theirs)


def sequence(library, optimizer):
    warm_up = library.LinearLR(optimizer, 0.1, total_iters=4)
    return library.SequentialLR(
        optimizer, [warm_up, library.CosineAnnealingLR(optimizer, 8, 1e-3), library.StepLR(optimizer, 3)], [4, 12]
    )


TABLE = {
    "StepLR": lambda library, o: library.StepLR(o, 4, 0.7),
    "MultiStepLR": lambda library, o: library.MultiStepLR(o, [3, 9, 9, 20], 0.3),
    "LinearLR": lambda library, o: library.LinearLR(o),
    "LinearLR down": lambda library, o: library.LinearLR(o, 1.0, 0.2, 17),
    "CosineAnnealingLR": lambda library, o: library.CosineAnnealingLR(o, 25, 1e-4),
    "CosineAnnealingLR up again": lambda library, o: library.CosineAnnealingLR(o, 10),
    "LambdaLR": lambda library, o: library.LambdaLR(o, [lambda t: 0.9**t, lambda t: 1 / (t + 1)]),
    "OneCycleLR": lambda library, o: library.OneCycleLR(o, [0.1, 0.05], STEPS),
    "OneCycleLR three phases": lambda library, o: library.OneCycleLR(
        o, 0.1, epochs=5, steps_per_epoch=6, pct_start=0.4, three_phase=True, anneal_strategy="linear", div_factor=10.0
    ),
    "OneCycleLR without momentum": lambda library, o: library.OneCycleLR(o, 0.1, STEPS, cycle_momentum=False),
    "SequentialLR": sequence,
}


@pytest.mark.parametrize("name", ["SGD", "AdamW"])
@pytest.mark.parametrize("make", TABLE.values(), ids=TABLE)
@pytest.mark.filterwarnings("ignore:.*epoch parameter in `scheduler.step.*")  # PyTorch's SequentialLR itself uses it
def test_schedules_go_pytorchs_way(make, name):
    problem = Problem(np.float64)
    options = {"momentum": 0.9} if name == "SGD" else {}
    ours = getattr(optim, name)(problem.groups(problem.ours, lr=0.03), lr=0.05, **options)
    theirs = getattr(torch.optim, name)(problem.groups(problem.theirs, lr=0.03), lr=0.05, **options)
    schedules = make(optim.lr_scheduler, ours), make(torch.optim.lr_scheduler, theirs)
    assert schedules[0].get_last_lr() == pytest.approx(schedules[1].get_last_lr(), rel=1e-12)
    follow(problem, ours, theirs, schedules)
    assert schedules[0].get_last_lr() == pytest.approx(schedules[1].get_last_lr(), rel=1e-10)
    assert schedules[0].last_epoch == schedules[1].last_epoch == STEPS


@pytest.mark.parametrize("dtype", TOLERANCE, ids=lambda dtype: dtype.__name__)
@given(norm_type=st.sampled_from([1.0, 2.0, 3.0, math.inf]), max_norm=st.floats(0.01, 10.0), seed=st.integers(0, 99))
def test_clipping_by_norm_is_pytorchs(dtype, norm_type, max_norm, seed):
    problem = Problem(dtype, seed)
    problem.backward()
    norm = optim.clip_grad_norm_(problem.ours, max_norm, norm_type)
    expected = torch.nn.utils.clip_grad_norm_(problem.theirs, max_norm, norm_type)
    np.testing.assert_allclose(norm, expected.detach().numpy(), rtol=TOLERANCE[dtype])
    compare_gradients(problem, TOLERANCE[dtype])


def compare_gradients(problem, tolerance):
    for a, b in zip(problem.ours, problem.theirs, strict=True):
        assert (a.grad is None) == (b.grad is None)
        if a.grad is not None:
            np.testing.assert_allclose(a.grad, b.grad, rtol=tolerance, atol=tolerance)


def test_clipping_by_value_is_pytorchs():
    problem = Problem(np.float64)
    problem.backward()
    optim.clip_grad_value_(problem.ours, 0.02)
    torch.nn.utils.clip_grad_value_(problem.theirs, 0.02)
    compare_gradients(problem, 1e-12)
    assert np.abs(problem.ours[0].grad.data).max() == 0.02


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_norm_that_is_not_finite_does_what_pytorchs_does(bad):
    problem = Problem(np.float64)
    problem.backward()
    problem.ours[1].grad[0] = bad
    problem.theirs[1].grad[0] = bad
    norm, expected = optim.clip_grad_norm_(problem.ours, 1.0), torch.nn.utils.clip_grad_norm_(problem.theirs, 1.0)
    np.testing.assert_array_equal(norm, expected)
    compare_gradients(problem, 1e-12)
