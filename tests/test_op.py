"""The op contract, as users meet it: registering, calling, rules and their faults."""

import copy
import inspect
import multiprocessing
import operator
import pickle
import pydoc

import numpy as np
import pytest

import minigrad as mg
from minigrad import ops

RNG = np.random.default_rng(4)


def leaf(*shape, dtype=np.float64):
    return mg.tensor(RNG.uniform(0.5, 2.0, shape).astype(dtype), requires_grad=True)


def weights(*shape):
    return RNG.normal(size=shape)


@mg.op(name="affine")
def affine(x, w, b=None, *, power=1):
    """x w^power + b"""
    y = x * w**power
    return (y if b is None else y + b), (x, w, power)


@affine.vjp(masked=True)
def affine_vjp(dy, x, w, power, *, needs):
    return dy * w**power, dy * x * power * w ** (power - 1) if needs[1] else None, dy if needs[2] else None


def test_an_op_gives_arrays_for_arrays_and_tensors_for_tensors():
    x, w = weights(3), weights(3)
    assert type(affine(x, w)) is np.ndarray
    assert type(affine(1.0, 2.0)) is np.ndarray
    y = affine(mg.tensor(x), w)
    assert isinstance(y, mg.Tensor)
    assert not y.requires_grad
    np.testing.assert_array_equal(y, x * w)


def test_an_op_records_where_an_input_requires_grad():
    x, w, b, dy = leaf(3), leaf(3), leaf(3), weights(3)
    affine(x, w, b, power=2).backward(dy)
    np.testing.assert_allclose(x.grad, dy * w.data**2, rtol=1e-14)
    np.testing.assert_allclose(w.grad, dy * x.data * 2 * w.data, rtol=1e-14)
    np.testing.assert_array_equal(b.grad, dy)


def test_an_optional_input_may_be_left_out_or_none():
    dy = weights(3)
    for absent in ((), (None,)):
        x, w = leaf(3), leaf(3)
        affine(x, w, *absent).backward(dy)
        np.testing.assert_allclose(w.grad, dy * x.data, rtol=1e-14)


def test_inputs_may_be_given_by_keyword_and_are_recorded():
    x, w, b, dy = leaf(3), leaf(3), leaf(3), weights(3)
    affine(x, b=b, power=3, w=w).backward(dy)
    np.testing.assert_allclose(x.grad, dy * w.data**3, rtol=1e-14)
    np.testing.assert_array_equal(b.grad, dy)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x: affine(x), "affine: missing a required argument: 'w'"),
        (lambda x: affine(x, None), "affine: need tensors, arrays or numbers, got NoneType"),
        (lambda x: affine(x, [1.0, 2.0]), "affine: need tensors, arrays or numbers, got list"),
        (lambda x: affine(x, x, slope=2), "affine: got an unexpected keyword argument 'slope'"),
        (lambda x: affine(x, x, power=x), "affine: power is a setting, need a plain value, got a tensor"),
        (
            lambda x: affine(x, np.zeros(3, complex)),
            "affine: need booleans, integers, float32 or float64, got complex128",
        ),
        (lambda x: affine(x, np.array(["a"])), "affine: need booleans"),
        (lambda x: mg.tensor([1]) + np.float16(1), "add: need booleans"),
    ],
)
def test_calls_that_cannot_be_recorded_are_type_errors_that_name_the_op(call, message):
    with pytest.raises(TypeError, match=message):
        call(leaf(3))


def test_numpy_scalars_as_settings_do_not_widen():
    x = leaf(3, dtype=np.float32)
    assert ops.clip(x, min=np.float64(1)).dtype == np.float32
    assert affine(x, x, power=np.float64(2)).dtype == np.float32


class Subclass(np.ndarray):
    """An array type of somebody else's."""


