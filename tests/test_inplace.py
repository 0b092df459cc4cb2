"""Changes in place: what they change, and where they are refused because history would be wrong or lost."""

import operator

import numpy as np
import pytest

import minigrad as mg

RNG = np.random.default_rng(7)


def leaf(*shape):
    return mg.tensor(RNG.uniform(0.5, 2.0, shape), requires_grad=True)


def weights(*shape):
    return RNG.normal(size=shape)


UPDATES = {
    "add_": (lambda x, a: x.add_(a, alpha=2), lambda x, a: x + 2 * a),
    "sub_": (lambda x, a: x.sub_(a, alpha=2), lambda x, a: x - 2 * a),
    "mul_": (lambda x, a: x.mul_(a), lambda x, a: x * a),
    "div_": (lambda x, a: x.div_(a), lambda x, a: x / a),
    "copy_": (lambda x, a: x.copy_(a), lambda x, a: a + 0 * x),
    "fill_": (lambda x, a: x.fill_(3), lambda x, a: np.full_like(x, 3)),
    "zero_": (lambda x, a: x.zero_(), lambda x, a: np.zeros_like(x)),
}


@pytest.mark.parametrize("name", UPDATES)
@pytest.mark.parametrize("operand", [np.array([1.0, 2.0, 4.0]), np.float64(2.0), mg.tensor([1.0, 2.0, 4.0])])
def test_changes_in_place_change_the_memory_and_return_the_tensor(name, operand):
    change, expected = UPDATES[name]
    x = leaf(3)
    memory, before = x.detach(), x.data.copy()
    with mg.no_grad():
        assert change(x, operand) is x
    np.testing.assert_allclose(memory, expected(before, np.asarray(operand)), rtol=1e-15)


@pytest.mark.parametrize("name", [*UPDATES, "setitem"])
def test_changes_in_place_of_what_has_history_name_the_alternatives(name):
    change = UPDATES[name][0] if name in UPDATES else lambda x, a: operator.setitem(x, 0, a)
    x = leaf(3)
    h = x * 2
    for target, mode in ((x, mg.enable_grad()), (h, mg.enable_grad()), (h, mg.no_grad())):
        with mode, pytest.raises(RuntimeError, match=r"mg\.where or mg\.concatenate"):
            change(target, 1.0)


def test_writing_a_tensor_with_history_into_memory_would_lose_it():
    buffer, x = mg.tensor(np.zeros(3)), leaf(3)
    for lose in (
        lambda: operator.setitem(buffer, 0, x[0]),
        lambda: buffer.add_(x),
        lambda: buffer.copy_(x),
        lambda: buffer.mul_(x * 2),
    ):
        with pytest.raises(RuntimeError, match="would lose its history"):
            lose()
    np.testing.assert_array_equal(buffer, np.zeros(3))
    with mg.no_grad():
        buffer.copy_(x)
    np.testing.assert_array_equal(buffer, x.data)


def test_a_float_result_does_not_fit_integers_in_place():
    x = mg.tensor([1, 2])
    for change in (lambda: x.div_(2), lambda: x.add_(0.5), lambda: x.mul_(mg.tensor([0.5, 0.5]))):
        with pytest.raises(TypeError, match="float32 does not fit int64"):
            change()
    assert x.add_(1).tolist() == [2, 3]


def test_a_tensor_over_a_read_only_array_cannot_be_changed():
    array = weights(3)
    array.flags.writeable = False
    with pytest.raises(RuntimeError, match="read-only array"):
        mg.as_tensor(array).zero_()
    with pytest.raises(RuntimeError, match="read-only array"):
        mg.tensor([1.0]).expand(3).zero_()


@pytest.mark.parametrize("strides", [(4, 4), (0, 4), (4, 8), (-4, 4)])
def test_a_tensor_whose_values_lie_in_one_place_cannot_be_changed(strides):
    """Nor can an optimiser have it: what one value gets, another one would get again."""
    memory = np.ones(16, np.float32)[4:]
    overlapping = mg.as_tensor(np.lib.stride_tricks.as_strided(memory, (3, 4), strides))
    with pytest.raises(RuntimeError, match="several values of this tensor lie in one place"):
        overlapping.add_(1.0)
    with pytest.raises(ValueError, match="lie in one place"):
        mg.optim.SGD([overlapping.requires_grad_()], lr=0.1)


@pytest.mark.parametrize("view", [lambda a: a[::2, ::-1], lambda a: a.T, lambda a: a[1:2], lambda a: a[:, :0]])
def test_views_that_do_not_overlap_can_be_changed(view):
    array = np.ones((4, 6), np.float32)
    mg.as_tensor(view(array)).add_(1.0)
    assert array.sum() == array.size + view(array).size


def test_augmented_assignment_rebinds():
    x, dy = leaf(3), weights(3)
    y = x
    values = x.data.copy()
    y += 1
    y *= x
    y -= 2
    y /= 4
    assert y is not x
    np.testing.assert_array_equal(x.data, values)
    y.backward(dy)
    np.testing.assert_allclose(x.grad, dy * (2 * values + 1) / 4, rtol=1e-14)


def test_requires_grad_can_be_set_on_leaves_only():
    x = mg.tensor([1.0]).requires_grad_()
    y = x * 2
    with pytest.raises(RuntimeError, match="on leaves only"):
        y.requires_grad = False
    assert not x.requires_grad_(False).requires_grad
    assert x.is_leaf
    assert not y.is_leaf
