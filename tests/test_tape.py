"""The walk back through the tape: sums over paths, freeing, higher orders, what is computed and what is not."""

import threading
import weakref

import numpy as np
import pytest

import minigrad as mg

RNG = np.random.default_rng(1)


def leaf(*shape, low=0.5, high=2.0):
    return mg.tensor(RNG.uniform(low, high, shape), requires_grad=True)


def weights(*shape):
    return RNG.normal(size=shape)


def test_gradients_of_all_uses_of_a_leaf_add_up():
    x, dy = leaf(3), weights(3)
    (x * 2 + x.exp() - x * x).backward(dy)
    np.testing.assert_allclose(x.grad, dy * (2 + np.exp(x.data) - 2 * x.data), rtol=1e-14)


def test_an_intermediate_is_walked_once_with_the_sum_of_its_gradients():
    calls = []

    @mg.op(name="counted_double")
    def double(x):
        return x * 2, ()

    @double.vjp
    def double_vjp(dy):
        calls.append(dy)
        return dy * 2

    x, dy = leaf(3), weights(3)
    h = double(x)
    (h * 3 + h.sin() * h).backward(dy)
    expected = dy * (3 + np.sin(h.data) + h.data * np.cos(h.data))
    assert len(calls) == 1
    np.testing.assert_allclose(calls[0], expected, rtol=1e-14)
    np.testing.assert_allclose(x.grad, 2 * expected, rtol=1e-14)


def test_a_ladder_of_diamonds_is_walked_once_per_node_and_not_once_per_path():
    x = leaf(2)
    y, dy = x, weights(2)
    for _ in range(200):  # 2^200 paths
        y = (y + y) * 0.5
    y.backward(dy)
    np.testing.assert_allclose(x.grad, dy, rtol=1e-12)


def test_paths_of_different_length_meet_before_the_walk_goes_on():
    x, dy = leaf(3), weights(3)
    short = x * x
    long = short
    for _ in range(5):
        long = long * 1.5
    (short + long).backward(dy)
    np.testing.assert_allclose(x.grad, dy * 2 * x.data * (1 + 1.5**5), rtol=1e-14)


def test_a_scalar_that_is_used_twice_reaches_its_rule_as_an_array():
    seen = []

    @mg.op(name="looks_at_dy")
    def identity(x):
        return x.copy(), ()

    @identity.vjp
    def identity_vjp(dy):
        seen.append(type(dy))
        return dy

    x = leaf()
    y = identity(x)
    (y * 2 + y * 3).backward()
    assert seen == [np.ndarray]
    assert x.grad.item() == 5


def chain(x, length=100_000):
    y = x
    for _ in range(length):
        y = y * 1.00001
    return y


def test_a_chain_of_100_000_ops_runs_forward_back_and_away_on_a_small_stack():
    failures = []

    def run():
        try:
            x = leaf(1)
            y = chain(x)
            y.backward(np.array([3.0]))
            np.testing.assert_allclose(x.grad, 3 * 1.00001**100_000, rtol=1e-9)
            last = weakref.ref(y._node)
            del y
            assert last() is None
        except BaseException as error:  # a thread reports nothing by itself
            failures.append(error)

    old = threading.stack_size(1 << 19)
    try:
        thread = threading.Thread(target=run)
        thread.start()
        thread.join()
    finally:
        threading.stack_size(old)
    assert not failures


def test_a_long_chain_that_nobody_walks_can_be_deleted():
    x = leaf(1)
    y = chain(x)
    first, last = y, weakref.ref(y._node)
    del y, first
    assert last() is None


def test_grad_of_a_long_chain_by_its_middle():
    x = leaf(1)
    middle = chain(x, 5_000)
    end = chain(middle, 5_000)
    (g,) = mg.grad(end, middle, np.array([2.0]))
    np.testing.assert_allclose(g, 2 * 1.00001**5_000, rtol=1e-9)


def test_a_second_backward_says_what_to_do():
    x = leaf(3)
    y = (x * x).exp()
    y.backward(weights(3))
    with pytest.raises(RuntimeError, match=r"exp: .*freed.*retain_graph=True"):
        y.backward(weights(3))


def test_a_graph_with_nothing_saved_is_walked_once_too():
    x = leaf(3)
    y = x + x
    y.backward(weights(3))
    with pytest.raises(RuntimeError, match=r"add: .*retain_graph=True"):
        y.backward(weights(3))


def test_retain_graph_allows_another_backward_which_accumulates():
    x, a, b = leaf(3), weights(3), weights(3)
    y = x.exp()
    y.backward(a, retain_graph=True)
    y.backward(b)
    np.testing.assert_allclose(x.grad, (a + b) * np.exp(x.data), rtol=1e-14)


def test_create_graph_retains_the_graph_unless_told_otherwise():
    x = leaf(3)
    y = x**3
    (g,) = mg.grad(y, x, weights(3), create_graph=True)
    mg.grad(g, x, weights(3))
    (g,) = mg.grad(x.exp(), x, weights(3), create_graph=True, retain_graph=False)
    with pytest.raises(RuntimeError, match="retain_graph"):
        mg.grad(g, x, weights(3))


