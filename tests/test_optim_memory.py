"""Optimisers on arrays of any layout: views, read-only and shared memory, mixed dtypes, states that were changed."""

import copy

import numpy as np
import pytest

import minigrad as mg
from minigrad import nn, optim
from minigrad.kernels.threads import Launcher
from minigrad.optim import launch

MAKERS = {
    "sgd": lambda ps: optim.SGD(ps, lr=0.1, momentum=0.9, nesterov=True, weight_decay=0.1),
    "plain": lambda ps: optim.SGD(ps, lr=0.1),
    "rmsprop": lambda ps: optim.RMSprop(ps, momentum=0.9, centered=True, weight_decay=0.1),
    "adam": lambda ps: optim.Adam(ps, lr=0.1, amsgrad=True, weight_decay=0.1),
    "adamw": lambda ps: optim.AdamW(ps, lr=0.1, maximize=True),
}
each_optimizer = pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
each_dtype = pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=lambda dtype: dtype.__name__)

LAYOUTS = {
    "Fortran": lambda a: np.asfortranarray(a),
    "every other": lambda a: np.repeat(a, 2, axis=1)[:, ::2],
    "reversed": lambda a: a[::-1].copy()[::-1],
    "within": lambda a: np.pad(a, 2)[2:-2, 2:-2],
    "misaligned": lambda a: np.frombuffer(bytearray(b"x" + a.tobytes()), a.dtype, offset=1).reshape(a.shape),
}


def shared(array):
    return mg.as_tensor(array).requires_grad_()


def follow(optimizer, p, steps=3, layout=np.array):
    rng = np.random.default_rng(4)
    for _ in range(steps):
        p.grad = mg.as_tensor(layout(np.asarray(rng.standard_normal(p.shape), p.dtype)))
        optimizer.step()


@each_optimizer
@each_dtype
@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
def test_a_layout_changes_nothing_but_speed(make, dtype, layout):
    values = np.random.default_rng(1).standard_normal((5, 6)).astype(dtype)
    array = layout(values)
    plain, p = shared(values.copy()), shared(array)
    ours, theirs = make([plain]), make([p])
    follow(ours, plain)
    follow(theirs, p, layout=layout)
    np.testing.assert_array_equal(array, plain.data)
    assert np.shares_memory(p._array, array)
    for name, state in theirs.state[p].items():
        np.testing.assert_array_equal(state, ours.state[plain][name])


@each_optimizer
def test_a_view_steps_and_what_lies_beside_it_stays(make):
    memory = np.full((9, 12), 7.0)
    p = shared(memory[2:-2, 3:-3:2])
    follow(make([p]), p)
    assert not (p.data == 7).any()
    memory[2:-2, 3:-3:2] = 7
    assert (memory == 7).all()


@each_optimizer
def test_a_read_only_parameter_is_an_error_before_anything_changes(make):
    fixed = np.ones(3)
    fixed.flags.writeable = False
    p = shared(fixed)
    optimizer = make([p])
    p.grad = mg.tensor(np.ones(3))
    with pytest.raises(ValueError, match=r"output array is read-only: that of a parameter of shape \(3,\)"):
        optimizer.step()
    assert p.data.tolist() == [1, 1, 1]
    assert not optimizer.state_dict()["state"]


@each_optimizer
def test_a_parameter_of_integers_is_an_error(make):
    p = mg.tensor([1, 2])
    p.grad = mg.tensor([1, 2])
    with pytest.raises(TypeError, match="need parameters of float32 or float64, got int64"):
        make([p]).step()


@each_optimizer
def test_a_gradient_may_be_read_only_broadcast_or_overlap_its_parameter(make):
    for gradient in (
        lambda memory: np.broadcast_to(np.array(0.5), (4,)),
        lambda memory: memory[2:6],
        lambda memory: memory[1:5],
        lambda memory: memory[3:7],
        lambda memory: memory[1:5][::-1],
    ):
        results = []
        for is_apart in (False, True):
            memory = np.linspace(-1, 1, 8)
            p = shared(memory[2:6])
            values = gradient(memory)
            p.grad = mg.as_tensor(values.copy() if is_apart else values)
            make([p]).step()
            results.append(p.data.copy())
        np.testing.assert_array_equal(*results)


