"""Pooling at its corners: ties, padding, overhang, NaN, unpooling, averages and their divisors."""

import numpy as np
import pytest
import reference
from hypothesis import given, settings, strategies as st

import minigrad as mg
from minigrad import functional as F
from minigrad.ops.geometry import window_axes
from minigrad.ops.pool import Span
from minigrad.testing import conv_cases, pool_cases

RNG = np.random.default_rng(3)
MAX, AVG, UNPOOL = ({1: getattr(F, f"{n}1d"), 2: getattr(F, f"{n}2d")} for n in ("max_pool", "avg_pool", "max_unpool"))


def normal(*shape, dtype=np.float64):
    return RNG.standard_normal(shape).astype(dtype)


def gradient(function, x, dy):
    x = mg.tensor(x, requires_grad=True)
    return mg.grad(function(x), x, dy)[0].numpy()


def poolings(**about):
    """Geometries in one and in two dimensions, with padding up to the window's span, more than PyTorch's half."""
    return st.integers(1, 2).flatmap(lambda rank: pool_cases(rank, max_size=6, max_batch=2, asymmetric=True, **about))


@settings(max_examples=25)
@given(poolings(), st.booleans())
def test_max_pooling_agrees_with_the_reference_in_values_indices_and_gradients(case, ties):
    x = (RNG.integers(-1, 2, case.input_shape) if ties else normal(*case.input_shape)).astype(case.dtype)
    y, indices = MAX[case.rank](x, return_indices=True, **case.settings)
    right, winners = reference.max_pool(x, axes=case.axes)
    np.testing.assert_array_equal(y, right)
    np.testing.assert_array_equal(indices, winners)
    dy = RNG.integers(-9, 10, y.shape).astype(case.dtype)
    dx = gradient(lambda x: MAX[case.rank](x, **case.settings), x, dy)
    assert (y.dtype, indices.dtype, dx.dtype) == (case.dtype, np.int64, case.dtype)
    np.testing.assert_array_equal(dx, reference.max_unpool(dy, winners, sizes=case.sizes))


@settings(max_examples=25)
@given(conv_cases(1, asymmetric=True), st.booleans())
def test_max_pooling_refuses_a_window_that_sees_only_padding_and_no_other(case, ceil_mode):
    """A convolution takes such windows."""
    axes = window_axes("test", case.sizes, case.kernel_size, case.stride, case.padding, case.dilation, ceil_mode)
    (axis,) = axes
    about = {"stride": case.stride, "padding": case.padding, "dilation": case.dilation, "ceil_mode": ceil_mode}
    if max(axis.before, axis.after) >= axis.span:
        words = "need padding smaller than the window"
    elif not all(any(reference.cells(axes, place)) for place in reference.windows(axes)):
        words = "window .* sees only padding: size"
    else:
        assert F.max_pool1d(case.input(), case.kernel_size, **about).shape[2:] == (axis.out,)
        return
    with pytest.raises(ValueError, match=f"^max_pool1d: {words}"):
        F.max_pool1d(case.input(), case.kernel_size, **about)


def test_overlapping_windows_add_their_gradients_at_a_shared_winner():
    dx = gradient(lambda x: F.max_pool1d(x, 2, 1), np.array([[[1.0, 5.0, 2.0, 3.0]]]), np.array([[[10.0, 20.0, 4.0]]]))
    np.testing.assert_array_equal(dx, [[[0, 30, 0, 4]]])


def test_the_first_maximum_wins_a_tie_and_gets_the_whole_gradient():
    dx = gradient(lambda x: F.max_pool2d(x, 2), np.zeros((1, 1, 2, 2)), np.array([[[[3.5]]]]))
    np.testing.assert_array_equal(dx, [[[[3.5, 0], [0, 0]]]])


