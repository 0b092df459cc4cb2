"""Optimisers and clipping: formulas, state, what is left alone, errors."""

import json
import math

import numpy as np
import pytest
from hypothesis import given, strategies as st

import minigrad as mg
from minigrad import nn, optim

RNG = np.random.default_rng(2)


def parameter(*shape):
    return nn.Parameter(RNG.normal(size=shape))


def give_gradients(parameters, rng):
    for p in parameters:
        p.grad = mg.tensor(rng.normal(size=p.shape).astype(p.dtype))


# One formula per optimiser, written out for numbers: the state is (step, first average, second average, largest).
def plain(p, g, s, lr=0.1):
    return p - lr * g, s


def momentum(p, g, s, lr=0.1):
    v = g if s is None else 0.9 * s + g
    return p - lr * v, v


def nesterov(p, g, s, lr=0.1):
    v = g if s is None else 0.9 * s + g
    return p - lr * (g + 0.9 * v), v


def rmsprop(p, g, s, lr=0.1):
    s = 0.99 * (s or 0.0) + 0.01 * g**2
    return p - lr * g / (math.sqrt(s) + 1e-8), s


def damped(p, g, s, lr=0.1):
    g = g + 0.2 * p
    v = g if s is None else 0.9 * s + 0.7 * g
    return p - lr * v, v


def centred(p, g, s, lr=0.1):
    square, mean, v = s or (0.0, 0.0, 0.0)
    square, mean = 0.8 * square + 0.2 * g**2, 0.8 * mean + 0.2 * g
    v = 0.5 * v + g / (math.sqrt(square - mean**2) + 1e-3)
    return p - lr * v, (square, mean, v)


def adam(p, g, s, lr=0.1):
    t, m, v = s or (0, 0.0, 0.0)
    t, m, v = t + 1, 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g**2
    return p - lr * m / (1 - 0.9**t) / (math.sqrt(v / (1 - 0.999**t)) + 1e-8), (t, m, v)


def adamw(p, g, s, lr=0.1):
    return adam(p * (1 - lr * 0.01), g, s, lr)


def amsgrad(p, g, s, lr=0.1):
    t, m, v, most = s or (0, 0.0, 0.0, 0.0)
    t, m, v = t + 1, 0.9 * m + 0.1 * g, 0.2 * v + 0.8 * g**2
    most = max(most, v)
    return p - lr * m / (1 - 0.9**t) / (math.sqrt(most / (1 - 0.2**t)) + 1e-8), (t, m, v, most)


FORMULAS = [
    (lambda ps: optim.SGD(ps, lr=0.1, momentum=0.9, dampening=0.3, weight_decay=0.2), damped),
    (lambda ps: optim.RMSprop(ps, lr=0.1, alpha=0.8, eps=1e-3, momentum=0.5, centered=True), centred),
    (lambda ps: optim.Adam(ps, lr=0.1, betas=(0.9, 0.2), amsgrad=True), amsgrad),
    (lambda ps: optim.SGD(ps, lr=0.1), plain),
    (lambda ps: optim.SGD(ps, lr=0.1, momentum=0.9), momentum),
    (lambda ps: optim.SGD(ps, lr=0.1, momentum=0.9, nesterov=True), nesterov),
    (lambda ps: optim.RMSprop(ps, lr=0.1), rmsprop),
    (lambda ps: optim.Adam(ps, lr=0.1), adam),
    (lambda ps: optim.AdamW(ps, lr=0.1), adamw),
]


@pytest.mark.parametrize(("make", "formula"), FORMULAS, ids=lambda f: f.__name__)
def test_every_number_moves_by_the_formula(make, formula):
    p = parameter(2, 3)
    optimizer, states = make([p]), [None] * 6
    for _ in range(5):
        give_gradients([p], RNG)
        moved = [formula(*each) for each in zip(p.data.flat, p.grad.data.flat, states, strict=True)]
        optimizer.step()
        np.testing.assert_allclose(p.data.flat, [value for value, _ in moved], rtol=1e-12)
        states = [state for _, state in moved]


MAKERS = {
    "sgd": lambda ps: optim.SGD(ps, lr=0.1, momentum=0.9, dampening=0.2, weight_decay=0.1),
    "rmsprop": lambda ps: optim.RMSprop(ps, momentum=0.9, centered=True, weight_decay=0.1),
    "adam": lambda ps: optim.Adam(ps, lr=0.1, amsgrad=True, weight_decay=0.1),
    "adamw": lambda ps: optim.AdamW(ps, lr=0.1, maximize=True),
}
each_optimizer = pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)