@each_optimizer
def test_parameters_that_share_memory_step_one_after_the_other(make):
    memory = np.arange(1.0, 6.0)
    a, b = shared(memory[:4]), shared(memory[1:])
    optimizer = make([a, b])
    version = a._storage.version
    give = {p: mg.tensor(np.array([0.5, -1.0, 2.0, 0.25])) for p in (a, b)}
    for p, gradient in give.items():
        p.grad = gradient
    optimizer.step()
    assert a._storage is b._storage
    assert a._storage.version == version + 2
    expected = np.arange(1.0, 6.0)
    for part in (slice(0, 4), slice(1, 5)):
        alone = shared(expected[part].copy())
        alone.grad = give[a]
        make([alone]).step()
        expected[part] = alone.data
    np.testing.assert_array_equal(memory, expected)


@each_optimizer
def test_dtypes_may_be_mixed_in_a_group_and_parameters_may_be_empty(make):
    values = [np.ones((2, 3), np.float32), np.ones(4), np.ones((0, 3), np.float32), np.ones((), np.float32), np.ones(0)]
    together = [nn.Parameter(value) for value in values]
    optimizer = make(together)
    alone = [nn.Parameter(value) for value in values]
    others = [make([p]) for p in alone]
    for step in range(3):
        for ps in (together, alone):
            rng = np.random.default_rng(step)
            for p in ps:
                p.grad = mg.tensor(np.asarray(rng.standard_normal(p.shape), p.dtype))
        optimizer.step()
        for other in others:
            other.step()
    for p, q in zip(together, alone, strict=True):
        assert p.dtype == q.dtype
        np.testing.assert_array_equal(p.data, q.data)
        states = [array for name, array in optimizer.state[p].items() if name != "step"]
        assert all(array.dtype == p.dtype for array in states)


@each_optimizer
def test_a_state_follows_a_module_to_another_dtype(make):
    layer = nn.Linear(3, 2).double()
    optimizer = make(layer.parameters())
    follow(optimizer, layer.weight)
    layer.float()
    follow(optimizer, layer.weight)
    assert layer.weight.dtype == np.float32
    assert np.isfinite(layer.weight.data).all()
    for name, array in optimizer.state[layer.weight].items():
        assert name == "step" or array.dtype == np.float32


@each_optimizer
def test_steps_have_the_same_bits_at_any_number_of_threads(make, monkeypatch):
    results = []
    for count in (1, 2, 3, 7):
        monkeypatch.setattr(launch, "parts", lambda n, work, count=count: max(1, min(count, n)))
        p = nn.Parameter(np.random.default_rng(0).standard_normal((37, 29)).astype(np.float32))
        follow(make([p]), p)
        results.append(p.data)
    for other in results[1:]:
        np.testing.assert_array_equal(other, results[0])


@pytest.mark.parametrize("name", ["exp_avg", "exp_avg_sq"])
def test_a_state_of_another_shape_never_reaches_the_kernel(name):
    p = nn.Parameter(np.ones(5))
    optimizer = optim.Adam([p])
    follow(optimizer, p)
    optimizer.state[p][name] = np.zeros(3)
    with pytest.raises(ValueError, match=rf"need {name} of shape \(5,\), got \(3,\)"):
        follow(optimizer, p)


def test_settings_that_a_schedule_writes_count_at_once():
    p, q = nn.Parameter(np.ones(5)), nn.Parameter(np.ones(5))
    ours, plain = optim.Adam([p], lr=0.1), optim.Adam([q], lr=0.1)
    for lr in (0.1, np.float32(0.5), 0.0, 0.25):
        ours.param_groups[0]["lr"] = lr
        plain.param_groups[0]["lr"] = 0.1
        before, other = p.data.copy(), q.data.copy()
        p.grad = q.grad = mg.tensor(np.linspace(-1, 1, 5) * 3)
        ours.step()
        plain.step()
        np.testing.assert_allclose(p.data - before, (q.data - other) * (float(lr) / 0.1), rtol=1e-9, atol=1e-12)


def test_zero_grad_writes_zeros_in_place_but_not_into_a_gradient_with_history():
    p = nn.Parameter(np.ones(3))
    optimizer = optim.SGD([p])
    p.grad = mg.tensor(np.arange(3.0))
    gradient, memory, version = p.grad, p.grad._array, p.grad._storage.version
    optimizer.zero_grad(set_to_none=False)
    assert p.grad is gradient
    assert p.grad._array is memory
    assert not memory.any()
    assert gradient._storage.version > version
    (p * p * p).backward(np.ones(3), create_graph=True)
    optimizer.zero_grad(set_to_none=False)
    (p * p * p).backward(np.ones(3), create_graph=True)
    recorded = p.grad
    assert recorded.requires_grad
    optimizer.zero_grad(set_to_none=False)
    assert p.grad.tolist() == [0, 0, 0]
    assert not p.grad.requires_grad
    assert recorded.tolist() == [3, 3, 3]