def test_windows_of_minus_infinity_have_a_winner_in_the_input_and_the_first_nan_wins():
    x = np.full((1, 1, 2, 3), -np.inf)
    y, indices = F.max_pool2d(x, 2, 2, padding=1, return_indices=True)
    assert (y == -np.inf).all()
    np.testing.assert_array_equal(indices, [[[[0, 1], [3, 4]]]])
    x[0, 0, 0] = [np.inf, np.nan, np.nan]
    y, indices = F.max_pool2d(x, (1, 3), return_indices=True)
    np.testing.assert_array_equal(y, [[[[np.nan], [-np.inf]]]])
    np.testing.assert_array_equal(indices, [[[[1], [3]]]])
    assert gradient(lambda x: F.max_pool2d(x, (1, 3)), x, np.array([[[[2.0], [3.0]]]])).tolist() == [
        [[[0, 2, 0], [3, 0, 0]]]
    ]


def test_a_window_that_sees_only_padding_is_refused_where_pytorch_writes_outside_its_memory():
    with pytest.raises(ValueError, match=r"^max_pool2d: window 0 of 1 sees only padding: size 1, kernel_size 3, str"):
        F.max_pool2d(normal(4, 4, 1, 17), (3, 1), (3, 1), (1, 0), (2, 1), ceil_mode=True)


def test_padding_may_be_anything_smaller_than_the_dilated_window():
    x = normal(1, 1, 4)
    np.testing.assert_array_equal(F.max_pool1d(x, 3, 1, ((2, 2),))[..., [0, -1]], x[..., [0, -1]])
    assert F.max_pool1d(x, 2, 1, ((3, 3),), 3).shape == (1, 1, 7)
    assert F.avg_pool1d(x, 3, 1, ((2, 0),)).shape == (1, 1, 4)
    for function in (F.max_pool1d, F.avg_pool1d):
        with pytest.raises(ValueError, match=rf"^{function.__name__}: need padding smaller than the window \(span 3\)"):
            function(x, 3, 1, ((0, 3),))


@settings(max_examples=25)
@given(poolings(max_dilation=1), st.booleans(), st.sampled_from([None, None, 1, 3, -2]))
def test_average_pooling_divides_by_what_it_says(case, count_include_pad, divisor):
    """The divisor: all of the window that lies in the padded input, or in the input, or a number given."""
    rank, axes, x = case.rank, case.axes, normal(*case.input_shape)
    y = AVG[rank](x, count_include_pad=count_include_pad, divisor_override=divisor, **case.settings)
    assert y.shape == case.output_shape
    pads = [(a.before, a.after) for a in axes]
    padded = np.pad(x, [(0, 0), (0, 0), *pads])
    inside = np.pad(np.ones(case.sizes), [p if count_include_pad else (0, 0) for p in pads], constant_values=1)
    counted = inside if count_include_pad else np.pad(np.ones(case.sizes), pads)
    for place in reference.windows(axes):
        region = tuple(
            slice(o * a.stride, o * a.stride + a.window) for o, a in zip(place, axes, strict=True)
        )  # past the end NumPy stops, as does what counts in ceil mode
        count = counted[region].sum() if divisor is None else divisor
        total = padded[(..., *region)].sum(tuple(range(2, rank + 2)))
        np.testing.assert_allclose(y[(..., *place)], total / count, rtol=1e-12, atol=1e-13)


def test_an_overhanging_average_counts_its_padding_but_not_what_lies_behind():
    x = np.ones((1, 1, 5))
    np.testing.assert_allclose(F.avg_pool1d(x, 3, 2, 1, ceil_mode=True), [[[2 / 3, 1, 2 / 3]]])
    np.testing.assert_allclose(F.avg_pool1d(x, 4, 3, 1, ceil_mode=True), [[[3 / 4, 3 / 4]]])
    np.testing.assert_allclose(F.avg_pool1d(x[..., :4], 3, 2, 0, ceil_mode=True), [[[1, 1]]])
    # The last window starts in the padding before nothing: it is dropped.
    assert F.avg_pool1d(x[..., :4], 2, 3, 1, ceil_mode=True).shape == (1, 1, 2)


@pytest.mark.parametrize(
    ("starts", "stops", "words"),
    [
        ([-1, 2], [2, 4], "within"),
        ([0, 2], [2, 5], "within"),
        ([3], [2], "within"),
        ([2, 0], [4, 4], "in order"),
        ([0, 1], [4, 3], "in order"),
        ([0], [2, 3], "one length"),
        ([], [], "at least 1"),
        ([0.0], [1.0], "int64"),
    ],
)
def test_windows_that_kernels_could_not_follow_are_refused(starts, stops, words):
    arrays = [np.array(a, float if a and isinstance(a[0], float) else np.int64) for a in (starts, stops, starts)]
    with pytest.raises(ValueError, match=f"^span: need .*{words}"):
        Span(4, *arrays)


