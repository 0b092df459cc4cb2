"""Second derivatives: what a rule gets back under create_graph. And pairs of kernels, which have first ones only."""

import numba
import numpy as np
import pytest

import minigrad as mg

RNG = np.random.default_rng(5)


def leaf(*shape):
    return mg.tensor(RNG.uniform(0.5, 2.0, shape), requires_grad=True)


def weights(*shape):
    return RNG.normal(size=shape)


def second(function, x):
    """d/dx <d/dx <function(x), u>, v> and its u, v."""
    y = function(x)
    u, v = weights(*y.shape), weights(*x.shape)
    (g,) = mg.grad(y, x, u, create_graph=True)
    return mg.grad(g, x, v)[0], u, v


def user_op(name, forward, rule, **options):
    op = mg.op(forward, name=name, **options)
    op.vjp(rule)
    return op


square = user_op("square", lambda x: (x * x, (x,)), lambda dy, x: dy * x * 2)


def test_a_tensor_and_its_detached_twin_are_told_apart():
    x = leaf(3)
    u, v = weights(3), weights(3)
    (g,) = mg.grad((x * x.detach()) * x, x, u, create_graph=True)  # x^2 c with c = x held fixed: 2 x c
    (gg,) = mg.grad(g, x, v)
    np.testing.assert_allclose(g.detach(), 2 * u * x.data**2, rtol=1e-14)
    np.testing.assert_allclose(gg, 2 * u * v * x.data, rtol=1e-14)


def test_two_leaves_over_one_array_are_told_apart():
    array = RNG.uniform(0.5, 2.0, 3)
    a, b = mg.as_tensor(array).requires_grad_(), mg.as_tensor(array).requires_grad_()
    u = weights(3)
    (g,) = mg.grad(a * a * b, a, u, create_graph=True)
    by_a, by_b = mg.grad(g, [a, b], np.ones(3))
    np.testing.assert_allclose(by_a, 2 * u * array, rtol=1e-14)
    np.testing.assert_allclose(by_b, 2 * u * array, rtol=1e-14)
    assert mg.grad(a * b, a, u)[0].tolist() == (u * array).tolist()


def test_saved_inputs_come_back_with_their_history():
    x = leaf(4)
    gg, u, v = second(lambda x: square(x.exp()), x)
    np.testing.assert_allclose(gg, 4 * u * v * np.exp(2 * x.data), rtol=1e-13)


@pytest.mark.parametrize("shape", [(4,), ()])
def test_a_saved_output_comes_back_as_the_output(shape):
    exponential = user_op("exponential", lambda x: ((y := np.exp(x)), (y,)), lambda dy, y: dy * y)
    x = leaf(*shape)
    gg, u, v = second(lambda x: exponential(x * 2), x)
    np.testing.assert_allclose(gg, 4 * u * v * np.exp(2 * x.data), rtol=1e-13)


def test_one_of_several_outputs_can_be_saved():
    @mg.op(name="sine_and_exponential")
    def both(x):
        y = np.exp(x)
        return (np.sin(x), y), (x, y)

    @both.vjp
    def both_vjp(dys, x, y):
        return (0.0 if dys[0] is None else dys[0] * mg.cos(x)) + (0.0 if dys[1] is None else dys[1] * y)

    x = leaf(3)
    mg.gradgradcheck(lambda x: both(x * x), x)
    gg, u, v = second(lambda x: both(x)[1], x)
    np.testing.assert_allclose(gg, u * v * np.exp(x.data), rtol=1e-13)


@pytest.mark.parametrize("shape", [(3,), ()])
def test_a_saved_intermediate_is_refused_under_create_graph_only(shape):
    def forward(x):
        s = 1 / (1 + np.exp(-x))  # of shape () NumPy gives a scalar here, not an array
        return x * s, (x, s)

    op = user_op("careless_silu", forward, lambda dy, x, s: dy * s * (x * (1 - s) + 1))
    x = leaf(*shape)
    op(x).backward(weights(*shape))
    with pytest.raises(RuntimeError, match=r"careless_silu: saved a floating array .* mg\.constant"):
        mg.grad(op(x), x, weights(*shape), create_graph=True)