def test_forward_gets_contiguous_native_writable_arrays():
    seen = []

    @mg.op(name="inspects")
    def inspects(x):
        seen.append((x.flags.carray, x.dtype.isnative, type(x)))
        return x.copy(), ()

    base = weights(4, 6)
    frozen = base.copy()
    frozen.flags.writeable = False
    for given in (base, base.T, base[::2, 1:], base[::-1], base.astype(">f8"), frozen, base.view(Subclass)):
        np.testing.assert_array_equal(inspects(given), np.asarray(given))
        np.testing.assert_array_equal(inspects(mg.as_tensor(given)), np.asarray(given))
    assert set(seen) == {(True, True, np.ndarray)}


def test_an_array_with_a_mask_is_refused():
    """What is hidden would count as all other values do."""
    masked = np.ma.masked_array(weights(2, 3), weights(2, 3) > 0)
    for use in (
        mg.tensor, mg.as_tensor, mg.exp, mg.functional.relu, mg.nn.ReLU(), lambda m: mg.tensor([m]),
        lambda m: mg.tensor(weights(2, 3)) + m, lambda m: mg.split(m, 1), lambda m: mg.data.Batches((m, m), 1),
    ):  # fmt: skip
        with pytest.raises(TypeError, match=r"need an array without a mask, got a masked one; use .filled\(value\)"):
            use(masked)


def test_what_a_users_op_gives_is_native_before_a_kernel_reads_it():
    @mg.op
    def foreign(x, *, dtype):
        return x.astype(dtype), ()

    x = mg.tensor(np.random.default_rng(0).normal(size=(2, 4, 6, 6)).astype(np.float32), requires_grad=True)
    w = np.random.default_rng(1).normal(size=(3, 4, 3, 3)).astype(np.float32)
    y = foreign(x, dtype=">f4")
    assert y.dtype.isnative
    assert y.requires_grad
    np.testing.assert_array_equal(*(mg.functional.conv2d(images, w).detach() for images in (y, x)))
    for dtype in ("float16", "complex64", "object"):
        with pytest.raises(TypeError, match=rf"foreign: need booleans, integers, float32 or float64, got {dtype}"):
            foreign(x, dtype=dtype)


@pytest.mark.filterwarnings("ignore:the matrix subclass:PendingDeprecationWarning")
def test_a_matrix_is_an_array_like_any_other():
    """Its own `*` would be the product of matrices."""
    square = weights(3, 3)
    for function in (mg.functional.gelu, mg.functional.binary_cross_entropy_with_logits, mg.functional.batch_norm):
        rest = {"gelu": (), "batch_norm": (square[0], np.abs(square[1]))}.get(function.__name__, (square,))
        np.testing.assert_array_equal(function(np.matrix(square), *rest), function(square, *rest))


def test_gradients_keep_the_dtype_of_their_inputs():
    x, z = leaf(3, dtype=np.float32), leaf(3)
    y = (x * z).exp() + z / x
    assert y.dtype == np.float64
    y.backward(weights(3))
    assert (x.grad.dtype, z.grad.dtype) == (np.float32, np.float64)
    (gx,) = mg.grad((x * z).sin(), x, weights(3), create_graph=True)
    (gz,) = mg.grad(gx, z, weights(3).astype(np.float32))
    assert (gx.dtype, gz.dtype) == (np.float32, np.float64)


@pytest.mark.parametrize(("a_shape", "b_shape"), [((3,), (2, 3)), ((2, 1), (1, 3)), ((), (2, 3)), ((2, 3), (1,))])
def test_gradients_of_broadcasting_ops_are_summed_to_their_inputs(a_shape, b_shape):
    a, b = leaf(*a_shape), leaf(*b_shape)
    y = a * b
    dy = weights(*y.shape)
    y.backward(dy)
    summed = np.einsum(dy * b.data, [0, 1][: y.ndim], [0, 1][: y.ndim])
    axes = tuple(range(y.ndim - a.ndim))
    kept = tuple(i for i, n in enumerate(a_shape) if n == 1)
    expected = summed.sum(axes).sum(kept, keepdims=True)
    np.testing.assert_allclose(a.grad, expected, rtol=1e-14)
    mg.gradgradcheck(operator.mul, (a, b))


