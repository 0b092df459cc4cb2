"""Where windows stand: output sizes by formula against windows counted one by one, paddings, and what is refused."""

import itertools
import math

import numpy as np
import pytest
import reference
from hypothesis import given, settings, strategies as st

from minigrad import functional as F
from minigrad.ops.geometry import LARGEST, transposed_axes, window_axes

SMALL = {
    "size": range(1, 10),
    "window": range(1, 5),
    "stride": range(1, 6),
    "before": range(3),
    "after": range(3),
    "dilation": range(1, 3),
}


def pytorch_rule(size, window, stride, before, after, dilation, ceil_mode):
    """`pooling_output_shape` of PyTorch, term by term."""
    room = size + before + after - dilation * (window - 1) - 1
    out = (room + (stride - 1 if ceil_mode else 0)) // stride + 1
    if ceil_mode and (out - 1) * stride >= size + before:
        out -= 1
    return max(out, 0)


@pytest.mark.parametrize("ceil_mode", [False, True])
def test_the_oracle_counts_windows_as_pytorch_computes_them(ceil_mode):
    for setting in itertools.product(*SMALL.values()):
        if setting[4] <= setting[5] * (setting[1] - 1):  # padding behind smaller than the window's span
            counted = reference.output_size(*setting, ceil_mode)
            assert counted == pytorch_rule(*setting, ceil_mode), setting


@pytest.mark.parametrize("ceil_mode", [False, True])
def test_output_sizes_are_the_number_of_windows_that_fit(ceil_mode):
    cases = 0
    for size, window, stride, before, after, dilation in itertools.product(*SMALL.values()):
        if after > dilation * (window - 1):
            continue
        counted = reference.output_size(size, window, stride, before, after, dilation, ceil_mode)
        if counted == 0:
            with pytest.raises(ValueError, match="test: a window of"):
                window_axes("test", (size,), window, stride, ((before, after),), dilation, ceil_mode)
            continue
        (axis,) = window_axes("test", (size,), window, stride, ((before, after),), dilation, ceil_mode)
        assert axis.out == counted, axis
        cases += 1
    assert cases > 2000


@settings(max_examples=200)
@given(*(st.integers(1, most) for most in (10**6, 300, 300, 20)), st.integers(0, 10**4), st.integers(0, 10**4))
def test_the_output_size_is_the_largest_whose_last_window_fits(size, window, stride, dilation, before, after):
    def last_cell(out):
        return (out - 1) * stride - before + dilation * (window - 1)

    try:
        (axis,) = window_axes("test", (size,), window, stride, ((before, after),), dilation)
    except ValueError:
        assert last_cell(1) >= size + after
    else:
        assert last_cell(axis.out) < size + after <= last_cell(axis.out + 1)


@settings(max_examples=200)
@given(*(st.integers(1, most) for most in (200, 9, 9, 4)))
def test_same_gives_the_ceiling_of_size_over_stride_with_the_odd_cell_at_the_end(size, window, stride, dilation):
    (axis,) = window_axes("test", (size,), window, stride, "same", dilation)
    assert axis.out == math.ceil(size / stride)
    assert axis.after - axis.before in (0, 1)
    needed = (axis.out - 1) * stride + axis.span - size
    assert axis.before + axis.after == max(needed, 0)
    if stride == 1:
        assert axis.before + axis.after == axis.span - 1


@settings(max_examples=200)
@given(*(st.integers(1, most) for most in (50, 6, 6, 3)), st.data())
def test_a_transposed_window_has_the_outputs_that_its_input_has_cells(size, window, stride, dilation, data):
    extra = data.draw(st.integers(0, max(stride, dilation) - 1))
    pads = tuple(data.draw(st.integers(0, 3)) for _ in range(2))
    result = (size - 1) * stride - sum(pads) + dilation * (window - 1) + extra + 1
    if result < 1:
        with pytest.raises(ValueError, match=f"gives output size {result}"):
            transposed_axes("test", (size,), window, stride, (pads,), extra, dilation)
        return
    (axis,) = transposed_axes("test", (size,), window, stride, (pads,), extra, dilation)
    assert (axis.size, axis.out, axis.before, axis.after) == (result, size, *pads)
    if extra < stride:
        assert window_axes("test", (result,), window, stride, (pads,), dilation) == (axis,)


@settings(max_examples=100)
@given(*(st.integers(1, most) for most in (50, 6, 6, 3)))
def test_a_transposed_same_window_gives_stride_times_the_input_and_stands_as_the_window_does(size, f, stride, dilation):
    (axis,) = transposed_axes("test", (size,), f, stride, "same", 0, dilation)
    assert axis.size == size * stride
    assert window_axes("test", (axis.size,), f, stride, "same", dilation)[0] == axis


