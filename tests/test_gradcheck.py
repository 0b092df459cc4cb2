"""The gradient checkers: they pass what is right, name what is slightly wrong, and say when they cannot tell."""

import pickle

import matplotlib as mpl
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

import minigrad as mg
from minigrad import functional as F, nn

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
    fast = failure(cube(spoilt(index, factor)), x, fast_mode=True)
    if np.isfinite(factor):
        assert places(fast) == {("x", index)}


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


CAUSES = {
    "sign": ("sign", lambda x: (x**2, (x,)), lambda dy, x: -2 * dy * x),
    "factor 2": ("factor", lambda x: (x**2, (x,)), lambda dy, x: 4 * dy * x),
    "missing mean": ("factor", lambda x: ((x**2).mean(0), (x,)), lambda dy, x: 2 * dy * x),
    "zeros": ("zero", lambda x: (x**2, (x,)), lambda dy, x: 0 * x),
    "flipped": ("flipped", lambda x: (x * np.arange(1, 4), (x,)), lambda dy, x: (dy * np.arange(1, 4))[..., ::-1]),
    "transposed": ("transposed", lambda x: (x * 2, ()), lambda dy: 2 * dy.T),
    "edge": ("edge", lambda x: (x * 3, ()), lambda dy: np.where(np.arange(3) < 2, 3.0, 0.0) * dy),
    "single": ("dtype", lambda x: (np.sin(x), (x,)), lambda dy, x: (dy * np.cos(x)).astype(np.float32)),
    "single forward": ("dtype", lambda x: (np.float64(np.sin(np.float32(x))), (x,)), lambda dy, x: dy * np.cos(x)),
    "not linear": ("nonlinear", lambda x: (x * 2.0, ()), lambda dy: 2 * dy * np.abs(dy)),
    "infinite": ("nonfinite", lambda x: (x * 2.0, ()), lambda dy: dy / 0),
    "misshapen": ("shape", lambda x: (x * 2.0, ()), lambda dy: dy[:, :1] * 2),
}  # fmt: skip


@pytest.mark.parametrize("name", CAUSES)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_causes_are_named(name):
    kind, forward, rule = CAUSES[name]
    assert kinds(failure(op(forward, rule), leaf(3, 3)))[0] == kind


def test_a_missing_mean_is_named_with_the_batch():
    report = failure(op(lambda x: ((x**2).mean(0), (x,)), lambda dy, x: 2 * dy * x), leaf(4, 3))
    (cause,) = report.causes
    assert cause.words == "the gradient by x is 4 times what it should be: a missing mean over the batch of 4?"


def test_a_missing_sum_over_a_broadcast_axis_is_named():
    wrong = op(lambda x, b: (x + b, (b.shape,)), lambda dy, shape: (dy, dy), "add_bias")
    (cause,) = failure(wrong, (leaf(2, 3), leaf(3))).causes
    assert cause.kind == "reduction"
    first = op(lambda x, b: (x + b, ()), lambda dy: (dy, dy[0]), "add_bias")
    (cause,) = failure(first, (leaf(2, 3), leaf(3))).causes
    assert cause == (
        "reduction",
        "the gradient by b is not summed over axis 0 of output: only its first element counts",
    )


def test_gradients_that_are_exchanged_are_named():
    wrong = op(lambda a, b: (a * b, (a, b)), lambda dy, a, b: (dy * a, dy * b))
    report = failure(wrong, (leaf(3), leaf(3)))
    assert [c.words for c in report.causes] == ["the gradient by a is that by b", "the gradient by b is that by a"]


def slide(x, w):
    return np.stack([np.correlate(row, w, "valid") for row in x])


