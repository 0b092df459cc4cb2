"""What the tests of the gradient checker plant and ask."""

import numpy as np
import pytest

import minigrad as mg

RNG = np.random.default_rng(12)


def leaf(*shape, low=0.5, high=2.0):
    return mg.tensor(RNG.uniform(low, high, shape), requires_grad=True)


def zeros(*shape):
    return mg.tensor(np.zeros(shape), requires_grad=True)


def op(forward, rule, name="an_op"):
    made = mg.op(forward, name=name)
    made.vjp(rule)
    return made


def cube(rule, name="a_cube"):
    return op(lambda x: (x * x * x, (x,)), rule, name)


def spoilt(index, factor):
    """The rule of x^3 with one element wrong by a factor."""

    def rule(dy, x):
        wrong = np.ones(x.shape)
        wrong[index] = factor
        return dy * x * x * (3 * wrong)

    return rule


def failure(func, inputs, **how):
    """The report of a check that has to fail."""
    with pytest.raises(mg.GradcheckError) as caught:
        mg.gradcheck(func, inputs, **how)
    assert caught.value.report.verdict == "fail"
    return caught.value.report


def places(report):
    return {(element.input, element.input_index) for element in report.wrong}


def kinds(report):
    return [cause.kind for cause in report.causes]