def test_an_intermediate_cannot_hide_in_a_tuple():
    op = user_op("hiding", lambda x: (x**3, ([x * x],)), lambda dy, parts: dy * 3 * parts[0])
    x = leaf(3)
    with pytest.raises(RuntimeError, match="hiding: saved a floating array"):
        mg.grad(op(x), x, weights(3), create_graph=True)


def test_a_constant_is_handed_back_as_an_array_without_derivative():
    seen = []

    def rule(dy, x, scale):
        seen.append(type(scale))
        return dy * scale * x * 2

    op = user_op("scaled_square", lambda x: (3 * x * x, (x, mg.constant(np.full(x.shape, 3.0)))), rule)
    x = leaf(3)
    gg, u, v = second(op, x)
    np.testing.assert_allclose(gg, 6 * u * v, rtol=1e-14)
    assert seen == [np.ndarray]


def test_integers_booleans_shapes_and_numbers_may_be_saved():
    def forward(x):
        mask = x > 1
        return np.where(mask, x * x, 0.5 * x), (x, mask, x.shape, 0.5, np.flatnonzero(mask))

    def rule(dy, x, mask, shape, half, where):
        assert shape == (6,)
        assert where.tolist() == np.flatnonzero(mask).tolist()
        return mg.where(mask, dy * x * 2, dy * half)

    op = user_op("kinked", forward, rule)
    x = mg.tensor([0.3, 1.4, 0.8, 1.9, 1.1, 0.6], dtype=np.float64, requires_grad=True)
    mg.gradgradcheck(op, x)


@pytest.mark.parametrize(
    "view", [lambda x: x.T, lambda x: x[::2, 1:], lambda x: x.flip(0, 1), lambda x: x.expand(2, 4, 4)]
)
def test_inputs_that_are_not_contiguous_are_linked(view):
    x = leaf(4, 4)
    mg.gradgradcheck(lambda x: square(view(x)), x)


def test_leaves_over_memory_that_is_not_contiguous_are_linked():
    x = mg.as_tensor(RNG.uniform(0.5, 2.0, (4, 3)).T).requires_grad_()
    gg, u, v = second(lambda x: x * x * x, x)
    np.testing.assert_allclose(gg, 6 * u * v * x.data, rtol=1e-13)


def test_promoted_inputs_are_linked():
    x = mg.tensor(RNG.uniform(0.5, 2.0, 3).astype(np.float32), requires_grad=True)
    c = weights(3)
    (g,) = mg.grad((x * 1.0) * c * x, x, np.ones(3), create_graph=True)
    (gg,) = mg.grad(g, x, np.ones(3, np.float32))
    np.testing.assert_allclose(gg, 2 * c, rtol=1e-5)
    assert gg.dtype == np.float32


def test_an_output_that_is_the_input_array_becomes_a_tensor_of_its_own():
    passing = user_op("passing", lambda x: (x, (x,)), lambda dy, x: dy * 1)
    x = leaf(3)
    y = passing(x)
    assert y is not x
    assert y._array is not x._array
    assert np.shares_memory(y.data, x.data)
    gg, u, v = second(lambda x: passing(x) * x * x, x)
    np.testing.assert_allclose(gg, 6 * u * v * x.data, rtol=1e-14)


def test_a_rule_may_give_plain_arrays_under_create_graph():
    flat = user_op("flat", lambda x: (np.round(x), (x.shape,)), lambda dy, shape: np.zeros(shape))
    x = leaf(3)
    (g,) = mg.grad(flat(x) + x * x, x, np.ones(3), create_graph=True)
    np.testing.assert_array_equal(mg.grad(g, x, np.ones(3))[0], 2 * np.ones(3))
    flat(x).backward(np.ones(3), create_graph=True)
    np.testing.assert_array_equal(x.grad, np.zeros(3))


