"""Filtering as in SciPy, and transposed convolutions as the adjoints of convolutions."""

import itertools

import numpy as np
import pytest
import scipy.signal
from hypothesis import given, settings, strategies as st

import minigrad as mg
from minigrad import functional as F
from minigrad.testing import conv_cases

RNG = np.random.default_rng(2)
SCIPY = {
    "convolve1d": scipy.signal.convolve,
    "correlate1d": scipy.signal.correlate,
    "convolve2d": scipy.signal.convolve2d,
    "correlate2d": scipy.signal.correlate2d,
}


def normal(*shape, dtype=np.float64):
    return RNG.standard_normal(shape).astype(dtype)


@pytest.mark.parametrize("mode", ["full", "same", "valid"])
@pytest.mark.parametrize("name", list(SCIPY))
def test_filtering_agrees_with_scipy(name, mode):
    """Filters larger than the image too, but for 'valid', where SciPy exchanges the two and minigrad refuses."""
    rank = int(name[-2])
    most = 7 if rank == 1 else 4
    for sizes in itertools.product(range(1, most), repeat=2 * rank):
        x, w = normal(*sizes[:rank]), normal(*sizes[rank:])
        if mode == "valid" and any(f > size for f, size in zip(w.shape, x.shape, strict=True)):
            with pytest.raises(ValueError, match=f"^{name}: a window of .* does not fit size"):
                getattr(F, name)(x, w, mode)
            continue
        expected = SCIPY[name](x, w, mode)
        found = getattr(F, name)(x, w, mode)
        assert found.shape == expected.shape
        np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-13, err_msg=f"{x.shape} {w.shape}")


@pytest.mark.parametrize("mode", ["full", "same", "valid"])
@pytest.mark.parametrize(("rank", "window"), [(1, (3,)), (1, (4,)), (2, (3, 1)), (2, (3, 5)), (2, (2, 4))])
def test_convolving_is_correlating_with_the_flipped_filter(rank, window, mode):
    x, w = normal(2, *(6,) * rank), normal(*window)
    flipped = np.flip(w)
    convolve, correlate = (getattr(F, f"{kind}{rank}d") for kind in ("convolve", "correlate"))
    if mode == "same" and rank == 2 and window == (2, 4):  # SciPy's correlate2d takes the later of two middles
        full = correlate(x, flipped, "full")
        np.testing.assert_array_equal(convolve(x, w, mode), full[:, 0:6, 1:7])
        np.testing.assert_array_equal(correlate(x, flipped, mode), full[:, 1:7, 2:8])
    else:
        np.testing.assert_array_equal(convolve(x, w, mode), correlate(x, flipped, mode))


@pytest.mark.parametrize("lead", [(), (0,), (3,), (2, 3)])
@pytest.mark.parametrize("name", list(SCIPY))
def test_a_stack_is_filtered_image_by_image(name, lead):
    rank = int(name[-2])
    x, w = normal(*lead, *(5,) * rank), normal(*(3,) * rank)
    y = getattr(F, name)(x, w)
    assert y.shape == (*lead, *(7,) * rank)
    for index in np.ndindex(*lead):
        np.testing.assert_array_equal(y[index], getattr(F, name)(x[index], w))


@pytest.mark.parametrize("mode", ["full", "same", "valid"])
@pytest.mark.parametrize("name", list(SCIPY))
def test_filtering_has_right_derivatives_to_second_order(name, mode):
    rank = int(name[-2])
    xs = [mg.tensor(normal(2, *(4,) * rank), requires_grad=True), mg.tensor(normal(*(2,) * rank), requires_grad=True)]
    mg.gradcheck(lambda x, w: getattr(F, name)(x, w, mode), xs)
    mg.gradgradcheck(lambda x, w: getattr(F, name)(x, w, mode), xs)


