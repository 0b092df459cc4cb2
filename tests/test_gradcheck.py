"""The gradient checkers: they pass what is right, and name what is slightly wrong."""

import pickle

import matplotlib as mpl
import numpy as np
import pytest
from gradchecks import RNG, cube, failure, kinds, leaf, op, places, spoilt, zeros

import minigrad as mg
from minigrad import nn


def test_right_rules_pass():
    right = cube(lambda dy, x: dy * x * x * 3)
    assert mg.gradcheck(right, leaf(2, 3))
    assert mg.gradgradcheck(right, leaf(2, 3))
    assert mg.gradcheck(right, leaf(2, 3), order=3)
    assert mg.gradcheck(lambda a, b: (a @ b, a.exp()), (leaf(2, 3), leaf(3, 2)))


@pytest.mark.parametrize("index", [(0, 0), (1, 2), (2, 1)])
@pytest.mark.parametrize("factor", [1.01, 0.99, 1.0001, 0.0, -1.0, np.nan, np.inf])
def test_one_element_that_is_wrong_is_found_and_named(index, factor):
    x = leaf(3, 3)
    report = failure(cube(spoilt(index, factor)), x)
    assert places(report) == {("x", index)}
    assert np.isnan(0 * factor) or len(report.wrong) == 1  # zeros of dy times NaN are NaN: a column of them
    element = next(e for e in report.wrong if e.output_index == index)
    assert element.numerical == pytest.approx(3 * x.data[index] ** 2, rel=1e-8)
    assert abs(element.numerical - 3 * x.data[index] ** 2) <= element.noise
    assert np.isclose(element.analytic, factor * 3 * x.data[index] ** 2, equal_nan=True)
    assert places(failure(cube(spoilt(index, factor)), x, fast_mode=True)) == {("x", index)}


def test_without_an_exception_the_report_comes_back_and_is_false():
    report = mg.gradcheck(cube(spoilt((0, 0), 2.0)), leaf(2, 2), raise_exception=False)
    assert not report
    assert report.verdict == "fail"
    assert report.checked == 16


def test_the_message_names_the_element_and_gives_both_numbers():
    b = mg.tensor([3.0, 2.0], dtype=np.float64, requires_grad=True)
    wrong = cube(spoilt(1, 2.0))
    report = failure(lambda a, b: a + wrong(b), (leaf(2), b))
    first, cause, head, row = repr(report).splitlines()
    assert first == "gradcheck: 1 of 8 elements is wrong"
    assert cause == "  likely cause: only the gradient by b[1] is wrong, 2 times what it should be"
    assert head.split() == "output by input gradient differences rel. error noise".split()
    assert row.split()[:5] == ["output[1]", "b[1]", "24", "12", "1.0e+00"]
    again = pickle.loads(pickle.dumps(mg.GradcheckError(report)))
    assert str(again) == repr(report) == repr(again.report)


def test_only_the_worst_of_many_are_shown():
    report = failure(cube(lambda dy, x: dy * 0), leaf(20))
    lines = repr(report).splitlines()
    assert lines[0] == "gradcheck: 20 of 400 elements are wrong, worst first"
    assert lines[-1] == "  and 15 more"
    assert len(lines) == 9
    errors = [abs(e.analytic - e.numerical) for e in report.wrong]
    assert errors == sorted(errors, reverse=True)


def test_errors_that_cancel_in_a_sum_are_found():
    permuted = op(lambda x: (x * 2.0, ()), lambda dy: dy[::-1] * 2.0)  # invisible behind sum(), where dy is all ones
    failure(permuted, leaf(4))
    failure(permuted, leaf(4), fast_mode=True)


def test_every_output_is_checked():
    def rule(dys):
        return sum(dy * k for dy, k in zip(dys, (2, 3.03), strict=True) if dy is not None)

    both = op(lambda x: ((x * 2, x * 3), ()), rule)
    assert {element.output for element in failure(both, leaf(3)).wrong} == {"output 1"}
    assert mg.gradcheck(lambda x: both(x)[0], leaf(3))