def test_numpy_functions_in_a_rule_raise_rather_than_lose_history():
    op = user_op("numpy_rule", lambda x: (np.sin(x), (x,)), lambda dy, x: dy * np.cos(x))
    x = leaf(3)
    op(x).backward(np.ones(3))
    with pytest.raises(TypeError, match="does not support ufuncs"):
        mg.grad(op(x), x, np.ones(3), create_graph=True)


def cube_forward(x, w):
    return x * x * x * w


def cube_backward(dy, x, w):
    return dy * 3 * x * x * w, dy * x * x * x


def soft_forward(x, beta=1.0):
    s = 1 / (1 + np.exp(-beta * x))
    return x * s, (x, s, beta)


def soft_backward(dy, x, s, beta):
    return dy * s * (beta * x * (1 - s) + 1)


PAIRS = {"plain": lambda f: f, "jitted": numba.njit}


@pytest.mark.parametrize("compiled", PAIRS)
def test_a_pair_that_saves_nothing_gets_its_arrays_back(compiled):
    jit = PAIRS[compiled]
    cube = mg.op.pair(jit(cube_forward), jit(cube_backward))
    assert mg.OPS["cube"] is cube
    assert cube.rule.__name__ == "cube_backward"
    mg.gradcheck(cube, (leaf(3), leaf(3)))


@pytest.mark.parametrize("compiled", PAIRS)
def test_a_pair_gets_back_what_it_saved_and_takes_settings(compiled):
    jit = PAIRS[compiled]
    soft = mg.op.pair(jit(soft_forward), jit(soft_backward), name=f"soft_{compiled}")
    x = leaf(2, 3)
    np.testing.assert_allclose(soft(x, beta=2.0).detach(), x.data / (1 + np.exp(-2 * x.data)), rtol=1e-14)
    mg.gradcheck(lambda x: soft(x, beta=2.0), x)
    mg.gradcheck(soft, x)
    assert type(soft(x.data)) is np.ndarray
    with pytest.raises(TypeError, match="beta is a setting"):
        soft(x, beta=leaf(1))
    with pytest.raises(TypeError, match="unexpected keyword argument 'gamma'"):
        soft(x, gamma=1)


@pytest.mark.parametrize("compiled", PAIRS)
def test_a_pair_says_how_to_register_second_derivatives_and_takes_them(compiled):
    jit = PAIRS[compiled]
    pair = mg.op.pair(jit(cube_forward), jit(cube_backward), name="cubic")
    x, w = leaf(3), leaf(3)
    with pytest.raises(RuntimeError, match=r"cubic: a pair of kernels has first derivatives only; .*@cubic\.vjp"):
        mg.grad(pair(x, w), x, weights(3), create_graph=True)

    @pair.vjp
    def cubic_vjp(dy, x, w):
        return dy * 3 * x * x * w, dy * x * x * x

    mg.gradgradcheck(pair, (x, w))


def test_a_pair_may_have_several_outputs():
    def polar_forward(a, b):
        return np.sqrt(a * a + b * b), np.arctan2(b, a)

    def polar_backward(dys, a, b):
        dr, dt = (0.0 if dy is None else dy for dy in dys)
        square = a * a + b * b
        return dr * a / np.sqrt(square) - dt * b / square, dr * b / np.sqrt(square) + dt * a / square

    polar = mg.op.pair(polar_forward, polar_backward)
    a, b = leaf(3), leaf(3)
    mg.gradcheck(polar, (a, b))
    mg.gradcheck(lambda a, b: polar(a, b)[1], (a, b))


def test_backward_of_a_pair_gets_a_contiguous_writable_dy():
    seen = []

    def copy_backward(dy, x):
        seen.append(dy.flags.carray)
        return dy

    pair = mg.op.pair(lambda x: x.copy(), copy_backward, name="copied")
    x = leaf(3, 4)
    pair(x).sum().backward()
    pair(x).T.backward(weights(4, 3))
    assert seen == [True, True]
