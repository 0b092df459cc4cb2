"""vjp, jvp, jacobian and hessian: against closed forms and PyTorch."""

import numpy as np
import pytest

import minigrad as mg

RNG = np.random.default_rng(11)
M = RNG.normal(size=(4, 3))


def leaf(*shape):
    return mg.tensor(RNG.uniform(0.5, 2.0, shape), requires_grad=True)


def array(*shape):
    return RNG.uniform(0.5, 2.0, shape)


def weights(*shape):
    return RNG.normal(size=shape)


def linear(x):
    return mg.tensor(M) @ x


def test_products_with_the_jacobian_of_a_linear_map():
    x, u, v = array(3), weights(4), weights(3)
    y, pulled = mg.vjp(linear, x, u)
    np.testing.assert_allclose(y, M @ x, rtol=1e-14)
    np.testing.assert_allclose(pulled, u @ M, rtol=1e-13)
    y, pushed = mg.jvp(linear, x, v)
    np.testing.assert_allclose(y, M @ x, rtol=1e-14)
    np.testing.assert_allclose(pushed, M @ v, rtol=1e-13)


def two_by_two(a, b):
    return a * b.sum(), (a * a).exp().sum() * b


def test_products_with_several_inputs_and_outputs():
    a, b = array(3), array(2)
    (ya, yb), (da, db) = mg.vjp(two_by_two, (a, b), (u := weights(3), w := weights(2)))
    e = np.exp(a * a)
    np.testing.assert_allclose(ya, a * b.sum(), rtol=1e-14)
    np.testing.assert_allclose(yb, e.sum() * b, rtol=1e-14)
    np.testing.assert_allclose(da, u * b.sum() + (w @ b) * 2 * a * e, rtol=1e-12)
    np.testing.assert_allclose(db, (u @ a) + w * e.sum(), rtol=1e-12)
    _, (pa, pb) = mg.jvp(two_by_two, [a, b], (va := weights(3), vb := weights(2)))
    np.testing.assert_allclose(pa, va * b.sum() + a * vb.sum(), rtol=1e-12)
    np.testing.assert_allclose(pb, (2 * a * e) @ va * b + e.sum() * vb, rtol=1e-12)


def test_the_vector_may_be_left_out_for_a_single_value():
    x = array(3)
    _, g = mg.vjp(lambda x: (x * x).sum(), x)
    np.testing.assert_allclose(g, 2 * x, rtol=1e-14)
    _, t = mg.jvp(lambda s: s * s, np.array([1.5]))
    np.testing.assert_allclose(t, [3.0], rtol=1e-14)
    with pytest.raises(RuntimeError, match="need a gradient"):
        mg.vjp(lambda x: x * x, x)
    with pytest.raises(RuntimeError, match="need a gradient"):
        mg.jvp(lambda x: x * x, x)


def test_results_are_detached_and_inputs_left_alone_without_create_graph():
    x = leaf(3)
    h = x * 2
    y, g = mg.vjp(lambda x: x * x, h, weights(3))
    _, t = mg.jvp(lambda x: x * x, h, weights(3))
    assert not any(r.requires_grad for r in (y, g, t, mg.jacobian(linear, h), mg.hessian(lambda x: (x**3).sum(), h)))
    assert x.grad is None
    (h * h).backward(weights(3))  # the history of h was not freed


def test_create_graph_differentiates_through_vjp_and_jvp():
    x, u, v = leaf(3), leaf(3), weights(3)
    _, g = mg.vjp(lambda x: x**3, x * 2, u, create_graph=True)
    by_x, by_u = mg.grad(g, [x, u], v)
    np.testing.assert_allclose(by_x, v * u.data * 6 * 2 * x.data * 2, rtol=1e-13)
    np.testing.assert_allclose(by_u, v * 3 * (2 * x.data) ** 2, rtol=1e-13)
    _, t = mg.jvp(lambda x: x**3, x * 2, u, create_graph=True)
    by_x, by_u = mg.grad(t, [x, u], v)
    np.testing.assert_allclose(by_x, v * u.data * 6 * 2 * x.data * 2, rtol=1e-13)
    np.testing.assert_allclose(by_u, v * 3 * (2 * x.data) ** 2, rtol=1e-13)


@pytest.mark.parametrize("create_graph", [False, True])
def test_an_input_given_twice_has_two_derivatives_and_uses_elsewhere_do_not_count(create_graph):
    x, u = leaf(3), weights(3)
    _, (da, db) = mg.vjp(lambda a, b: a * a * b * x, (x, x), u, create_graph)
    np.testing.assert_allclose(da.detach(), 2 * u * x.data**3, rtol=1e-13)
    np.testing.assert_allclose(db.detach(), u * x.data**3, rtol=1e-13)


def test_everything_works_under_no_grad():
    x = array(3)
    with mg.no_grad():
        np.testing.assert_allclose(mg.jacobian(linear, x), M, rtol=1e-13)
        _, t = mg.jvp(linear, x, x)
    np.testing.assert_allclose(t, M @ x, rtol=1e-13)