@each_optimizer
def test_all_parameters_of_a_group_step_by_one_launch(make, monkeypatch):
    launched, call = [], Launcher.__call__
    monkeypatch.setattr(Launcher, "__call__", lambda self, *args: (launched.append(self), call(self, *args))[1])
    ps = [nn.Parameter(np.ones(shape)) for shape in [(3, 2), (4,), (), (0, 2)]]
    optimizer = make(ps)
    for step in range(1, 4):
        for p in ps:
            p.grad = mg.tensor(np.full(p.shape, 0.5))
        optimizer.step()
        assert len(launched) == step


@each_optimizer
def test_parameters_step_by_their_own_count_however_often_they_had_gradients(make):
    together, alone = ([nn.Parameter(np.linspace(1, 2, n)) for n in (3, 4, 5)] for _ in range(2))
    ours, others = make(together), [make([p]) for p in alone]
    for step in range(6):
        for k in range(3):
            together[k].grad = alone[k].grad = None
            if step % (k + 1) == 0:
                together[k].grad = alone[k].grad = mg.tensor(np.linspace(-1, step, k + 3))
                others[k].step()
        ours.step()
    for p, q, other in zip(together, alone, others, strict=True):
        np.testing.assert_array_equal(p.data, q.data)
        assert ours.state[p].keys() == other.state[q].keys()
        assert ours.state[p].get("step") == other.state[q].get("step")


@each_optimizer
def test_a_copy_of_a_model_and_its_optimiser_steps_in_its_own_memory(make):
    ps = [nn.Parameter(np.ones(3)), nn.Parameter(np.ones((2, 2)))]
    optimizer = make(ps)
    for _ in range(2):
        for p in ps:
            p.grad = mg.tensor(np.full(p.shape, 0.5))
        optimizer.step()
    before = [p.data.copy() for p in ps]
    copied, copies = copy.deepcopy((optimizer, ps))
    del optimizer
    copied.step()
    for p, q, old in zip(ps, copies, before, strict=True):
        np.testing.assert_array_equal(p.data, old)
        assert (q.data != old).all()


class Halved(optim.Adam):
    """Adam by half of each gradient."""

    def update(self, p, g, state, group):
        super().update(p, 0.5 * g, state, group)


@pytest.mark.parametrize("maximize", [False, True])
def test_a_subclass_may_change_what_a_parameter_steps_by(maximize):
    ps, qs = ([nn.Parameter(np.linspace(1, 2, n)) for n in (3, 4)] for _ in range(2))
    halved, plain = Halved(ps, maximize=maximize), optim.Adam(qs, maximize=maximize)
    for step in range(3):
        for p, q in zip(ps, qs, strict=True):
            p.grad = mg.tensor(np.linspace(-1, step, p.size()[0]))
            q.grad = 0.5 * p.grad
        halved.step()
        plain.step()
    for p, q in zip(ps, qs, strict=True):
        np.testing.assert_array_equal(p.data, q.data)


class Signed(optim.Optimizer):
    """An optimiser of somebody's own: by the sign of the gradient, which it counts."""

    def __init__(self, params):
        super().__init__(params, {"lr": 0.5})

    def update(self, p, g, state, group):
        state["step"] = state.get("step", 0) + 1
        p -= group["lr"] * np.sign(g)


def test_an_optimiser_of_ones_own_defines_an_update_of_one_parameter():
    used, unused = nn.Parameter(np.ones(3)), nn.Parameter(np.ones(2))
    optimizer = Signed([used, unused])
    used.grad = mg.tensor(np.array([3.0, 0.0, -2.0]))
    version = used._storage.version
    optimizer.step()
    assert used.data.tolist() == [0.5, 1.0, 1.5]
    assert used._storage.version == version + 1
    assert optimizer.state_dict()["state"].keys() == {0}


@each_optimizer
def test_a_gradient_of_another_shape_never_reaches_the_kernel(make):
    p = nn.Parameter(np.ones((2, 3)))
    with pytest.raises(ValueError, match=r"need gradients of shapes \[\(2, 3\)\], got \[\(3,\)\]"):
        make([p]).update(p._array, np.ones(3), {}, make([p]).param_groups[0])