def test_padding_is_one_number_or_one_per_axis_or_pairs_or_a_word():
    def before_and_after(padding):
        return [(a.before, a.after) for a in window_axes("test", (9, 8), (4, 3), (3, 1), padding, 1)]

    assert before_and_after(2) == before_and_after((2,)) == [(2, 2), (2, 2)]
    assert before_and_after([1, 2]) == [(1, 1), (2, 2)]
    assert before_and_after(((0, 1), [2, 3])) == [(0, 1), (2, 3)]
    assert before_and_after("valid") == [(0, 0), (0, 0)]
    assert before_and_after("same") == [(0, 1), (1, 1)]
    assert before_and_after(np.int64(1)) == [(1, 1), (1, 1)]


def test_ceil_mode_keeps_a_window_that_starts_before_the_input_ends_and_drops_one_that_does_not():
    assert [a.out for a in window_axes("test", (5,), 2, 2, 0, 1, True)] == [3]
    assert [a.out for a in window_axes("test", (4,), 2, 3, 1, 1, True)] == [2]  # a third would start at 5
    assert [a.out for a in window_axes("test", (3,), 4, 4, 0, 1, True)] == [1]  # even if it is the only one


BAD = [
    ({"window": 5}, ValueError, "a window of 5 cells, 1 apart .* does not fit size 4"),
    ({"window": 3, "dilation": 2}, ValueError, r"span 5\), does not fit size 4"),
    ({"window": 0}, ValueError, "kernel_size of at least 1 .* got 0"),
    ({"stride": 0}, ValueError, "stride of at least 1 .* got 0"),
    ({"stride": -1}, ValueError, "stride of at least 1 .* got -1"),
    ({"dilation": 0}, ValueError, "dilation of at least 1 .* got 0"),
    ({"padding": -1}, ValueError, "padding of at least 0 .* got -1"),
    ({"padding": ((0, -1), (0, 0))}, ValueError, "padding of at least 0 .* got -1"),
    ({"padding": "full"}, ValueError, "'valid' or 'same', got 'full'"),
    ({"padding": ((1, 1),)}, ValueError, "padding as 2 pairs"),
    ({"padding": ((1, 1), 1)}, ValueError, "padding as 2 pairs"),
    ({"padding": ((1, 1, 1), (1, 1, 1))}, ValueError, "padding as 2 pairs"),
    ({"padding": ("same", "same")}, TypeError, "padding as integers, got 'same'"),
    ({"window": (2, 2, 2)}, ValueError, r"kernel_size as one number or 2, got \(2, 2, 2\)"),
    ({"stride": ()}, ValueError, r"stride as one number or 2, got \(\)"),
    ({"stride": (1, 2.0)}, TypeError, "stride as integers, got 2.0"),
    ({"dilation": None}, TypeError, "dilation as integers, got None"),
    ({"window": "3"}, TypeError, "kernel_size as integers, got '3'"),
    ({"stride": np.array([1, 1])}, TypeError, "stride as integers, got array"),
    ({"padding": np.array([1.5])}, TypeError, "padding as integers, got array"),
    *(({what: huge}, ValueError, f"{what} .* got {huge}") for what in ("stride", "padding") for huge in (2**31, 2**63)),
    ({"padding": LARGEST}, ValueError, f"sizes of at most {LARGEST}, got size 4 with padding"),
    ({"padding": LARGEST // 2, "window": 2**16, "dilation": 2**16}, ValueError, "sizes of at most|does not fit"),
]


@pytest.mark.parametrize(("change", "error", "words"), BAD, ids=[str(b[0])[:40] for b in BAD])
def test_settings_that_do_not_fit_are_refused_by_name_rule_and_value(change, error, words):
    settings = {"window": 2, "stride": 1, "padding": 0, "dilation": 1} | change
    for _ in range(2):  # what is refused is not remembered as good
        with pytest.raises(error, match=f"^max_blob: .*{words}"):
            window_axes("max_blob", (4, 4), **settings)


def test_a_float_is_refused_also_after_the_equal_integer_was_taken():
    x, w = np.ones((1, 1, 4, 4)), np.ones((1, 1, 2, 2))
    F.conv2d(x, w, stride=2, padding=1)
    for settings_ in ({"stride": 2.0}, {"padding": 1.0}, {"stride": (2, 2.0)}, {"groups": 1.0}):
        with pytest.raises(TypeError, match=f"^conv2d: need {next(iter(settings_))} as (integers|an integer)"):
            F.conv2d(x, w, **({"stride": 2, "padding": 1} | settings_))


@pytest.mark.parametrize("extra", [2, 3])
def test_output_padding_stays_below_stride_or_dilation(extra):
    with pytest.raises(ValueError, match=f"^up: need output_padding smaller than .* got {extra}"):
        transposed_axes("up", (4,), 3, 2, 0, extra, 1)


def test_a_transposed_output_that_no_size_can_hold_is_refused():
    with pytest.raises(ValueError, match=f"^up: input size 3 gives output size {2 * LARGEST + 1}"):
        transposed_axes("up", (3,), 1, LARGEST, 0, 0, 1)
