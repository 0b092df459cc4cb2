"""Linear maps, embeddings, padding, one-hot codes and resizing."""

import numpy as np
import pytest
from hypothesis import given, strategies as st

import minigrad as mg
from minigrad import functional as F

RNG = np.random.default_rng(9)


def normal(*shape, dtype=np.float64):
    return RNG.standard_normal(shape).astype(dtype)


def gradient(function, x, dy):
    x = mg.tensor(x, requires_grad=True)
    return mg.grad(function(x), x, dy)[0].numpy()


@given(st.lists(st.integers(0, 3), max_size=3), st.integers(0, 3), st.integers(0, 3), st.booleans())
def test_linear_takes_any_leading_dimensions(lead, c, k, with_bias):
    x, w, b = normal(*lead, c), normal(k, c), normal(k) if with_bias else None
    expected = np.einsum("...c,kc->...k", x, w) + (0 if b is None else b)
    np.testing.assert_allclose(F.linear(x, w, b), expected, rtol=1e-12, atol=1e-13)


def test_an_embedding_picks_rows_and_sums_their_gradients_but_for_the_padding():
    weight, numbers = normal(5, 2), np.array([[1, 4], [1, 0]], np.uint8)
    np.testing.assert_array_equal(F.embedding(numbers, weight), weight[numbers])
    dy = normal(2, 2, 2)
    dw = gradient(lambda w: F.embedding(mg.tensor(numbers), w, padding_idx=-1), weight, dy)
    np.testing.assert_allclose(dw, [dy[1, 1], dy[0, 0] + dy[1, 0], [0, 0], [0, 0], [0, 0]])
    np.testing.assert_array_equal(F.embedding(numbers, weight, padding_idx=4), weight[numbers])


PADS = {"constant": "constant", "reflect": "reflect", "replicate": "edge", "circular": "wrap"}


@pytest.mark.parametrize("mode", list(PADS))
@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2)), min_size=1, max_size=3))
def test_pad_modes_are_numpys_with_the_last_dimension_first(mode, pairs):
    x = normal(3, 4, 3)
    widths = [(0, 0)] * (3 - len(pairs)) + pairs[::-1]
    y = F.pad(x, [w for p in pairs for w in p], mode)
    np.testing.assert_array_equal(y, np.pad(x, widths, PADS[mode]))


@pytest.mark.parametrize("mode", list(PADS))
def test_padding_has_right_derivatives(mode):
    x = mg.tensor(normal(2, 3, 4), requires_grad=True)
    mg.gradcheck(lambda x: F.pad(x, (2, 1, 0, 2), mode), [x])
    mg.gradgradcheck(lambda x: F.pad(x, (2, 1, 0, 2), mode) ** 2, [x])


def test_padding_with_a_value_and_cutting_off():
    np.testing.assert_array_equal(F.pad(np.array([1.0, 2, 3]), (-1, 2), value=7.5), [2, 3, 7.5, 7.5])
    np.testing.assert_array_equal(F.pad(np.ones((2, 1), int), (1, 0)), [[0, 1], [0, 1]])


def test_one_hot_codes_have_their_one_at_the_number():
    numbers = RNG.integers(0, 4, (2, 3))
    np.testing.assert_array_equal(F.one_hot(numbers, 6), np.eye(6, dtype=int)[numbers])
    assert F.one_hot(np.array([0, 2])).shape == (2, 3)
    assert F.one_hot(np.array(3, np.uint8)).tolist() == [0, 0, 0, 1]
    assert F.one_hot(np.zeros((0, 2), int), 3).shape == (0, 2, 3)


# Resizing