def test_a_history_that_is_cut_is_found():
    failure(lambda x: x * x.detach(), leaf(3))
    assert kinds(failure(lambda x: x.detach(), leaf(3))) == ["zero"]


def test_second_derivatives_that_are_wrong_pass_gradcheck_and_fail_gradgradcheck():
    frozen = op(lambda x: (x * x * x, (mg.constant(x),)), lambda dy, x: dy * (3 * x * x))
    x = leaf(3)
    assert mg.gradcheck(frozen, x)
    with pytest.raises(mg.GradcheckError, match="gradcheck of order 2: 3 of 18 elements") as caught:
        mg.gradgradcheck(frozen, x)
    assert {element.input for element in caught.value.report.wrong} == {"x"}
    assert {element.output for element in caught.value.report.wrong} == {"d/dx"}
    assert not mg.gradgradcheck(frozen, x, raise_exception=False)


def test_gradgradcheck_finds_one_wrong_element_of_the_second_derivative():
    def rule(g, dy, x):
        wrong = np.ones(x.shape)
        wrong[1] = 1.01
        return g * 3 * x * x, g * dy * x * (6 * wrong)

    gradient = op(lambda dy, x: (dy * 3 * x * x, (dy, x)), rule, "cube_gradient")
    report = failure(cube(lambda dy, x: gradient(dy, x)), leaf(3), order=2)
    assert places(report) == {("x", (1,))}


def test_parameters_of_a_module_are_checked_by_name_and_left_alone():
    class Scaled(nn.Linear):
        def forward(self, x):
            return super().forward(x) + (self.bias.detach() - self.bias)

    layer = Scaled(3, 2).double()
    before = [p.data.copy() for p in layer.parameters()]
    report = failure(layer, leaf(4, 3))
    assert {name for name, _ in places(report)} == {"bias"}
    assert list(report.shapes) == ["x", "weight", "bias"]
    assert all(p.grad is None for p in layer.parameters())
    for p, old in zip(layer.parameters(), before, strict=True):
        np.testing.assert_array_equal(p.data, old)


def test_models_pass_in_training_and_with_shared_parameters():
    model = nn.Sequential(
        nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(8, 3)
    )
    x = mg.tensor(RNG.standard_normal((2, 1, 6, 6)), requires_grad=True)
    statistics = model[1].running_mean.data.copy()
    assert mg.gradcheck(model.double(), x)
    assert mg.gradcheck(model, x, fast_mode=True)
    np.testing.assert_array_equal(model[1].running_mean.data, statistics)
    twice = nn.Sequential(layer := nn.Linear(3, 3).double(), nn.Tanh(), layer)
    assert set(mg.gradcheck(twice, leaf(2, 3), order=2).shapes) == {"input", "0.weight", "0.bias", "v"}


def test_the_error_map_and_its_picture_show_where():
    mpl.use("Agg")
    rule = spoilt((0, 1, 2, 3), 1.5)
    report = failure(cube(rule), leaf(1, 2, 4, 5))
    errors = report.error_map("x")
    assert errors.shape == (1, 2, 4, 5)
    assert errors[0, 1, 2, 3] == pytest.approx(0.5)
    assert np.count_nonzero(errors) == 1
    figure = report.plot()
    titles = [axis.get_title() for axis in figure.axes]
    assert titles[:2] == ["x[0, 0]", "x[0, 1]"]
    with pytest.raises(ValueError, match="error_map: need one of 'x', got 'y'"):
        report.error_map("y")
    with pytest.raises(ValueError, match="plot: y has no elements"):
        mg.gradcheck(lambda x, y: (x, y), (leaf(2), zeros(0, 3))).plot("y")
    for shape in [(), (3,), (2, 3)]:
        failure(cube(lambda dy, x: dy), leaf(*shape)).plot("x")


