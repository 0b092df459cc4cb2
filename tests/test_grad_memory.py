"""The memory of `.grad`: a gradient that nobody else has is taken as it is, any other is copied."""

import numpy as np
import pytest

import minigrad as mg
from minigrad.memory import LEAST_POOLED

SIZES = pytest.mark.parametrize("size", [3, LEAST_POOLED])
kept = []


def ones(size):
    return mg.tensor(np.ones(size, np.float32), requires_grad=True)


def with_rule(name, rule):
    op = mg.op(lambda x: (x.copy(), (mg.constant(np.full(x.shape, 2, x.dtype)),)), name=name)
    op.vjp(rule)
    return op


def address(array):
    return array.__array_interface__["data"][0]


@SIZES
def test_a_fresh_gradient_is_taken_without_a_copy(size):
    made = []

    def rule(dy, two):
        dx = dy * two
        made.append(address(dx))
        return dx

    x = ones(size)
    with_rule("gives_fresh", rule)(x).backward(np.ones(size))
    assert [address(x.grad.data)] == made


def keeps_it(dy, two):
    kept.append(dy * two)
    return kept[-1]


def keeps_a_view(dy, two):
    dx = dy * two
    kept.append(dx[1:])
    return dx


def keeps_a_buffer(dy, two):
    dx = dy * two
    kept.append(memoryview(dx))
    return dx


def gives_what_was_saved(dy, two):
    return two


def gives_dy(dy, two):
    return dy


def gives_a_view(dy, two):
    kept.append(dy * two)
    return kept[-1][:]


def gives_a_broadcast(dy, two):
    return np.broadcast_to(np.float32(2), dy.shape)


def gives_read_only(dy, two):
    dx = dy * two
    dx.flags.writeable = False
    return dx


RULES = [
    keeps_it, keeps_a_view, keeps_a_buffer, gives_what_was_saved, gives_dy, gives_a_view, gives_a_broadcast,
    gives_read_only,
]  # fmt: skip


@SIZES
@pytest.mark.parametrize("rule", RULES)
def test_a_gradient_that_somebody_else_has_is_copied(rule, size):
    kept.clear()
    x, dy = ones(size), np.full(size, 2, np.float32)
    y = with_rule(rule.__name__, rule)(x)
    y.backward(dy, retain_graph=True)
    first = x.grad
    before = first.data.copy()
    with mg.no_grad():
        first.zero_()  # must reach nothing that another step uses
    x.grad = None
    y.backward(dy)
    np.testing.assert_array_equal(x.grad.data, before)
    np.testing.assert_array_equal(dy, np.full(size, 2))
    for other in kept:
        assert not np.shares_memory(np.asarray(other), first._array)
        assert np.asarray(other).all()


@SIZES
def test_leaves_that_get_one_array_share_no_memory(size):
    x, y, z = ones(size), ones(size), ones(size)
    ((x + y) + z).backward(np.ones(size))
    grads = [v.grad._array for v in (x, y, z)]
    for i, a in enumerate(grads):
        for b in grads[:i]:
            assert not np.shares_memory(a, b)
    with mg.no_grad():
        x.grad.zero_()
    assert y.grad.data.all()
    assert z.grad.data.all()


@SIZES
def test_a_gradient_that_a_hook_keeps_stays_as_it_was(size):
    seen = []
    x = ones(size)
    x.register_hook(lambda g: seen.append(g))
    (x * 3.0).backward(np.ones(size, np.float32))
    with mg.no_grad():
        x.grad.zero_()
    assert (seen[0].data == 3).all()


@SIZES
def test_a_retained_gradient_is_apart_from_those_behind_it(size):
    x = ones(size)
    h = x * 2.0
    h.retain_grad()
    (h + 0.0).backward(np.ones(size, np.float32))
    with mg.no_grad():
        h.grad.zero_()
    assert (x.grad.data == 2).all()


@SIZES
def test_the_cotangent_stays_the_callers(size):
    x, dy = ones(size), np.ones(size, np.float32)
    x.backward(dy)
    x.backward(mg.as_tensor(dy))
    with mg.no_grad():
        x.grad.zero_()
    assert dy.all()


def test_a_gradient_in_another_order_becomes_contiguous():
    x = mg.tensor(np.ones((3, 4)), requires_grad=True)
    with_rule("gives_columns", lambda dy, two: np.asfortranarray(dy * two))(x).backward(np.ones((3, 4)))
    assert x.grad._array.flags.carray
    assert (x.grad.data == 2).all()


def test_a_sum_leaves_the_gradient_before_it_alone():
    x = ones(5)
    (x * 2.0).backward(np.ones(5, np.float32))
    first = x.grad
    (x * 3.0).backward(np.ones(5, np.float32))
    assert (first.data == 2).all()
    assert (x.grad.data == 5).all()