CLOSED_FORMS = {
    "x^4": (lambda x: x**4, [lambda x: 4 * x**3, lambda x: 12 * x**2, lambda x: 24 * x]),
    "x x x": (lambda x: x * x * x, [lambda x: 3 * x**2, lambda x: 6 * x, lambda x: 6 + 0 * x]),
    "sin": (lambda x: x.sin(), [np.cos, lambda x: -np.sin(x), lambda x: -np.cos(x)]),
    "exp(2x)": (lambda x: (2 * x).exp(), [lambda x, k=k: 2**k * np.exp(2 * x) for k in (1, 2, 3)]),
    "1/x": (lambda x: 1 / x, [lambda x: -(x**-2), lambda x: 2 * x**-3, lambda x: -6 * x**-4]),
    "log": (lambda x: x.log(), [lambda x: 1 / x, lambda x: -(x**-2), lambda x: 2 * x**-3]),
    "sqrt": (lambda x: x.sqrt(), [lambda x: x**-0.5 / 2, lambda x: -(x**-1.5) / 4, lambda x: 3 * x**-2.5 / 8]),
}


@pytest.mark.parametrize("name", CLOSED_FORMS)
def test_derivatives_to_third_order_equal_the_closed_forms(name):
    function, derivatives = CLOSED_FORMS[name]
    x = leaf(4)
    y, scale = function(x), np.ones(4)
    for derivative in derivatives:
        dy = weights(4)
        (y,) = mg.grad(y, x, dy, create_graph=True)
        scale = scale * dy
        np.testing.assert_allclose(y.detach().numpy(), scale * derivative(x.data), rtol=1e-11, atol=1e-13)


@pytest.mark.parity
def test_third_order_agrees_with_torch():
    torch = pytest.importorskip("torch")
    a, b, dys = RNG.uniform(0.5, 1.5, (3, 4)), RNG.uniform(0.5, 1.5, (4,)), [RNG.normal(size=(3, 4)) for _ in range(3)]

    def third(tensor, grad, function):
        x, w = tensor(a), tensor(b)
        y = function(x, w)
        for dy in dys:
            (y,) = grad(y, x, dy)
        return y

    def function(x, w):
        h = (x * w).tanh() / (x + w)
        return h.exp() * (x * x).sqrt() + (h * x).sigmoid()

    ours = third(
        lambda a: mg.tensor(a, requires_grad=True), lambda y, x, dy: mg.grad(y, x, dy, create_graph=True), function
    )
    theirs = third(
        lambda a: torch.tensor(a, requires_grad=True),
        lambda y, x, dy: torch.autograd.grad(y, x, torch.tensor(dy), create_graph=True),
        function,
    )
    np.testing.assert_allclose(ours.detach().numpy(), theirs.detach().numpy(), rtol=1e-10)


def test_backward_with_create_graph_gives_gradients_that_can_be_differentiated():
    x, dy = leaf(3), weights(3)
    (x**3).backward(dy, create_graph=True)
    first = x.grad
    x.grad = None
    u = weights(3)
    first.backward(u)
    np.testing.assert_allclose(x.grad, u * dy * 6 * x.data, rtol=1e-13)


def test_gradients_can_be_differentiated_by_the_cotangent():
    x, dy = leaf(3), leaf(3)
    (g,) = mg.grad(x.exp(), x, dy, create_graph=True)
    u = weights(3)
    (by_dy,) = mg.grad(g, dy, u)
    np.testing.assert_allclose(by_dy, u * np.exp(x.data), rtol=1e-14)


@pytest.mark.parametrize("create_graph", [False, True])
def test_grads_own_their_memory(create_graph):
    x, z, dy = leaf(3), leaf(3), weights(3)
    (x + z).backward(dy, create_graph=create_graph)  # the rule of add hands dy itself to both
    assert not np.shares_memory(x.grad.data, z.grad.data)
    assert not np.shares_memory(x.grad.data, dy)
    x.grad.detach().zero_()
    np.testing.assert_array_equal(z.grad.detach(), dy)


def test_the_grad_of_a_broadcast_is_a_whole_writable_array():
    x = leaf(4, 3)
    x.sum().backward()
    assert x.grad._array.flags.carray
    np.testing.assert_array_equal(x.grad, np.ones((4, 3)))


def test_grads_accumulate_over_backwards_until_they_are_set_to_none():
    x, a, b = leaf(3), weights(3), weights(3)
    (x * 2).backward(a)
    held = x.grad
    (x * 3).backward(b)
    np.testing.assert_allclose(x.grad, 2 * a + 3 * b, rtol=1e-14)
    np.testing.assert_array_equal(held, 2 * a)
    x.grad = None
    (x * 3).backward(b)
    np.testing.assert_array_equal(x.grad, 3 * b)


def test_backward_of_a_leaf_adds_the_cotangent_to_its_grad():
    x, dy = leaf(3), weights(3)
    x.backward(dy)
    np.testing.assert_array_equal(x.grad, dy)


def test_a_cotangent_of_python_numbers_keeps_its_precision():
    x = leaf(2)
    x.backward([0.1, 0.2])
    np.testing.assert_array_equal(x.grad, [0.1, 0.2])


def test_a_grad_that_does_not_fit_is_refused():
    x = leaf(3)
    with pytest.raises(TypeError, match="need a tensor or None, got ndarray"):
        x.grad = np.zeros(3)
    with pytest.raises(ValueError, match=r"need \(3,\) float64, got \(2,\) float64"):
        x.grad = mg.tensor(np.zeros(2))


def test_a_failed_backward_adds_nothing():
    @mg.op(name="fails_behind")
    def fails(x):
        return x.copy(), ()

    x, z = leaf(3), leaf(3)
    with pytest.raises(RuntimeError, match="has no vjp"):
        (fails(x) + z).backward(weights(3))
    assert z.grad is None