@pytest.mark.parametrize("name", list(SCIPY))
def test_filtering_refuses_in_its_own_name(name):
    rank = int(name[-2])
    function, x, w = getattr(F, name), normal(*(4,) * rank), normal(*(2,) * rank)
    for arguments, error, words in [
        ((x, w, "middle"), ValueError, "need mode 'full', 'same' or 'valid', got 'middle'"),
        ((x, w[None]), ValueError, "need input"),
        ((x, w.astype(np.float32)), TypeError, "float64 and float32"),
        ((x.astype(int), w.astype(int)), TypeError, "need float32 or float64, got int64"),
        ((x, w[:0]), ValueError, "kernel_size of at least 1"),
    ]:
        with pytest.raises(error, match=f"^{name}: .*{words}"):
            function(*arguments)


# Transposed convolutions


@st.composite
def transposed(draw):
    """A convolution whose output_padding says which of several input sizes it had."""
    case = draw(conv_cases(draw(st.integers(1, 2)), empty=False))
    extra = tuple((a.size + a.before + a.after - a.span) % a.stride for a in case.axes)
    return case.input_shape, case.weight_shape, case.settings, extra


@settings(max_examples=60)
@given(transposed())
def test_the_transposed_convolution_is_the_adjoint_and_restores_the_shape(case):
    x_shape, w_shape, kwargs, extra = case
    rank = len(w_shape) - 2
    x, w = mg.tensor(normal(*x_shape), requires_grad=True), normal(*w_shape)
    y = (F.conv1d, F.conv2d)[rank - 1](x, w, **kwargs)
    dy = normal(*y.shape)
    back = (F.conv_transpose1d, F.conv_transpose2d)[rank - 1](dy, w, output_padding=extra, **kwargs)
    assert back.shape == x_shape
    np.testing.assert_allclose(np.sum(x.data * back), np.sum(y.data * dy), rtol=1e-10, atol=1e-10)
    np.testing.assert_array_equal(mg.grad(y, x, dy)[0].numpy(), back)


@pytest.mark.parametrize("stride", [1, 2, 4])
def test_a_transposed_same_convolution_multiplies_sizes_by_the_stride(stride):
    x, w = normal(2, 3, 4, 5), normal(3, 2, 3, 2)
    y = F.conv_transpose2d(x, w, stride=stride, padding="same")
    assert y.shape == (2, 2, 4 * stride, 5 * stride)
    back = normal(*y.shape)
    np.testing.assert_allclose(
        np.sum(y * back), np.sum(x * F.conv2d(back, w, stride=stride, padding="same")), rtol=1e-10
    )


@pytest.mark.parametrize("rank", [1, 2])
def test_transposed_convolutions_have_right_derivatives_to_second_order(rank):
    function = (F.conv_transpose1d, F.conv_transpose2d)[rank - 1]
    shapes = (2, 4, *(3,) * rank), (4, 1, *(2,) * rank), (2,)
    xs = [mg.tensor(normal(*s), requires_grad=True) for s in shapes]
    settings_ = {"stride": 2, "padding": 1, "output_padding": 1, "groups": 2}
    mg.gradcheck(lambda *xs: function(*xs, **settings_), xs)
    mg.gradgradcheck(lambda *xs: function(*xs, **settings_), xs)


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"weight": normal(2, 3, 2, 2)}, ValueError, r"need input \(N, C, H, W\) and weight \(C, K/groups, FH, FW\)"),
        ({"groups": 2}, ValueError, "need groups that divide C = 3, got 2"),
        ({"groups": 1.0}, TypeError, "need groups as an integer"),
        ({"bias": normal(3)}, ValueError, r"need bias \(K\) = \(2,\), got \(3,\)"),
        ({"bias": normal(2, dtype=np.float32)}, TypeError, "float64 and float32"),
        ({"output_padding": 1}, ValueError, "output_padding smaller than stride"),
        ({"padding": 5}, ValueError, "gives output size -5"),
    ],
    ids=str,
)
def test_transposed_convolutions_refuse_in_their_own_name(change, error, words):
    arguments = {"input": normal(1, 3, 4, 4), "weight": normal(3, 2, 2, 2)} | change
    with pytest.raises(error, match=f"^conv_transpose2d: .*{words}"):
        F.conv_transpose2d(**arguments)