def test_an_optional_input_of_a_broadcasting_op_may_be_absent():
    @mg.op(name="maybe_shifted", broadcasts=True)
    def shifted(x, by=None):
        return (x.copy() if by is None else x + by), ()

    shifted.vjp(lambda dy: (dy, dy))
    x, dy = leaf(3, dtype=np.float32), weights(3)
    y = shifted(x)
    assert y.dtype == np.float32
    y.backward(dy)
    np.testing.assert_array_equal(x.grad, dy.astype(np.float32))


def test_a_masked_rule_is_told_which_gradients_are_wanted():
    asked = []

    @mg.op(name="product_of_three")
    def product(a, b, c):
        return a * b * c, (a, b, c)

    @product.vjp(masked=True)
    def product_vjp(dy, a, b, c, *, needs):
        asked.append(needs)
        return dy * b * c, dy * a * c, dy * a * b

    a, b, c = leaf(2), mg.tensor(weights(2)), leaf(2)
    product(a, b, c).backward(weights(2))
    assert b.grad is None
    mg.grad(product(a, b, c), c, weights(2))
    product(a, weights(2), c.detach()).backward(weights(2))
    assert asked == [(True, False, True), (False, False, True), (True, False, False)]


def test_outputs_that_nobody_used_have_no_gradient():
    seen = []

    @mg.op(name="sum_and_difference")
    def both(a, b):
        return (a + b, a - b), ()

    @both.vjp
    def both_vjp(dys):
        seen.append(tuple(dy is None for dy in dys))
        plus, minus = (0.0 if dy is None else dy for dy in dys)
        return plus + minus, plus - minus

    a, b, dy = leaf(3), leaf(3), weights(3)
    plus, minus = both(a, b)
    minus.backward(dy)
    np.testing.assert_array_equal(b.grad, -dy)
    plus, minus = both(a, b)
    a.grad = None
    (plus * 2 + minus * 3).backward(dy)
    np.testing.assert_allclose(a.grad, 5 * dy, rtol=1e-14)
    assert seen == [(True, False), (False, False)]
    mg.gradgradcheck(lambda a, b: both(a * b, b), (a, b))


def test_a_tuple_of_one_output_has_a_tuple_of_one_gradient():
    @mg.op(name="pieces")
    def pieces(x):
        return tuple(x.copy()), ()

    @pieces.vjp
    def pieces_vjp(dys):
        return ops.stack(dys)

    for n in (1, 2):
        x, dy = leaf(n, 3), weights(3)
        parts = pieces(x)
        assert len(parts) == n
        sum(parts).backward(dy)
        np.testing.assert_array_equal(x.grad, np.stack([dy] * n))


def test_integer_outputs_beside_floats_carry_no_history():
    @mg.op(name="largest_and_place")
    def largest(x):
        place = x.argmax()
        return (x[place], place), (place, x.shape)

    @largest.vjp
    def largest_vjp(dys, place, shape):
        return ops.scatter_add(dys[0], index=int(place), shape=shape)

    x = mg.tensor([1.0, 3.0, 2.0], requires_grad=True)
    value, place = largest(x)
    assert (value.requires_grad, place.requires_grad, place.item()) == (True, False, 1)
    value.backward(np.array(5.0))
    np.testing.assert_array_equal(x.grad, [0, 5, 0])


def test_a_rule_may_give_none_where_no_gradient_flows():
    @mg.op(name="ignores_second")
    def ignoring(a, b):
        return a * b, (b,)

    @ignoring.vjp
    def ignoring_vjp(dy, b):
        return dy * b, None

    a, b = leaf(3), leaf(3)
    ignoring(a, b).backward(weights(3))
    assert a.grad is not None
    assert b.grad is None