@settings(max_examples=30)
@given(st.integers(1, 9), st.integers(1, 9), st.sampled_from([np.float32, np.float64]))
def test_adaptive_averages_cover_the_input_in_nearly_equal_windows(size, out, dtype):
    x = normal(2, 3, size, 4, dtype=dtype)
    y = F.adaptive_avg_pool2d(x, (out, None))
    assert y.shape == (2, 3, out, 4)
    assert y.dtype == dtype
    for o in range(out):
        mean = x[:, :, o * size // out : -(-(o + 1) * size // out)].mean(2)
        np.testing.assert_allclose(y[:, :, o], mean, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(F.adaptive_avg_pool1d(x[..., 0], out), F.adaptive_avg_pool2d(x, (out, None))[..., 0])


@pytest.mark.parametrize("batch", [0, 1, 3])
def test_the_global_average_is_the_mean_of_each_channel(batch):
    x = normal(batch, 2, 3, 4)
    np.testing.assert_allclose(F.global_avg_pool2d(x), x.mean((2, 3), keepdims=True), atol=1e-15)
    np.testing.assert_allclose(F.global_avg_pool1d(x[..., 0]), x[..., 0].mean(2, keepdims=True), atol=1e-15)
    dy = normal(batch, 2, 1, 1)
    np.testing.assert_allclose(gradient(F.global_avg_pool2d, x, dy), np.broadcast_to(dy / 12, x.shape), atol=1e-15)


@settings(max_examples=25)
@given(poolings(max_dilation=1))
def test_unpooling_puts_the_values_of_disjoint_windows_back_where_they_were(case):
    x = normal(*case.input_shape)
    window = {"kernel_size": case.kernel_size, "padding": case.padding}  # side by side: no cell wins twice
    y, indices = MAX[case.rank](x, return_indices=True, **window, ceil_mode=case.ceil_mode)
    back = UNPOOL[case.rank](y, indices, **window, output_size=x.shape)
    assert back.shape == x.shape
    kept = back != 0
    np.testing.assert_array_equal(back[kept], x[kept])
    np.testing.assert_array_equal(np.sort(back[kept]), np.sort(y.ravel()))


def test_where_values_meet_in_unpooling_the_last_one_stays_and_alone_gets_a_gradient():
    y, indices = np.array([[[1.0, 2.0, 3.0]]]), np.array([[[1, 1, 4]]])
    np.testing.assert_array_equal(F.max_unpool1d(y, indices, 2), [[[0, 2, 0, 0, 3, 0]]])
    dx = gradient(lambda y: F.max_unpool1d(y, indices, 2), y, np.array([[[9.0, 8, 7, 6, 5, 4]]]))
    np.testing.assert_array_equal(dx, [[[0, 8, 5]]])


def test_unpooling_takes_its_size_from_the_window_or_from_the_caller():
    y, indices = F.max_pool2d(normal(2, 1, 4, 6), 2, return_indices=True)
    assert F.max_unpool2d(y, indices, 2).shape == (2, 1, 4, 6)
    y, indices = F.max_pool2d(normal(2, 1, 5, 7), 2, return_indices=True)
    assert F.max_unpool2d(y, mg.tensor(indices), 2, output_size=(5, 7)).shape == (2, 1, 5, 7)
    assert F.max_unpool2d(y, indices, 2, output_size=(2, 1, 5, 7)).shape == (2, 1, 5, 7)
    y, indices = F.max_pool1d(normal(1, 1, 1), 2, padding=((0, 1),), return_indices=True)
    assert F.max_unpool1d(y, indices, 2, padding=((0, 1),)).shape == (1, 1, 1)
    assert F.max_unpool1d(normal(0, 2, 3), np.zeros((0, 2, 3), int), 2).shape == (0, 2, 6)


@pytest.mark.parametrize(
    ("indices", "kwargs", "error", "words"),
    [
        (np.array([[[0, 6]]]), {}, ValueError, r"indices in \[0, 4\) for sizes \(4,\), got 0 to 6"),
        (np.array([[[-1, 2]]]), {}, ValueError, r"indices in \[0, 4\) .* got -1 to 2"),
        (np.array([[[0, 2]]], np.int32), {}, TypeError, "indices as int64, got int32"),
        (np.array([[[0.0, 2]]]), {}, TypeError, "indices as int64, got float64"),
        (np.array([[[0]]]), {}, ValueError, r"indices of input's shape \(1, 1, 2\), got \(1, 1, 1\)"),
        (np.array([[[0, 2]]]), {"output_size": (7,)}, ValueError, r"output_size within a stride \(2,\) of \(4,\)"),
        (np.array([[[0, 2]]]), {"output_size": 2.5}, TypeError, "output_size as integers"),
        (np.array([[[0, 2]]]), {"padding": "same"}, ValueError, "padding as numbers"),
        (np.array([[[0, 2]]]), {"padding": 2}, ValueError, "at least 1 .* got output size"),
    ],
)
def test_unpooling_checks_what_kernels_would_follow_into_memory(indices, kwargs, error, words):
    with pytest.raises(error, match=f"^max_unpool1d: .*{words}"):
        F.max_unpool1d(np.ones((1, 1, 2)), indices, 2, **kwargs)


def test_an_op_refuses_winners_outside_its_memory():
    for name in ("max_unpool2d", "max_pick2d"):
        for bad in (-1, 4):
            kwargs = {"sizes": (2, 2)} if name == "max_unpool2d" else {}
            x = np.ones((1, 1, 1, 1)) if name == "max_unpool2d" else np.ones((1, 1, 2, 2))
            with pytest.raises(ValueError, match=rf"^{name}: need indices in \[0, 4\)"):
                mg.OPS[name](x, np.full((1, 1, 1, 1), bad), **kwargs)


@pytest.mark.parametrize(
    "function",
    [
        lambda x: F.max_pool2d(x, (3, 2), (2, 1), 1),
        lambda x: F.avg_pool2d(x, 3, 2, 1, ceil_mode=True, count_include_pad=False),
        lambda x: F.adaptive_avg_pool2d(x, 3),
        lambda x: F.max_unpool2d(*F.max_pool2d(x, 2, return_indices=True), 2, output_size=(4, 5)),
        lambda x: F.max_unpool2d(F.max_pool2d(x, 2), np.array([[[[0, 1], [7, 1]]] * 2]), 2),
    ],
    ids=["max", "average", "adaptive", "unpool", "unpool with duplicates"],
)
def test_second_derivatives_agree_with_differences(function):
    x = mg.tensor(RNG.permutation(40.0 * np.arange(2 * 4 * 5) / 40).reshape(1, 2, 4, 5), requires_grad=True)
    mg.gradcheck(lambda x: function(x) * function(x), [x], eps=1e-4)
    mg.gradgradcheck(lambda x: function(x) * function(x), [x], eps=1e-4)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda x: F.max_pool2d(x, 5), "max_pool2d: a window of 5 cells"),
        (lambda x: F.avg_pool2d(x, 5), "avg_pool2d: a window of 5 cells"),
        (lambda x: F.avg_pool2d(x, 2, divisor_override=0), "avg_pool2d: need divisor_override other than 0"),
        (lambda x: F.adaptive_avg_pool2d(x, (1, 2, 3)), "adaptive_avg_pool2d: need output_size as one number or 2"),
        (lambda x: F.adaptive_avg_pool2d(x, 0), "adaptive_avg_pool2d: need output_size of at least 1"),
        (lambda x: F.global_avg_pool1d(x), r"global_avg_pool1d: need input \(N, C, L\), got \(1, 1, 4, 4\)"),
        (lambda x: F.global_avg_pool2d(x[:, :, :0]), "global_avg_pool2d: need at least one cell"),
        (lambda x: F.max_pool2d(x[:, :, :0], 1), "max_pool2d: .* does not fit size 0"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(call, words):
    with pytest.raises(ValueError, match=f"^{words}"):
        call(normal(1, 1, 4, 4))
