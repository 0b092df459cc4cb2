"""`mg.explain`: which cells windows see, counted by the engine's own gradients, and the words for them."""

import doctest
import math
import re

import numpy as np
import pytest
from hypothesis import given, strategies as st

import minigrad as mg
from minigrad import functional as F, nn
from minigrad.geometry import table, windows
from minigrad.testing import conv_cases, pool_cases


def gradient_of_ones(layer, shape):
    """How often each value of the input is added to some output, by a layer whose weights are all 1."""
    x = mg.tensor(np.zeros(shape), requires_grad=True)
    y = layer(x)
    y.backward(np.ones(y.shape))
    return x.grad.numpy()[0, 0]


def ones(*shape):
    return np.ones(shape)


@given(st.sampled_from([1, 2]).flatmap(conv_cases))
def test_counts_are_those_of_a_convolution_with_ones_and_so_is_what_windows_see_of_the_padding(case):
    settings = {name: getattr(case, name) for name in ("stride", "padding", "dilation")}
    conv, weight = (F.conv1d, F.conv2d)[case.rank - 1], ones(1, 1, *case.kernel_size)
    (layer,) = mg.explain(case.kernel_size, case.sizes, **settings).layers
    np.testing.assert_array_equal(
        layer.counts, gradient_of_ones(lambda x: conv(x, weight, **settings), (1, 1, *case.sizes))
    )
    blind = conv(ones(1, 1, *case.sizes), weight, **settings)[0, 0] == 0
    for dim, axis in enumerate(layer.axes):
        others = tuple(set(range(case.rank)) - {dim})
        if not any(other.only_padding for other in layer.axes if other is not axis):
            assert axis.only_padding == tuple(np.flatnonzero(blind.all(axis=others)))


@given(st.sampled_from([1, 2]).flatmap(pool_cases))
def test_counts_of_pooling_are_those_of_a_sum_over_its_windows(case):
    (layer,) = mg.explain(
        **{"input_shape": case.sizes, "layer": case.kernel_size}
        | {name: value for name, value in case.settings.items() if name != "kernel_size"}
    ).layers
    assert layer.output_sizes == case.output_shape[2:]
    for axis, side in zip(layer.axes, case.axes, strict=True):
        cells = np.arange(side.out)[:, None] * side.stride - side.before + np.arange(side.window) * side.dilation
        np.testing.assert_array_equal(axis.counts, [(cells == cell).sum() for cell in range(side.size)])


@given(st.integers(1, 6), st.integers(1, 4), st.integers(1, 4), st.integers(0, 3), st.integers(1, 2), st.data())
def test_counts_of_a_transposed_convolution_are_what_ones_give(size, window, stride, padding, dilation, data):
    extra = data.draw(st.integers(0, max(stride, dilation) - 1))
    if (size - 1) * stride - 2 * padding + dilation * (window - 1) + extra + 1 < 1:
        return
    model = nn.ConvTranspose1d(1, 1, window, stride, padding, extra, bias=False, dilation=dilation)
    (layer,) = mg.explain(model, (1, size)).layers
    y = F.conv_transpose1d(ones(1, 1, size), ones(1, 1, window), None, stride, padding, extra, 1, dilation)
    np.testing.assert_array_equal(layer.counts, y[0, 0])
    assert layer.axes[0].unseen == tuple(np.flatnonzero(y[0, 0] == 0))


@given(
    st.integers(1, 12), st.integers(1, 5), st.integers(1, 5), st.integers(1, 4), st.integers(0, 3), st.integers(0, 3)
)
def test_unseen_cells_have_one_reason_each(size, window, stride, dilation, before, after):
    if size + before + after < dilation * (window - 1) + 1:
        return
    (axis,) = mg.explain(window, size, stride=stride, dilation=dilation, padding=((before, after),)).layers[0].axes
    reasons = [*axis.left_over, *axis.in_gaps, *axis.between]
    assert sorted(reasons) == list(axis.unseen) == [c for c in range(size) if axis.counts[c] == 0]
    assert set(axis.padding_seen) | set(axis.padding_unseen) == {*range(-before, 0), *range(size, size + after)}
    last = (axis.out - 1) * stride - before + dilation * (window - 1)
    assert axis.left_over == tuple(range(max(last + 1, 0), size))
    if stride <= window and dilation == 1:
        assert not axis.between
    if dilation == 1:
        assert not axis.in_gaps