@each_optimizer
def test_a_step_changes_arrays_in_place_and_tells_the_tape(make):
    used, unused, scalar = parameter(3), parameter(2), parameter()
    optimizer = make([used, unused, scalar])
    memory, before = used._array, [p.data.copy() for p in (used, unused, scalar)]
    y = used * used
    (used * RNG.normal(size=3)).backward(RNG.normal(size=3))
    (scalar * 2).backward()
    gradient = used.grad.data.copy()
    optimizer.step()
    assert used._array is memory
    assert not np.any(used.data == before[0])
    np.testing.assert_array_equal(unused.data, before[1])
    assert scalar.shape == ()
    assert scalar.data != before[2]
    np.testing.assert_array_equal(used.grad, gradient)
    with pytest.raises(RuntimeError, match="multiply: its input, saved for backward, was changed in place"):
        y.backward(np.ones(3))


@each_optimizer
def test_float32_parameters_keep_float32_states(make):
    p = nn.Parameter(np.ones((2, 2), np.float32))
    optimizer = make([p])
    optimizer.param_groups[0]["lr"] = np.float64(0.1)
    give_gradients([p], RNG)
    optimizer.step()
    assert p.dtype == np.float32
    arrays = [array for name, array in optimizer.state[p].items() if name != "step"]
    assert arrays
    assert all(array.dtype == np.float32 for array in arrays)


@each_optimizer
def test_a_resumed_run_goes_on_bit_by_bit(make, tmp_path):
    whole = [parameter(3, 2), parameter()]
    split = [nn.Parameter(p) for p in whole]
    optimizer, first = make(whole), make(split)
    rngs = [np.random.default_rng(5), np.random.default_rng(5)]
    for _ in range(3):
        for ps, o, rng in zip((whole, split), (optimizer, first), rngs, strict=True):
            give_gradients(ps, rng)
            o.step()
    state = first.state_dict()
    assert list(state["state"]) == [0, 1]
    assert state["param_groups"][0]["params"] == [0, 1]
    arrays = {f"{i}.{name}": array for i, values in state["state"].items() for name, array in values.items()}
    mg.save(arrays, tmp_path / "state.safetensors")
    loaded = {"state": {}, "param_groups": json.loads(json.dumps(state["param_groups"]))}
    for name, tensor in mg.load(tmp_path / "state.safetensors").items():
        loaded["state"].setdefault(name.split(".")[0], {})[name.split(".")[1]] = tensor
    resumed = make(split)
    resumed.load_state_dict(loaded)
    assert resumed.param_groups[0].keys() == first.param_groups[0].keys()
    for _ in range(3):
        for ps, o, rng in zip((whole, split), (optimizer, resumed), rngs, strict=True):
            give_gradients(ps, rng)
            o.step()
    for a, b in zip(whole, split, strict=True):
        np.testing.assert_array_equal(a.data, b.data)


def test_a_loaded_state_is_a_copy_and_must_fit():
    p, q = parameter(3), parameter(3)
    source, target = optim.Adam([p], lr=0.5), optim.Adam([q])
    give_gradients([p], RNG)
    source.step()
    state = source.state_dict()
    target.load_state_dict(state)
    assert target.param_groups[0]["lr"] == 0.5
    assert target.param_groups[0]["params"] == [q]
    assert not np.shares_memory(target.state[q]["exp_avg"], source.state[p]["exp_avg"])
    with pytest.raises(ValueError, match=r"Adam.load_state_dict: need groups of \[2\] parameters, got \[1\]"):
        optim.Adam([parameter(3), parameter(2)]).load_state_dict(state)
    other = optim.Adam([parameter(2)])
    with pytest.raises(ValueError, match=r"need exp_avg of shape \(2,\), got \(3,\)"):
        other.load_state_dict(state)
    assert other.param_groups[0]["lr"] == 1e-3
    assert not other.state