def test_what_does_not_depend_has_zero_derivatives():
    x, z = array(3), array(2)
    _, (dx, dz) = mg.vjp(lambda x, z: x * 2, (x, z), weights(3))
    np.testing.assert_array_equal(dz, np.zeros(2))
    assert np.abs(dx.data).min() > 0
    constant = mg.tensor(weights(2))
    _, g = mg.vjp(lambda x: constant, x, weights(2))
    np.testing.assert_array_equal(g, np.zeros(3))
    _, t = mg.jvp(lambda x: constant, x, weights(3))
    np.testing.assert_array_equal(t, np.zeros(2))
    np.testing.assert_array_equal(mg.jacobian(lambda x: constant, x), np.zeros((2, 3)))
    np.testing.assert_array_equal(mg.hessian(lambda x: x.sum(), x), np.zeros((3, 3)))


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda x: mg.vjp(lambda x: x.data, x, x), TypeError, "need a function that returns tensors, got ndarray"),
        (lambda x: mg.vjp(lambda x: (x, x), x, (x,)), ValueError, "vjp: need a v for each of 2 outputs, got 1"),
        (lambda x: mg.vjp(lambda x: x, x, np.ones(4)), ValueError, r"need a gradient of shape \(3,\), .* got \(4,\)"),
        (lambda x: mg.jvp(lambda x: x, x, np.ones(4)), ValueError, r"jvp: need a gradient of shape \(3,\)"),
        (lambda x: mg.jvp(lambda x, y: x, (x, x), (x,)), ValueError, "jvp: need a v for each of 2 inputs, got 1"),
        (lambda x: mg.hessian(lambda x: x * x, x), ValueError, "need a function with one output value"),
        (lambda x: mg.jacobian(lambda x: x, np.array([1, 2])), TypeError, "only float32 and float64"),
    ],
)
def test_requests_without_a_meaning_are_clear_errors(call, error, message):
    with pytest.raises(error, match=message):
        call(array(3))


def test_the_jacobian_of_a_linear_map_is_its_matrix():
    np.testing.assert_allclose(mg.jacobian(linear, array(3)), M, rtol=1e-13)


def test_the_jacobian_has_the_shape_of_output_and_input():
    x = array(2, 3)
    j = mg.jacobian(lambda x: x.exp().T, x)
    assert j.shape == (3, 2, 2, 3)
    np.testing.assert_allclose(j, np.einsum("ji,ik,jl->ijlk", np.exp(x), np.eye(3), np.eye(2)), rtol=1e-13)
    assert mg.jacobian(lambda x: x.sum(), x).shape == (2, 3)
    assert mg.jacobian(lambda s: s * x, np.array(2.0)).shape == (2, 3)


def test_the_jacobian_of_several_outputs_by_several_inputs_is_a_tuple_of_tuples():
    a, b = array(3), array(2)
    blocks = mg.jacobian(two_by_two, (a, b))
    e = np.exp(a * a)
    expected = ((np.eye(3) * b.sum(), np.outer(a, [1, 1])), (np.outer(b, 2 * a * e), np.eye(2) * e.sum()))
    for row, expected_row in zip(blocks, expected, strict=True):
        for block, expected_block in zip(row, expected_row, strict=True):
            np.testing.assert_allclose(block, expected_block, rtol=1e-12)


def test_jacobians_and_hessians_of_nothing_are_empty():
    assert mg.jacobian(lambda x: x * 2, np.zeros(0)).shape == (0, 0)
    assert mg.jacobian(lambda x: x[:0], array(3)).shape == (0, 3)
    assert mg.jacobian(lambda x: x.sum() * mg.tensor(np.ones(2)), np.zeros(0)).shape == (2, 0)
    assert mg.hessian(lambda x: (x * x).sum(), np.zeros(0)).shape == (0, 0)


def test_the_hessian_of_a_quadratic_form():
    a = weights(3, 3)
    h = mg.hessian(lambda x: x @ mg.tensor(a) @ x, array(3))
    np.testing.assert_allclose(h, a + a.T, rtol=1e-12)


def test_the_hessian_by_several_inputs_is_a_tuple_of_tuples():
    a, b = array(2), array(3)
    blocks = mg.hessian(lambda a, b: (a * a).sum() * b.sum(), (a, b))
    expected = ((2 * np.eye(2) * b.sum(), np.outer(2 * a, np.ones(3))), (np.outer(np.ones(3), 2 * a), np.zeros((3, 3))))
    for row, expected_row in zip(blocks, expected, strict=True):
        for block, expected_block in zip(row, expected_row, strict=True):
            np.testing.assert_allclose(block, expected_block, rtol=1e-12)


def test_create_graph_differentiates_through_jacobian_and_hessian():
    x, v = leaf(3), weights(3, 3)
    (g,) = mg.grad(mg.jacobian(lambda x: x**3, x, create_graph=True), x, v)
    np.testing.assert_allclose(g, np.diag(v) * 6 * x.data, rtol=1e-12)
    (g,) = mg.grad(mg.hessian(lambda x: (x**4).sum(), x, create_graph=True), x, v)
    np.testing.assert_allclose(g, np.diag(v) * 24 * x.data, rtol=1e-12)


@pytest.mark.parity
def test_all_agree_with_torch():
    torch = pytest.importorskip("torch")
    theirs = torch.autograd.functional
    a, b, u, va, vb = array(3), array(2, 3), weights(2), weights(3), weights(2, 3)

    def function(a, b):
        return (a * b).tanh().sum(1) * a[0]

    def scalar(a, b):
        return (function(a, b) ** 2).sum()

    def torched(*values):
        return tuple(map(torch.tensor, values))

    pairs = [
        (mg.vjp(function, (a, b), u), theirs.vjp(function, torched(a, b), torch.tensor(u))),
        (mg.jvp(function, (a, b), (va, vb)), theirs.jvp(function, torched(a, b), torched(va, vb))),
        (mg.jacobian(function, (a, b)), theirs.jacobian(function, torched(a, b))),
        (mg.hessian(scalar, (a, b)), theirs.hessian(scalar, torched(a, b))),
    ]

    def compare(ours, other):
        if isinstance(other, tuple):
            assert len(ours) == len(other)
            for one, another in zip(ours, other, strict=True):
                compare(one, another)
        else:
            np.testing.assert_allclose(ours, other.numpy(), rtol=1e-10)

    for ours, other in pairs:
        compare(ours, other)