EXAMPLES = {
    "floor": ((3, 8, {"stride": 2}), "no window sees cell 7: behind the last window"),
    "stride": ((2, (7, 7), {"stride": 3}), "no window sees row and column 2: between windows"),
    "dilation": ((2, 9, {"stride": 2, "dilation": 3, "padding": ((2, 1),)}), "no window sees cell 8: in the gaps"),
    "padding": ((3, 8, {"padding": 1}), "padding: cells -1, 8, seen by windows 0, 7"),
    "padding unseen": ((3, 8, {"padding": 1, "stride": 2}), "padding that no window sees: cell 8"),
    "ceil": ((2, 3, {"stride": 2, "ceil_mode": True}), "beyond the end: cell 3, where window 1 overhangs"),
    "only padding": ((1, 1, {"padding": 1}), "nothing but padding in windows 0, 2"),
    "each once": ((2, (6, 6), {"stride": 2}), "seen by 1 window: all rows and columns"),
    "different axes": (((3, 1), (8, 8), {"stride": 2}), "no window sees columns 1, 3, 5: between windows"),
}


@pytest.mark.parametrize(("arguments", "words"), EXAMPLES.values(), ids=list(EXAMPLES))
def test_the_text_says_what_is_left_out_and_why(arguments, words):
    kernel_size, sizes, settings = arguments
    assert words in str(mg.explain(kernel_size, sizes, **settings))


def test_numbers_in_a_row_are_written_short():
    assert windows.listed([3]) == "3"
    assert windows.listed([1, 2]) == "1, 2"
    assert windows.listed([1, 2, 3, 7]) == "1 to 3, 7"
    assert windows.listed([0, 2, 4, 6, 9]) == "0, 2, ..., 6, 9"
    assert windows.listed([]) == ""
    long = windows.listed([i * i for i in range(40)])
    assert long.startswith("0, 1, 4, 9")
    assert long.endswith(", ..., 1521")


def test_of_a_model_each_layer_and_function_with_windows_is_explained_in_order():
    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.fc = nn.Conv2d(1, 2, 5, stride=2), nn.Linear(2, 3)
            self.norm, self.mean = nn.BatchNorm2d(2), nn.GlobalAvgPool2d()

        def forward(self, x):
            return self.fc(self.mean(F.max_pool2d(self.norm(self.conv(x)), 2)).flatten(1))

    layers = mg.explain(Model(), (1, 28, 27)).layers
    assert [(layer.path, layer.kind) for layer in layers] == [
        ("conv", "Conv2d"), ("", "max_pool2d"), ("mean", "GlobalAvgPool2d"),
    ]  # fmt: skip
    assert [layer.input_sizes for layer in layers] == [(28, 27), (12, 12), (6, 6)]
    assert [layer.output_sizes for layer in layers] == [(12, 12), (6, 6), (1, 1)]
    assert layers[0].axes[0].unseen == (27,)
    assert layers[0].axes[1].unseen == ()
    assert (layers[2].counts == 1).all()
    assert str(mg.explain(nn.Linear(3, 2), (3,))) == "no layer has windows"


def test_same_and_adaptive_windows_are_those_that_run():
    (same,) = mg.explain(nn.Conv1d(1, 1, 4, stride=2, padding="same"), (1, 7)).layers
    assert same.axes[0].cells[0] == (-1, 0, 1, 2)
    (adaptive,) = mg.explain(nn.AdaptiveAvgPool1d(3), (1, 7)).layers
    assert adaptive.axes[0].cells == ((0, 1, 2), (2, 3, 4), (4, 5, 6))


WRONG = [
    ((3, 2), {}, ValueError, "explain: a window of 3 cells"),
    ((3, (4, 4, 4)), {}, ValueError, "one or two input sizes"),
    ((3, 0), {}, ValueError, "input sizes of at least 1"),
    (("3", 4), {}, TypeError, "kernel_size as integers"),
    ((nn.Conv1d(1, 1, 3), (1, 9)), {"stride": 2}, TypeError, "not with a module"),
    ((nn.Conv1d(1, 1, 3), 9), {}, TypeError, "input_shape as a tuple"),
]


@pytest.mark.parametrize(("arguments", "settings", "error", "words"), WRONG, ids=[w[3] for w in WRONG])
def test_what_does_not_fit_is_refused(arguments, settings, error, words):
    with pytest.raises(error, match=words):
        mg.explain(*arguments, **settings)


@pytest.mark.parametrize("module", [windows, table], ids=["windows", "table"])
def test_the_examples_in_docstrings_print_what_they_show(module):
    result = doctest.testmod(module, extraglobs={"mg": mg, "nn": nn})
    assert result.attempted
    assert not result.failed


@given(st.sampled_from([1, 2]).flatmap(pool_cases))
def test_the_formula_in_numbers_is_the_size(case):
    pool = (nn.MaxPool1d, nn.MaxPool2d)[case.rank - 1](**case.settings)
    (layer,) = mg.explain(pool, case.input_shape[1:]).layers
    for axis, out in zip(layer.axes, case.output_shape[2:], strict=True):
        formula, size = re.fullmatch(r"(.*) = (\d+)", axis.formula).groups()
        assert eval(formula, {"floor": math.floor, "ceil": math.ceil}) == int(size) == out
        assert str(axis.size) in formula
