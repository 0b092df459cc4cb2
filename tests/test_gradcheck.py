"""The gradient checkers: they pass what is right and name what is slightly wrong."""

import numpy as np
import pytest

import minigrad as mg

RNG = np.random.default_rng(12)


def leaf(*shape):
    return mg.tensor(RNG.uniform(0.5, 2.0, shape), requires_grad=True)


def cube(name, rule):
    op = mg.op(lambda x: (x * x * x, (x,)), name=name)
    op.vjp(rule)
    return op


def spoilt(index, factor):
    """The rule of x^3 with one element wrong by a factor."""

    def rule(dy, x):
        wrong = np.ones(x.shape)
        wrong[index] = factor
        return dy * x * x * (3 * wrong)

    return rule


def test_right_rules_pass():
    right = cube("right_cube", lambda dy, x: dy * x * x * 3)
    assert mg.gradcheck(right, leaf(2, 3))
    assert mg.gradgradcheck(right, leaf(2, 3))
    assert mg.gradcheck(lambda a, b: (a @ b, a.exp()), (leaf(2, 3), leaf(3, 2)))


@pytest.mark.parametrize("index", [(0, 0), (1, 2), (2, 1)])
@pytest.mark.parametrize("factor", [1.01, 0.99, 0.0, -1.0, np.nan])
def test_one_element_that_is_wrong_is_found_and_named(index, factor):
    wrong = cube("wrong_cube", spoilt(index, factor))
    x = leaf(3, 3)
    message = (
        rf"1 of 9 elements are wrong, worst first:\n  input\[{index[0]}, {index[1]}\]: gradient \S+, by differences"
    )
    with pytest.raises(mg.GradcheckError, match=message):
        mg.gradcheck(wrong, x)
    assert mg.gradcheck(wrong, x, raise_exception=False) is False


def test_the_message_gives_both_numbers_and_the_input():
    wrong = cube("wrong_cube", spoilt(1, 2.0))
    a, b = leaf(2), mg.tensor([3.0, 2.0], dtype=np.float64, requires_grad=True)
    with pytest.raises(mg.GradcheckError, match=r"input 1\[1\]: gradient (-?\d+\.\d+), by differences") as caught:
        mg.gradcheck(lambda a, b: a + wrong(b), (a, b))
    words = str(caught.value).split("gradient ")[1]
    analytic, numerical = (float(n.strip(" ,\n")) for n in words.split(", by differences"))
    assert analytic == pytest.approx(2 * numerical, rel=1e-5)


def test_only_the_worst_of_many_are_shown():
    wrong = cube("wrong_cube", lambda dy, x: dy * 0)
    with pytest.raises(mg.GradcheckError, match=r"20 of 20 elements (.*\n)*  and 15 more$") as caught:
        mg.gradcheck(wrong, leaf(20))
    assert len(str(caught.value).splitlines()) == 7


def test_errors_that_cancel_in_a_sum_are_found():
    permuted = mg.op(lambda x: (x * 2.0, ()), name="permuted_gradient")
    permuted.vjp(lambda dy: dy[::-1] * 2.0)  # invisible behind sum(), where dy is all ones
    with pytest.raises(mg.GradcheckError):
        mg.gradcheck(permuted, leaf(4))


def test_softmax_with_a_zero_rule_is_found():
    softmax = mg.op(lambda x: ((y := np.exp(x) / np.exp(x).sum()), (y,)), name="zero_softmax")
    softmax.vjp(lambda dy, y: dy * 0.0)
    with pytest.raises(mg.GradcheckError):
        mg.gradcheck(softmax, leaf(4))


def test_every_output_is_checked():
    both = mg.op(lambda x: ((x * 2, x * 3), ()), name="half_wrong")
    both.vjp(lambda dys: sum(dy * k for dy, k in zip(dys, (2, 3.03), strict=True) if dy is not None))
    with pytest.raises(mg.GradcheckError):
        mg.gradcheck(both, leaf(3))
    assert mg.gradcheck(lambda x: both(x)[0], leaf(3))


def test_a_history_that_is_cut_is_found():
    with pytest.raises(mg.GradcheckError):
        mg.gradcheck(lambda x: x * x.detach(), leaf(3))
    with pytest.raises(mg.GradcheckError):
        mg.gradcheck(lambda x: x.detach(), leaf(3))


def test_second_derivatives_that_are_wrong_pass_gradcheck_and_fail_gradgradcheck():
    frozen = mg.op(lambda x: (x * x * x, (mg.constant(x),)), name="frozen_cube")
    frozen.vjp(lambda dy, x: dy * (3 * x * x))
    x = leaf(3)
    assert mg.gradcheck(frozen, x)
    with pytest.raises(mg.GradcheckError, match="input 0"):
        mg.gradgradcheck(frozen, x)
    assert mg.gradgradcheck(frozen, x, raise_exception=False) is False


def test_gradgradcheck_finds_one_wrong_element_of_the_second_derivative():
    rule_of_rule = mg.op(lambda dy, x: (dy * 3 * x * x, (dy, x)), name="cube_gradient")

    @rule_of_rule.vjp
    def cube_gradient_vjp(g, dy, x):
        wrong = np.ones(x.shape)
        wrong[1] = 1.01
        return g * 3 * x * x, g * dy * x * (6 * wrong)

    op = cube("cube_with_its_gradient", lambda dy, x: rule_of_rule(dy, x))
    with pytest.raises(mg.GradcheckError, match=r"1 of 6 elements .*\n  input 0\[1\]"):
        mg.gradgradcheck(op, leaf(3))


def test_inputs_that_cannot_be_checked_are_errors():
    single = mg.tensor([1.0, 2.0], requires_grad=True)
    with pytest.raises(TypeError, match=r"need float64 inputs, got float32 as input 1; use \.double\(\)"):
        mg.gradcheck(lambda a, b: a * b, (leaf(2), single))
    with pytest.raises(ValueError, match="at least one input that requires grad"):
        mg.gradcheck(lambda a: a, np.ones(2))
    with pytest.raises(TypeError, match="need a function that returns tensors, got ndarray"):
        mg.gradcheck(lambda a: a.data, leaf(2))


def test_inputs_that_do_not_require_grad_may_have_any_dtype():
    index, single = mg.tensor([1, 0, 1]), mg.tensor([1.0, 2.0, 3.0])
    assert mg.gradcheck(lambda x, i, s: x[i] * s, (leaf(2), index, single))


def test_integer_outputs_are_passed_over():
    assert mg.gradcheck(lambda x: x.max(1), leaf(2, 3))


def test_inputs_are_left_as_they_were():
    x = leaf(2, 2)
    before = x.data.copy()
    mg.gradcheck(lambda x: x.exp(), x)
    mg.gradgradcheck(lambda x: x.exp(), x)
    np.testing.assert_array_equal(x.data, before)
    assert x.grad is None


def test_functions_that_differentiate_can_be_checked():
    def gradient(x):
        leaf = x.detach().requires_grad_() if not x.requires_grad else x
        (g,) = mg.grad((leaf**3).sum(), leaf, create_graph=True)
        return g

    assert mg.gradcheck(gradient, leaf(3))
    assert mg.gradgradcheck(gradient, leaf(3))


def test_shapes_without_dimensions_and_without_values():
    assert mg.gradcheck(lambda x: x * x, leaf())
    assert mg.gradgradcheck(lambda x: x * x, leaf())
    assert mg.gradcheck(lambda x: x * x, leaf(0, 2))