def test_groups_have_settings_of_their_own():
    a, b, c = parameter(2), parameter(2), parameter(2)
    optimizer = optim.SGD([{"params": [a]}, {"params": b, "lr": 0.5}], lr=0.1)
    optimizer.add_param_group({"params": iter([c]), "lr": 0.0})
    before = [p.data.copy() for p in (a, b, c)]
    give_gradients([a, b, c], RNG)
    optimizer.step()
    for p, old, lr in zip((a, b, c), before, (0.1, 0.5, 0.0), strict=True):
        np.testing.assert_allclose(p.data, old - lr * p.grad.data, rtol=1e-15)
    assert [len(group["params"]) for group in optimizer.param_groups] == [1, 1, 1]


def test_maximize_climbs():
    p = parameter(3)
    q = nn.Parameter(p)
    up, down = optim.Adam([p], maximize=True), optim.Adam([q])
    p.grad = mg.tensor(RNG.normal(size=3))
    q.grad = -p.grad
    up.step()
    down.step()
    np.testing.assert_array_equal(p.detach(), q.detach())


def test_decoupled_decay_is_not_scaled_by_the_gradient():
    coupled, decoupled = nn.Parameter(np.array([4.0])), nn.Parameter(np.array([4.0]))
    for p, kind in [(coupled, optim.Adam), (decoupled, optim.AdamW)]:
        p.grad = mg.tensor(np.zeros(1))
        kind([p], lr=0.1, weight_decay=0.5).step()
    np.testing.assert_allclose(coupled.data, 4.0 - 0.1, rtol=1e-7)
    np.testing.assert_allclose(decoupled.data, 4.0 * (1 - 0.1 * 0.5), rtol=1e-15)


def test_centred_rmsprop_survives_a_constant_gradient():
    p = parameter(50)
    optimizer, gradient = optim.RMSprop([p], lr=1e-9, alpha=0.5, centered=True), mg.tensor(RNG.normal(size=50))
    for _ in range(60):
        p.grad = gradient
        optimizer.step()
    assert np.isfinite(p.data).all()


def test_a_closure_computes_the_loss_under_enable_grad():
    p = parameter(3)
    optimizer = optim.SGD([p], lr=0.1)

    def closure():
        optimizer.zero_grad()
        loss = (p * p).mean()
        loss.backward()
        return loss

    first = closure().item()
    with mg.no_grad():
        losses = [optimizer.step(closure).item() for _ in range(5)]
    assert losses[0] == first
    assert losses == sorted(losses, reverse=True)
    assert optimizer.step() is None


def test_zero_grad_takes_gradients_away_or_zeroes_them():
    p, q = parameter(3), parameter(2)
    optimizer = optim.SGD([p, q])
    give_gradients([p], RNG)
    optimizer.zero_grad(set_to_none=False)
    np.testing.assert_array_equal(p.grad, np.zeros(3))
    assert q.grad is None
    optimizer.zero_grad()
    assert p.grad is None


def test_a_converted_module_keeps_its_optimiser():
    layer = nn.Linear(3, 2).double()
    optimizer = optim.SGD(layer.parameters(), lr=0.5)
    layer.float()
    before = layer.weight.data.copy()
    layer(mg.tensor(RNG.normal(size=(4, 3)).astype("f"))).backward(RNG.normal(size=(4, 2)))
    optimizer.step()
    np.testing.assert_allclose(layer.weight.data, before - 0.5 * layer.weight.grad.data, rtol=1e-6)


ONE = nn.Parameter([1.0])
WRONG = [
    (lambda: optim.SGD([]), ValueError, "SGD: got no parameters"),
    (lambda: optim.SGD(ONE), TypeError, "SGD: need a list of tensors or of groups, got one Parameter"),
    (lambda: optim.SGD({"params": [ONE]}), TypeError, "SGD: need a list .* got one dict"),
    (lambda: optim.Adam([np.ones(3)]), TypeError, "Adam: need tensors, got ndarray"),
    (lambda: optim.Adam([{"lr": 0.1}]), TypeError, "Adam: need a group as a dict with 'params'"),
    (lambda: optim.Adam([ONE, ONE]), ValueError, r"Adam: a parameter of shape \(1,\) comes twice"),
    (lambda: optim.Adam([{"params": [ONE]}, {"params": [ONE]}]), ValueError, "comes twice"),
    (lambda: optim.SGD([ONE * 2]), ValueError, "SGD: can optimise leaf tensors only"),
    (lambda: optim.SGD([ONE], lr=-0.1), ValueError, "SGD: need lr >= 0, got -0.1"),
    (lambda: optim.SGD([ONE], lr=math.nan), ValueError, "SGD: need lr >= 0, got nan"),
    (lambda: optim.SGD([{"params": [ONE], "lr": -1.0}]), ValueError, "SGD: need lr >= 0, got -1"),
    (lambda: optim.SGD([ONE], momentum=-1), ValueError, "SGD: need momentum >= 0"),
    (lambda: optim.SGD([ONE], nesterov=True), ValueError, "nesterov needs momentum > 0 and no dampening"),
    (lambda: optim.RMSprop([ONE], alpha=-1.0), ValueError, "RMSprop: need alpha >= 0"),
    (lambda: optim.AdamW([ONE], betas=(0.9, 1.0)), ValueError, r"AdamW: need two betas in \[0, 1\)"),
    (lambda: optim.AdamW([ONE], eps=-1e-8), ValueError, "AdamW: need eps >= 0"),
]