def test_inputs_that_cannot_be_checked_are_errors():
    single = mg.tensor([1.0, 2.0], requires_grad=True)
    with pytest.raises(TypeError, match=r"need float64 inputs for fast_mode, use \.double\(\)"):
        mg.gradcheck(lambda a, b: a * b, (single, single), fast_mode=True)
    with pytest.raises(ValueError, match="at least one input that requires grad"):
        mg.gradcheck(lambda a: a, np.ones(2))
    with pytest.raises(TypeError, match="need a function that returns tensors, got ndarray"):
        mg.gradcheck(lambda a: a.data, leaf(2))
    with pytest.raises(ValueError, match="need order of at least 1, got 0"):
        mg.gradcheck(lambda a: a, leaf(2), order=0)


def test_inputs_that_do_not_require_grad_may_have_any_dtype():
    index, single = mg.tensor([1, 0, 1]), mg.tensor([1.0, 2.0, 3.0])
    assert mg.gradcheck(lambda x, i, s: x[i] * s, (leaf(2), index, single))


def test_integer_outputs_are_passed_over():
    assert mg.gradcheck(lambda x: x.max(1), leaf(2, 3))
    assert mg.gradcheck(lambda x: x.argmax(1), leaf(2, 3))


def test_inputs_are_left_as_they_were():
    x = leaf(2, 2)
    before = x.data.copy()
    mg.gradcheck(lambda x: x.exp(), x)
    mg.gradgradcheck(lambda x: x.exp(), x)
    mg.gradcheck(lambda x: x.exp(), x, fast_mode=True)
    np.testing.assert_array_equal(x.data, before)
    assert x.grad is None


def test_functions_that_differentiate_can_be_checked():
    def gradient(x):
        leaf = x.detach().requires_grad_() if not x.requires_grad else x
        (g,) = mg.grad((leaf**3).sum(), leaf, create_graph=True)
        return g

    assert mg.gradcheck(gradient, leaf(3))
    assert mg.gradgradcheck(gradient, leaf(3))


def test_an_infinite_element_does_not_hide_a_small_error_beside_it():
    factors = np.array([1.0, np.inf, 1 + 1e-7])
    rule = op(lambda x: (np.asarray((x * x).sum()), (x,)), lambda dy, x: 2 * dy * x * factors)
    report = failure(rule, mg.tensor([1.0, 2.0, 3.0], dtype=np.float64, requires_grad=True))
    assert [element.input_index for element in report.wrong] == [(1,), (2,)]


@pytest.mark.parametrize("fast_mode", [False, True])
def test_shapes_without_dimensions_and_without_values(fast_mode):
    for shape in [(), (0, 2), (1,)]:
        assert mg.gradcheck(lambda x: x * x, leaf(*shape), fast_mode=fast_mode)
        assert mg.gradcheck(lambda x: x * x, leaf(*shape), order=2, fast_mode=fast_mode)
    assert mg.gradcheck(lambda x: x.sum(), zeros(0), fast_mode=fast_mode)
    assert mg.gradcheck(lambda x, y: (x * 2, y), (zeros(0, 3), leaf(2)), fast_mode=fast_mode)


def test_read_only_and_strided_inputs_can_be_checked():
    array = RNG.standard_normal((4, 6))
    array.flags.writeable = False
    x = mg.as_tensor(array[::2, ::-1]).requires_grad_()
    assert mg.gradcheck(lambda x: x.exp(), x)


def test_the_callers_tolerances_and_step_are_kept():
    slightly_wrong, x = cube(spoilt(1, 1.001)), mg.tensor([1.0, 2.0], dtype=np.float64, requires_grad=True)
    failure(slightly_wrong, x)
    assert mg.gradcheck(slightly_wrong, x, rtol=2e-3)
    assert mg.gradcheck(slightly_wrong, x, atol=0.02)
    seen = []
    mg.gradcheck(lambda x: seen.append(x.data.copy()) or x.exp(), x, eps=1e-5)
    assert {round(float(step), 12) for y in seen for step in np.abs(y - x.data)} >= {1e-5}
