"""mg.grad: gradients by any tensors, of what lies between them and the outputs only."""

import numpy as np
import pytest

import minigrad as mg

RNG = np.random.default_rng(8)


def leaf(*shape):
    return mg.tensor(RNG.uniform(0.5, 2.0, shape), requires_grad=True)


def weights(*shape):
    return RNG.normal(size=shape)


def test_grad_by_intermediates_and_leaves_at_once():
    x, dy = leaf(3), weights(3)
    h = x * x
    y = h.sin()
    by_h, by_x, by_y = mg.grad(y, [h, x, y], dy)
    np.testing.assert_allclose(by_h, dy * np.cos(h.data), rtol=1e-14)
    np.testing.assert_allclose(by_x, dy * np.cos(h.data) * 2 * x.data, rtol=1e-14)
    np.testing.assert_array_equal(by_y, dy)


def test_grad_of_several_outputs_is_that_of_their_weighted_sum():
    x, a, b = leaf(3), weights(3), weights()
    (g,) = mg.grad((x.exp(), (x * x).sum()), x, (a, b))
    np.testing.assert_allclose(g, a * np.exp(x.data) + b * 2 * x.data, rtol=1e-14)


def test_grad_takes_a_generator_of_inputs():
    xs = [leaf(2), leaf(2)]
    found = mg.grad(xs[0] * xs[1], iter(xs), weights(2))
    assert len(found) == 2


def test_grad_leaves_every_grad_alone():
    x, w = leaf(3), leaf(3)
    mine = mg.tensor(np.zeros(3))
    x.grad = mine
    h = x * w
    h.retain_grad()
    mg.grad(h.exp(), [x, h], weights(3))
    assert x.grad is mine
    assert w.grad is None
    assert h.grad is None
    np.testing.assert_array_equal(mine, np.zeros(3))


def test_an_unused_input_is_an_error_or_none():
    x, z = leaf(3), leaf(3)
    y = x * 2
    with pytest.raises(RuntimeError, match=r"numbered \[1\]; allow_unused"):
        mg.grad(y, [x, z], weights(3), retain_graph=True)
    dy = weights(3)
    gx, gz = mg.grad(y, [x, z], dy, allow_unused=True)
    np.testing.assert_array_equal(gx, 2 * dy)
    assert gz is None


def test_grad_calls_only_the_rules_between_inputs_and_outputs():
    calls = []

    @mg.op(name="watched")
    def watched(x, *, tag):
        return x * 2, (tag,)

    @watched.vjp
    def watched_vjp(dy, tag):
        calls.append(tag)
        return dy * 2

    x, z = leaf(3), leaf(3)
    below = watched(x, tag="below")  # older than the input we differentiate by
    h = watched(below, tag="between")
    aside = watched(z, tag="aside")
    y = watched(h * aside, tag="above")
    dy = weights(3)
    (g,) = mg.grad(y, below, dy)
    assert calls == ["above", "between"]
    np.testing.assert_allclose(g, dy * 4 * aside.data, rtol=1e-14)


def test_grad_frees_only_what_it_walked():
    x, z = leaf(3), leaf(3)
    a, b = x.exp(), z.exp()
    mg.grad(a * b, a, weights(3))
    (gz,) = mg.grad(b, z, dz := weights(3))
    np.testing.assert_allclose(gz, dz * np.exp(z.data), rtol=1e-14)


def test_grad_of_a_leaf_by_itself_is_the_cotangent():
    x, dy = leaf(3), weights(3)
    np.testing.assert_array_equal(mg.grad(x, x, dy)[0], dy)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda x, c: mg.grad(x * 2, x), RuntimeError, "need a gradient for an output of shape"),
        (lambda x, c: mg.grad(x * 2, c, np.ones(3)), RuntimeError, "one of the inputs does not require grad"),
        (lambda x, c: mg.grad(c * 2, x, np.ones(3)), RuntimeError, "one of the outputs does not require grad"),
        (lambda x, c: mg.grad(x * 2, np.ones(3), np.ones(3)), TypeError, "need tensors as inputs, got ndarray"),
        (lambda x, c: mg.grad(x * 2, x, np.ones(4)), ValueError, r"shape \(3,\), as the output's, got \(4,\)"),
        (lambda x, c: mg.grad((x, x), x, np.ones(3)), ValueError, "a grad_output for each of 2 outputs, got 1"),
        (lambda x, c: (c * 2).backward(np.ones(3)), RuntimeError, "does not require grad"),
        (lambda x, c: (x * 2).backward(), RuntimeError, "need a gradient"),
        (lambda x, c: (x * 2).backward(np.ones((1, 3))), ValueError, r"got \(1, 3\)"),
    ],
)
def test_requests_without_a_meaning_are_clear_errors(call, error, message):
    with pytest.raises(error, match=message):
        call(leaf(3), mg.tensor(np.ones(3)))