@pytest.mark.parametrize(("mode", "kind"), [("right", None), ("flipped", "flipped"), ("overwritten", "overlap")])
def test_a_filter_that_is_flipped_or_overwrites_is_named(mode, kind):
    def rule(dy, x, w):
        dx = np.zeros(x.shape)
        for i in range(dy.shape[1]):
            for u in range(w.size):
                if mode == "overwritten":
                    dx[:, i + u] = dy[:, i] * w[u]
                else:
                    dx[:, i + u] += dy[:, i] * w[::-1][u] if mode == "flipped" else dy[:, i] * w[u]
        return dx, np.array([(dy * x[:, u : u + dy.shape[1]]).sum() for u in range(w.size)])

    inputs = leaf(2, 6), leaf(3)
    func = op(lambda x, w: (slide(x, w), (x, w)), rule)
    if kind is None:
        assert mg.gradcheck(func, inputs)
    else:
        assert kinds(failure(func, inputs)) == [kind]


def test_changes_in_place_are_found():
    def forward(x):
        x *= 2
        return x + 0, ()

    def rule(dy, x):
        x += 1
        return 2 * dy

    assert kinds(failure(op(forward, lambda dy: 2 * dy), leaf(3))) == ["inplace"]
    assert "inplace" in kinds(failure(op(lambda x: (x * 2, (x,)), rule), leaf(3)))


def test_results_that_differ_between_runs_are_found():
    rng = np.random.default_rng(1)
    noisy = op(lambda x: (x * 2, ()), lambda dy: dy * rng.choice([2.0, 2.1], dy.shape))
    assert "nondeterministic" in kinds(failure(noisy, leaf(9)))
    assert kinds(failure(lambda x: F.dropout(x, 0.5), leaf(30))) == ["nondeterministic"]


@pytest.mark.parametrize(
    ("func", "x"),
    [
        (F.relu, np.array([0.0, 1.0, -1.0, 0.0, -0.0])),
        (F.leaky_relu, np.array([0.0, 2.0])),
        (lambda x: F.max_pool2d(x, 2), np.zeros((1, 2, 4, 4))),
        (lambda x: F.max_pool2d(x, 3, 1), np.tile([1.0, 2.0], (1, 1, 6, 3))),
        (lambda x: x.max(1)[0], np.array([[1.0, 3.0, 3.0], [2.0, 2.0, 2.0]])),
        (lambda x: x.abs().sum(), np.array([0.0, 0.5, 0.0])),
        (lambda x: mg.maximum(x, x * 0 + 1), np.array([1.0, 2.0])),
    ],
)  # fmt: skip
def test_kinks_and_ties_are_no_mistakes_and_are_reported(func, x):
    report = mg.gradcheck(func, mg.tensor(x, requires_grad=True))
    assert report
    assert report.kinks
    assert "at a kink" in repr(report)


def test_at_a_kink_values_beyond_the_one_sided_derivatives_are_wrong():
    steep = op(lambda x: (np.maximum(x, 0), (x,)), lambda dy, x: dy * np.where(x > 0, 1, np.where(x == 0, 1.1, 0)))
    x = mg.tensor([0.0, 1.0, -1.0], dtype=np.float64, requires_grad=True)
    assert places(failure(steep, x)) == {("x", (0,))}


def test_kinks_near_the_point_are_stepped_around():
    x = mg.tensor([1e-3, -1e-4, 1.0, -1e-5], dtype=np.float64, requires_grad=True)
    report = mg.gradcheck(F.relu, x)
    assert report
    assert not report.kinks


def test_noise_that_hides_the_derivative_is_undecided_and_does_not_raise():
    def forward(x):
        return np.round(x * 1e3) / 1e3, ()  # steps that no difference over a short way sees through

    def noisy(x):
        return x + 1e-3 * np.sin(1e9 * x), (x,)

    report = mg.gradcheck(op(noisy, lambda dy, x: dy), leaf(3))
    assert report.verdict == "undecided"
    assert not report
    assert len(report.undecided) == 3
    assert "undecided" in repr(report)
    assert mg.gradcheck(op(forward, lambda dy: 0 * dy), leaf(2)).verdict in ("pass", "undecided")