@pytest.mark.parametrize(
    ("gradients", "message"),
    [
        (lambda dy: dy, "faulty: its vjp must give 2 gradients, got 1"),
        (lambda dy: (dy, dy, dy), "faulty: its vjp must give 2 gradients, got 3"),
        (lambda dy: (dy, dy[:-1]), r"faulty: gradient of an input of shape \(3,\) came out as \(2,\)"),
        (lambda dy: (dy, dy.reshape(1, 3)), r"faulty: gradient of an input of shape \(3,\) came out as \(1, 3\)"),
        (lambda dy: (dy, 1.0), r"faulty: gradient of an input of shape \(3,\) came out as \(\)"),
    ],
)
@pytest.mark.parametrize("create_graph", [False, True])
def test_a_rule_with_a_wrong_number_or_shape_of_gradients_is_an_error_that_names_the_op(
    gradients, message, create_graph
):
    @mg.op(name="faulty")
    def faulty(a, b):
        return a + b, ()

    faulty.vjp(gradients)
    with pytest.raises(ValueError, match=message):
        faulty(leaf(3), leaf(3)).backward(weights(3), create_graph=create_graph)


def test_gradients_that_do_not_broadcast_back_are_an_error_too():
    @mg.op(name="faulty", broadcasts=True)
    def faulty(a):
        return a + 1, ()

    faulty.vjp(lambda dy: dy[:2])
    with pytest.raises(ValueError, match=r"does not broadcast"):
        faulty(leaf(3)).backward(weights(3))


def test_an_op_without_a_rule_works_until_backward():
    @mg.op(name="ruleless")
    def ruleless(x):
        return x * 2, ()

    y = ruleless(leaf(3))
    with pytest.raises(RuntimeError, match=r"ruleless: has no vjp; register one with @ruleless\.vjp"):
        y.backward(weights(3))


def test_a_forward_that_forgets_saved_is_told_so():
    @mg.op(name="forgetful")
    def forgetful(x):
        return x * 2

    with pytest.raises(TypeError, match=r"forgetful: forward must return \(output, saved\)"):
        forgetful(leaf(3))


def test_a_user_name_that_is_registered_again_replaces_the_old_op():
    def register(factor):
        @mg.op(name="replaced")
        def scale(x):
            return x * factor, ()

        scale.vjp(lambda dy: dy * factor)
        return scale

    x = leaf(3)
    old = register(2.0)
    recorded = old(x)
    new = register(3.0)
    assert mg.OPS["replaced"] is new
    recorded.backward(np.ones(3))  # what was recorded keeps its rule
    np.testing.assert_array_equal(x.grad, 2 * np.ones(3))


def test_ours_cannot_be_replaced():
    with pytest.raises(ValueError, match="'exp' is one of minigrad's own"):
        mg.op(lambda x: (x, ()), name="exp")
    with pytest.raises(ValueError, match="exp: is one of minigrad's own"):
        mg.exp.vjp(lambda dy, y: dy)
    with pytest.raises(TypeError):
        mg.OPS["exp"] = affine
    assert mg.OPS["exp"] is mg.exp


def test_ops_keep_signature_docstring_and_name_for_help():
    assert str(inspect.signature(affine)) == "(x, w, b=None, *, power=1)"
    assert affine.__name__ == "affine"
    assert affine.__doc__ == "x w^power + b"
    assert "x w^power + b" in pydoc.render_doc(affine)
    assert repr(affine) == "<op affine(x, w, b=None, *, power=1) with affine_vjp>"
    assert str(inspect.signature(mg.clip)).startswith("(x: Any, *, min: float | None = None, max: float | None = None)")


def test_rules_stay_the_functions_they_were():
    assert inspect.isfunction(affine_vjp)
    assert affine_vjp.__name__ == "affine_vjp"


def test_ops_are_pickled_and_copied_by_name():
    for op in (affine, mg.exp):
        assert pickle.loads(pickle.dumps(op)) is op
        assert copy.deepcopy({"op": op})["op"] is op
        assert copy.copy(op) is op


def test_ops_and_leaves_go_to_a_spawned_process_and_back():
    x = leaf(3)
    x.grad = mg.tensor(weights(3))
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        back = pool.apply(copy.deepcopy, ({"op": mg.exp, "x": x},))
    assert back["op"] is mg.exp
    assert back["x"].requires_grad
    np.testing.assert_array_equal(back["x"].data, x.data)
    np.testing.assert_array_equal(back["x"].grad, x.grad)