@given(st.integers(1, 6), st.integers(1, 9))
def test_nearest_takes_the_cell_below_the_exact_quotient(size, out):
    x = normal(2, 1, size)
    expected = [x[..., i * size // out] for i in range(out)]
    np.testing.assert_array_equal(F.interpolate(x, out), np.stack(expected, -1))


@given(st.integers(1, 6), st.integers(1, 9), st.booleans())
def test_linear_interpolation_is_exact_for_lines(size, out, align_corners):
    x = 2.0 * np.arange(size)[None, None] + 1
    if align_corners:
        places = np.linspace(0, size - 1, out) if out > 1 else np.zeros(1)
    else:
        places = np.clip((np.arange(out) + 0.5) * size / out - 0.5, 0, size - 1)
    y = F.interpolate(x, out, mode="linear", align_corners=align_corners)
    np.testing.assert_allclose(y[0, 0], 2 * places + 1, rtol=1e-12)


@pytest.mark.parametrize("mode", ["nearest", "bilinear", "area"])
def test_resizing_by_one_changes_nothing_and_by_a_factor_gives_the_floor(mode):
    x = normal(1, 2, 3, 4)
    np.testing.assert_allclose(F.interpolate(x, (3, 4), mode=mode), x)
    assert F.interpolate(x, scale_factor=(1.5, 2), mode=mode).shape == (1, 2, 4, 8)
    if mode == "area":
        np.testing.assert_allclose(F.interpolate(x, (1, 2), mode=mode), F.adaptive_avg_pool2d(x, (1, 2)))


@pytest.mark.parametrize("mode", ["nearest", "bilinear", "area"])
def test_resizing_has_right_derivatives(mode):
    x = mg.tensor(normal(1, 2, 3, 4), requires_grad=True)
    for size in ((2, 3), (5, 7)):
        mg.gradcheck(lambda x, size=size: F.interpolate(x, size, mode=mode), [x])
        mg.gradgradcheck(lambda x, size=size: F.interpolate(x, size, mode=mode) ** 2, [x])


IMAGE, WEIGHT = normal(1, 1, 2, 2), normal(3, 2)


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: F.linear(normal(4, 3), WEIGHT), ValueError, r"linear: need input \(..., 2\) and weight \(K, C\)"),
        (lambda: F.linear(normal(4, 2), normal(2)), ValueError, "linear: need input"),
        (
            lambda: F.linear(normal(4, 2), WEIGHT, normal(2)),
            ValueError,
            r"linear: need bias \(K\) = \(3,\), got \(2,\)",
        ),
        (lambda: F.embedding(np.array([3]), WEIGHT), ValueError, r"embedding: need numbers in \[0, 3\), got 3 to 3"),
        (lambda: F.embedding(np.array([-1]), WEIGHT), ValueError, r"embedding: need numbers in \[0, 3\), got -1 to -1"),
        (lambda: F.embedding(np.array([1.0]), WEIGHT), TypeError, "embedding: need integers, got float64"),
        (lambda: F.embedding(np.array([1]), WEIGHT[0]), ValueError, r"embedding: need weight \(V, D\), got \(2,\)"),
        (lambda: F.embedding(np.array([1]), WEIGHT, 3), ValueError, r"embedding: need padding_idx in \[-3, 3\), got 3"),
        (lambda: F.embedding(np.array([1]), WEIGHT, 1.5), TypeError, "embedding: need padding_idx as an integer"),
        (lambda: F.pad(WEIGHT, (1,)), ValueError, r"pad: need pairs of widths, for at most 2 dimensions, got \(1,\)"),
        (lambda: F.pad(WEIGHT, 1), ValueError, "pad: need pairs of widths"),
        (lambda: F.pad(WEIGHT, (1, 1) * 3), ValueError, "pad: need pairs of widths, for at most 2 dimensions"),
        (lambda: F.pad(WEIGHT, (1, 1.5)), TypeError, "pad: need widths as integers, got 1.5"),
        (lambda: F.pad(WEIGHT, (-2, -1)), ValueError, "pad: widths .* cut off more than there is"),
        (lambda: F.pad(WEIGHT, (2, 0), "reflect"), ValueError, r"pad: mode 'reflect' takes widths from 0 to 1"),
        (lambda: F.pad(WEIGHT, (3, 0), "circular"), ValueError, r"pad: mode 'circular' takes widths from 0 to 2"),
        (lambda: F.pad(WEIGHT, (-1, 0), "replicate"), ValueError, "pad: mode 'replicate' takes widths from 0"),
        (lambda: F.pad(WEIGHT, (1, 0), "edge"), ValueError, "pad: need mode 'constant', .* got 'edge'"),
        (lambda: F.one_hot(np.array([3]), 3), ValueError, r"one_hot: need numbers in \[0, 3\), got 3 to 3"),
        (lambda: F.one_hot(np.array([-2])), ValueError, r"one_hot: need numbers in \[0, 1\), got -2 to -2"),
        (lambda: F.one_hot(np.array([1.0])), TypeError, "one_hot: need integers, got float64"),
        (lambda: F.one_hot(np.array([], int)), ValueError, "one_hot: need num_classes where there are no numbers"),
        (lambda: F.one_hot(np.array([1]), 0), ValueError, "one_hot: need num_classes of at least 1"),
        (lambda: F.interpolate(IMAGE), ValueError, "interpolate: need either size or scale_factor"),
        (lambda: F.interpolate(IMAGE, 2, 2), ValueError, "interpolate: need either size or scale_factor"),
        (lambda: F.interpolate(IMAGE, 2, mode="linear"), ValueError, "interpolate: need mode .* got 'linear'"),
        (lambda: F.interpolate(IMAGE, 0), ValueError, "interpolate: need size of at least 1"),
        (lambda: F.interpolate(IMAGE, (1, 2, 3)), ValueError, "interpolate: need one size or scale_factor, or 2"),
        (lambda: F.interpolate(IMAGE, scale_factor=0.1), ValueError, "interpolate: need size of at least 1"),
        (lambda: F.interpolate(IMAGE, scale_factor=np.inf), ValueError, "interpolate: need finite scale_factor"),
        (lambda: F.interpolate(IMAGE[:, :, :0], 2), ValueError, "interpolate: need at least one cell"),
        (lambda: F.interpolate(IMAGE, 2, align_corners=True), ValueError, "interpolate: align_corners goes with"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(call, error, words):
    with pytest.raises(error, match=f"^{words}"):
        call()


def test_pad_fills_with_zeros_where_no_value_is_given():
    np.testing.assert_array_equal(F.pad(np.ones(1), (1, 0), "constant", None), [0, 1])
    np.testing.assert_array_equal(F.pad(np.ones(1, int), (0, 1), value=None), [1, 0])