@pytest.mark.parametrize("scale", [1e-6, 1e-2, 1.0, 1e3, 1e8])
def test_steps_follow_the_scale_of_the_input(scale):
    x = mg.tensor(RNG.uniform(0.5, 2, 5) * scale, requires_grad=True)
    for func in (mg.log, lambda x: x**3, lambda x: (x / scale).exp(), lambda x: x * 2):
        assert mg.gradcheck(func, x)
        assert mg.gradcheck(func, x, order=2)
    failure(op(lambda x: (np.log(x), (x,)), lambda dy, x: 1.01 * dy / x), x)


def test_linear_maps_are_checked_to_rounding():
    w = RNG.standard_normal((3, 4))
    off = w.copy()
    off[1, 2] *= 1 + 1e-8
    x = leaf(5, 4)
    report = failure(op(lambda x: (x @ w.T, ()), lambda dy: dy @ off), x, rtol=0.0)
    assert {element.input_index[1] for element in report.wrong} == {2}
    assert mg.gradcheck(op(lambda x: (x @ w.T, ()), lambda dy: dy @ w), x, rtol=0.0)


def test_domains_are_not_left():
    x = mg.tensor([1e-4, 0.9999, 0.5], dtype=np.float64, requires_grad=True)
    assert mg.gradcheck(lambda x: F.binary_cross_entropy(x, np.array([0.0, 1.0, 0.3])), x)
    assert mg.gradcheck(mg.log, x)
    assert mg.gradcheck(mg.asin, x)


def test_parameters_of_a_module_are_checked_by_name_and_left_alone():
    class Scaled(nn.Linear):
        def forward(self, x):
            return super().forward(x) + (self.bias.detach() - self.bias)

    layer = Scaled(3, 2).double()
    before = [p.data.copy() for p in layer.parameters()]
    report = failure(layer, leaf(4, 3))
    assert {name for name, _ in places(report)} == {"bias"}
    assert set(report.shapes) == {"x", "weight", "bias"} or set(report.shapes) == {"input", "weight", "bias"}
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
    for shape in [(), (3,), (2, 3)]:
        failure(cube(lambda dy, x: dy), leaf(*shape)).plot("x")


@pytest.mark.parametrize("power", [0.9, 0.99])
def test_the_stated_power_of_the_fast_mode_holds(power):
    """The bound is (3/4)^n for any pattern of errors; one wrong element alone is always seen."""
    w = RNG.standard_normal((6, 8))
    missed = runs = 0
    for seed in range(60):
        rng = np.random.default_rng(seed)
        off = w.copy()
        i, j = rng.integers(6), rng.integers(8)
        a, b = rng.choice(6, 2, replace=False), rng.choice(8, 2, replace=False)
        off[np.ix_(a, b)] += 0.01 * np.abs(w[i, j]) * np.array([[1, 1], [1, -1]])  # half of the signs cancel
        wrong = op(lambda x: (x @ w.T, ()), lambda dy, off=off: dy @ off)
        report = mg.gradcheck(wrong, leaf(1, 8), fast_mode=True, power=power, seed=seed, raise_exception=False)
        missed += report.verdict != "fail"
        runs += 1
    assert missed <= max(1, 3 * (1 - power) * runs)


def test_the_fast_mode_says_what_it_does_not_see():
    report = mg.gradcheck(lambda x: x * np.array([1.0, 1e-14]) + 1, leaf(2), fast_mode=True)
    assert "25 projections: an element wrong by 0.01 of itself is seen with probability 0.999" in repr(report)
    assert "by x; 1 inputs have smaller gradients, unchecked" in repr(report)
    for bad in ({"power": 1.0}, {"delta": 0.0}):
        with pytest.raises(ValueError, match="need delta and power between 0 and 1"):
            mg.gradcheck(lambda x: x, leaf(2), fast_mode=True, **bad)


