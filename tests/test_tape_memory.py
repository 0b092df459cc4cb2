"""What the tape keeps alive, when it lets go, and that nothing it saved may change meanwhile."""

import contextlib
import gc
import weakref

import numpy as np
import pytest

import minigrad as mg

RNG = np.random.default_rng(2)


def leaf(*shape):
    return mg.tensor(RNG.uniform(0.5, 2.0, shape), requires_grad=True)


def weights(*shape):
    return RNG.normal(size=shape)


@contextlib.contextmanager
def counting_references_only():
    """No cyclic collector: what dies in here was in no cycle."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def test_an_intermediate_array_lives_until_backward_has_passed_it():
    x = leaf(1000)
    h = x.exp()
    array = weakref.ref(h._array)
    y = h * 2
    del h
    assert array() is not None  # saved by exp
    y.backward(weights(1000))
    assert array() is None


def test_arrays_are_freed_while_backward_passes_and_not_after_it():
    alive = []

    @mg.op(name="looks_back")
    def look(x):
        return x.copy(), ()

    @look.vjp
    def look_vjp(dy):
        alive.append(array() is not None)
        return dy

    x = leaf(10)
    h = look(x).exp()
    array = weakref.ref(h._array)
    y = h * 2
    del h
    y.backward(weights(10))
    assert alive == [False]


def test_nothing_is_saved_that_no_rule_needs():
    x = leaf(10)
    h = x * 2
    array = weakref.ref(h._array)
    y = h + 1
    del h
    assert array() is None
    y.backward(weights(10))


def test_saved_arrays_stay_with_retain_graph():
    x = leaf(10)
    h = x.exp()
    array = weakref.ref(h._array)
    y = h * 2
    del h
    y.backward(weights(10), retain_graph=True)
    assert array() is not None
    del y
    assert array() is None


def test_nothing_is_recorded_for_tensors_that_need_no_gradient():
    x = mg.tensor([1.0, 2.0])
    h = x.exp()
    array = weakref.ref(h._array)
    y = h * 2
    del h
    assert array() is None
    assert y._node is None


def plain(x):
    return (x * x).exp()


def after_backward(x):
    y = plain(x)
    y.backward(weights(*y.shape), retain_graph=True)
    return y


def after_create_graph(x):
    y = plain(x)
    (g,) = mg.grad(y, x, weights(*y.shape), create_graph=True)
    return g * y


def after_backward_with_create_graph(x):
    y = plain(x)
    y.backward(weights(*y.shape), create_graph=True)
    g, x.grad = x.grad, None  # a leaf that holds its own history is the one cycle there can be
    return g


def with_hooks(x):
    h = x * x
    h.register_hook(lambda g: g * 2)
    y = h.exp()
    y.register_hook(lambda g: None)
    y.backward(weights(*y.shape), retain_graph=True)
    return y


def with_retained_grads(x):
    h = x * x
    h.retain_grad()
    y = h.exp() + h
    y.retain_grad()
    y.backward(weights(*y.shape), create_graph=True)
    x.grad = None
    return y


def with_views(x):
    return x.reshape(1, -1)[0, 1:].detach().requires_grad_() * x[1:]


@pytest.mark.parametrize(
    "build",
    [
        plain, after_backward, after_create_graph, after_backward_with_create_graph, with_hooks,
        with_retained_grads, with_views,
    ],
)  # fmt: skip
def test_a_graph_goes_with_its_last_name(build):
    with counting_references_only():
        x = leaf(4)
        y = build(x)
        deaths = [weakref.ref(o) for o in (x, x._array, y, y._node, y._array, y._storage)]
        parents = [edge.target for edge in y._node.edges if edge is not None and edge.target is not None]
        deaths += [weakref.ref(parent) for parent in parents]
        del parents, x
        assert all(dead() is not None for dead in deaths[1:])
        del y
        assert [dead() for dead in deaths] == [None] * len(deaths)


def test_a_leaf_dies_with_its_graph_after_grad():
    with counting_references_only():
        x = leaf(4)
        (g,) = mg.grad(plain(x), x, weights(4))
        death = weakref.ref(x)
        del x
        assert death() is None
        assert g.shape == (4,)


def through_the_leaf(x):
    with mg.no_grad():
        x.zero_()


def through_a_detached_tensor(x):
    x.detach().fill_(3.0)


def through_a_view(x):
    with mg.no_grad():
        x[1:].fill_(3.0)


def through_a_view_of_a_view(x):
    x.detach().reshape(1, -1)[0, :2][0:1].zero_()


def through_an_index(x):
    with mg.no_grad():
        x[0] = 9.0


def through_addition(x):
    with mg.no_grad():
        x.add_(1.0)


CHANGES = [
    through_the_leaf, through_a_detached_tensor, through_a_view, through_a_view_of_a_view, through_an_index,
    through_addition,
]  # fmt: skip


@pytest.mark.parametrize("change", CHANGES)
def test_backward_refuses_when_a_saved_input_was_changed(change):
    x = leaf(3)
    y = x * x
    change(x)
    with pytest.raises(RuntimeError, match=r"multiply: its input, saved for backward, was changed in place"):
        y.backward(weights(3))


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_of_what_was_not_saved_is_fine(change):
    x, dy = leaf(3), weights(3)
    y = x + x
    change(x)
    y.backward(dy)
    np.testing.assert_array_equal(x.grad, 2 * dy)


def test_backward_refuses_when_a_saved_output_was_changed():
    x = leaf(3)
    y = x.exp()
    y.detach().mul_(2)
    with pytest.raises(RuntimeError, match="exp: its output, saved for backward, was changed in place"):
        y.backward(weights(3))


def test_create_graph_refuses_too():
    x = leaf(3)
    y = x.sin()
    through_the_leaf(x)
    with pytest.raises(RuntimeError, match="sin: its input"):
        mg.grad(y, x, weights(3), create_graph=True)


def test_a_constant_operand_is_watched_like_a_leaf():
    x, c = leaf(3), mg.tensor(weights(3))
    y = x * c
    c.zero_()
    with pytest.raises(RuntimeError, match="multiply: its input"):
        y.backward(weights(3))


def test_tensors_over_one_array_share_a_version():
    array = weights(3)
    x, c = leaf(3), mg.as_tensor(array)
    y = x * c
    mg.as_tensor(array[1:])[0] = 5.0
    with pytest.raises(RuntimeError, match="multiply: its input"):
        y.backward(weights(3))


def test_views_of_memory_from_another_library_share_a_version():
    c = mg.from_dlpack(weights(3).copy())
    x = leaf(3)
    y = x * c
    c.reshape(3, 1)[0] = 5.0
    with pytest.raises(RuntimeError, match="multiply: its input"):
        y.backward(weights(3))


def test_a_marked_constant_is_watched_when_it_is_an_input():
    @mg.op(name="scaled_by_itself")
    def scaled(x):
        return x * x, (mg.constant(x),)

    @scaled.vjp
    def scaled_vjp(dy, x):
        return dy * x * 2

    x = leaf(3)
    y = scaled(x)
    through_the_leaf(x)
    with pytest.raises(RuntimeError, match="scaled_by_itself: its input"):
        y.backward(weights(3))


def test_a_change_before_use_and_after_backward_is_fine():
    x, dy = leaf(3), weights(3)
    through_addition(x)
    before = x.data.copy()
    (x * x).backward(dy)
    through_addition(x)
    np.testing.assert_allclose(x.grad, 2 * before * dy, rtol=1e-14)


def test_an_index_that_changes_after_use_does_not_change_the_gradient():
    x, index, dy = leaf(4), np.array([0, 0, 2]), weights(3)
    y = x[index]
    index[:] = 3
    y.backward(dy)
    np.testing.assert_allclose(x.grad, [dy[0] + dy[1], 0, dy[2], 0], rtol=1e-15)


def test_picks_along_a_dimension_watch_their_indices():
    x = leaf(2, 3)
    values, indices = x.max(1)
    indices.zero_()
    with pytest.raises(RuntimeError, match="take_along: its input"):
        values.backward(weights(2))