@pytest.mark.parametrize(("use", "error", "message"), WRONG)
def test_wrong_arguments_are_named(use, error, message):
    with pytest.raises(error, match=message):
        use()


@given(
    norm_type=st.sampled_from([1.0, 2, 3.5, math.inf]),
    max_norm=st.floats(0.1, 20.0),
    dtype=st.sampled_from([np.float32, np.float64]),
    seed=st.integers(0, 99),
)
def test_clipping_scales_all_gradients_together_to_the_norm(norm_type, max_norm, dtype, seed):
    parameters = [nn.Parameter(np.zeros(shape, dtype)) for shape in [(2, 3), (), (4,)]]
    give_gradients(parameters, np.random.default_rng(seed))
    before = np.concatenate([p.grad.data.ravel() for p in parameters])
    norm = optim.clip_grad_norm_([*parameters, parameter(2)], max_norm, norm_type)
    after = np.concatenate([p.grad.data.ravel() for p in parameters])
    expected = np.linalg.norm(before, norm_type)
    assert norm.dtype == dtype
    np.testing.assert_allclose(norm, expected, rtol=1e-6)
    np.testing.assert_allclose(after, before * min(1.0, max_norm / expected), rtol=1e-5)
    assert np.linalg.norm(after, norm_type) <= max_norm * (1 + 1e-6)


@pytest.mark.parametrize("clip", [optim.clip_grad_norm_, optim.clip_grad_value_])
@pytest.mark.parametrize(
    ("bound", "error", "need"),
    [(-1.0, ValueError, ">= 0"), (math.nan, ValueError, ">= 0"), ("1", TypeError, "a number")],
)
def test_clipping_needs_a_bound(clip, bound, error, need):
    with pytest.raises(error, match=f"{clip.__name__}: need .*{need}"):
        clip([parameter(2)], bound)


def test_clipping_by_value_and_by_the_norm_of_one_tensor():
    p = parameter(4)
    p.grad = mg.tensor([-3.0, 0.5, 2.0, -0.1]).double()
    optim.clip_grad_value_([p, parameter(2)], 1.0)
    assert p.grad.tolist() == [-1.0, 0.5, 1.0, pytest.approx(-0.1)]
    assert optim.clip_grad_norm_(p, 1e9, math.inf).item() == 1.0
    assert optim.clip_grad_norm_([parameter(2)], 1.0).item() == 0.0


def test_a_norm_that_is_not_finite_raises_or_shows():
    p = parameter(2)
    p.grad = mg.tensor(np.array([1.0, math.nan]))
    with pytest.raises(ValueError, match="the norm of the gradients is nan"):
        optim.clip_grad_norm_([p], 1.0, error_if_nonfinite=True)
    assert p.grad[0].item() == 1.0
    assert math.isnan(optim.clip_grad_norm_([p], 1.0).item())
    assert np.isnan(p.grad.data).all()
    p.grad = mg.tensor([1.0, math.nan], dtype=np.float64)
    assert math.isnan(optim.clip_grad_norm_([p], 1.0, math.inf).item())
    with pytest.raises(ValueError, match="need norm_type > 0"):
        optim.clip_grad_norm_([p], 1.0, 0)


def test_large_float32_gradients_do_not_overflow_in_the_norm():
    p = nn.Parameter(np.zeros(3, np.float32))
    p.grad = mg.tensor(np.full(3, 1e25, np.float32))
    optim.clip_grad_norm_([p], 3.0)
    np.testing.assert_allclose(p.grad, np.full(3, math.sqrt(3.0)), rtol=1e-6)