@settings(max_examples=40)
@given(st.integers(0, 2**32 - 1), st.sampled_from([1.01, 0.0, -1.0, 1.5]))
def test_the_fast_mode_finds_one_wrong_weight_of_a_convolution(seed, factor):
    rng = np.random.default_rng(seed)
    x = mg.tensor(rng.standard_normal((2, 2, 5, 5)), requires_grad=True)
    w = mg.tensor(rng.standard_normal((3, 2, 3, 3)), requires_grad=True)
    place = tuple(int(rng.integers(n)) for n in w.shape)

    def rule(dy, x, w):
        with mg.enable_grad():
            leaves = [mg.tensor(a, requires_grad=True) for a in (x, w)]
            dx, dw = (g.data.copy() for g in mg.grad(F.conv2d(*leaves), leaves, dy))
        dw[place] *= factor
        return dx, dw

    def forward(x, w):
        return F.conv2d(x, w), (x, w)

    report = failure(op(forward, rule), (x, w), fast_mode=True, seed=seed)
    assert places(report) == {("w", place)}


def halves(*shape):
    return mg.tensor(RNG.standard_normal(shape), dtype=np.float32, requires_grad=True)


def test_float32_that_is_right_passes():
    xs = halves(2, 2, 5, 5), halves(3, 2, 3, 3)
    for func in (
        F.conv2d,
        lambda x, w: F.conv2d(x, w).relu(),
        lambda x, w: F.softmax(F.conv2d(x, w), 1),
        lambda x, w: x.exp() + w[0, 0, 0, 0],
    ):
        assert mg.gradcheck(func, xs)
    assert mg.gradcheck(F.conv2d, (halves(1, 16, 5, 5), halves(16, 16, 3, 3)))


def test_modules_in_float32_are_checked():
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.ReLU(), nn.Flatten(), nn.Linear(32, 3))
    assert mg.gradcheck(model, halves(2, 1, 6, 6))
    assert all(p.dtype == np.float32 for p in model.parameters())


@pytest.mark.parametrize("factor", [1.01, 0.0, -1.0])
def test_a_mistake_in_float32_alone_is_found_and_named(factor):
    def spoil(rule):
        def spoilt(dy, *saved):
            dx = rule(dy, *saved)
            if dx.dtype == np.float32:
                dx[1] *= np.float32(factor)
            return dx

        return spoilt

    linear = op(lambda x: (x * x.dtype.type(3), ()), spoil(lambda dy: dy * dy.dtype.type(3)))
    curved = op(lambda x: (x * x, (x,)), spoil(lambda dy, x: dy * x * x.dtype.type(2)))
    for func in (linear, curved):
        assert places(failure(func, halves(4))) == {("x", (1,))}


def test_linear_kernels_for_float32_alone_are_checked_by_their_transpose():
    def forward(x):
        if x.dtype != np.float32:
            raise TypeError("float32 only")
        return np.cumsum(x), ()

    def rule(dy):
        return np.cumsum(dy[::-1])[::-1].copy()

    x = halves(40)
    assert mg.gradcheck(op(forward, rule), x)
    report = failure(op(forward, lambda dy: rule(dy) * (1 + 0.01 * (np.arange(40) == 7)).astype(np.float32)), x)
    assert kinds(report)[0] == "adjoint"
    assert places(report) == {("x", (7,))}
    with pytest.raises(TypeError, match="the function is not linear in x, and cannot be computed in float64"):
        mg.gradcheck(op(lambda x: (forward(x)[0] ** 2, (x,)), lambda dy, x: dy), x)


def test_a_function_that_is_wrong_in_float32_alone_is_found():
    off = op(lambda x: (x * x if x.dtype == np.float64 else x * x * np.float32(1.1), (x,)), lambda dy, x: dy * (x + x))
    assert "values" in kinds(failure(off, halves(3)))


def test_forward_mode_is_compared_with_reverse_mode():
    assert mg.gradcheck(F.conv2d, (leaf(1, 2, 4, 4), leaf(2, 2, 3, 3)), check_forward_ad=True)
    frozen = op(lambda x: (x * 2.0, ()), lambda dy: 2 * np.abs(mg.as_tensor(dy).data) * np.sign(mg.as_tensor(dy).data))
    report = failure(frozen, leaf(3), check_forward_ad=True)
    assert "forward" in kinds(report)


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
