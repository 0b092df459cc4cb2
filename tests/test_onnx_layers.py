"""Export to ONNX: every layer, and every op that a forward pass may use, computes the same in the file."""

import functools
import re

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from onnx_files import TOLERANCE, check_close, check_exports, exported, leaves
from op_table import ROWS

import minigrad as mg
from minigrad import functional as F, nn

RNG = np.random.default_rng(7)


def normal(*shape):
    return lambda n, dtype: (RNG.normal(size=(n, *shape)).astype(dtype),)


def unit(*shape):
    return lambda n, dtype: (RNG.random((n, *shape)).astype(dtype),)


def pair(first, second):
    return lambda n, dtype: first(n, dtype) + second(n, dtype)


def integers(high, *shape):
    return lambda n, dtype: (RNG.integers(0, high, (n, *shape)),)


def pooled(*sizes):
    """What max pooling by 2 found, and where."""

    def make(n, dtype):
        pool = (F.max_pool1d, F.max_pool2d)[len(sizes) - 1]
        if n == 0:
            return np.zeros((0, 3, *(s // 2 for s in sizes)), dtype), np.zeros((0, 3, *(s // 2 for s in sizes)), int)
        return pool(*normal(3, *sizes)(n, dtype), 2, return_indices=True)

    return make


class Tabled(nn.Module):
    def __init__(self):
        super().__init__()
        self.parts = nn.ModuleDict({"a": nn.Linear(4, 5), "b": nn.Linear(5, 3)})

    def forward(self, x):
        return self.parts["b"](self.parts["a"](x).tanh())


class Listed(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(4, 4) for _ in range(2))

    def forward(self, x):
        for layer in self.layers:
            x = x + layer(x).relu()
        return x


IMAGE, SIGNAL = normal(3, 6, 5), normal(3, 8)
LAYERS = {
    "Sequential": [(lambda: nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2)), normal(4))],
    "ModuleList": [(Listed, normal(4))],
    "ModuleDict": [(Tabled, normal(4))],
    "Identity": [(nn.Identity, normal(4))],
    "Linear": [(lambda: nn.Linear(4, 3), normal(4)), (lambda: nn.Linear(4, 3, bias=False), normal(2, 5, 4))],
    "Embedding": [(lambda: nn.Embedding(6, 3, padding_idx=1), integers(6, 4))],
    "Conv1d": [(lambda: nn.Conv1d(3, 4, 3, stride=2, padding=((2, 1),), dilation=2), SIGNAL)],
    "Conv2d": [
        (lambda: nn.Conv2d(3, 6, (3, 2), stride=(2, 1), padding=((0, 2), (1, 0)), groups=3), IMAGE),
        (lambda: nn.Conv2d(3, 4, 3, stride=2, padding="same", bias=False), IMAGE),
    ],
    "Conv1x1": [(lambda: nn.Conv1x1(3, 4), SIGNAL), (lambda: nn.Conv1x1(3, 4, bias=False), IMAGE)],
    "ConvTranspose1d": [(lambda: nn.ConvTranspose1d(3, 4, 3, 2, padding=1, output_padding=1), SIGNAL)],
    "ConvTranspose2d": [
        (lambda: nn.ConvTranspose2d(3, 6, (3, 2), stride=(2, 3), padding="same", groups=3), IMAGE),
        (lambda: nn.ConvTranspose2d(3, 2, 3, padding=((1, 0), (2, 1)), dilation=2), IMAGE),
    ],
    "LocallyConnected1d": [(lambda: nn.LocallyConnected1d(3, 4, 8, 3, stride=2, padding=1), SIGNAL)],
    "LocallyConnected2d": [(lambda: nn.LocallyConnected2d(3, 4, (6, 5), (3, 2), padding=((0, 1), (1, 1))), IMAGE)],
    "MaxPool1d": [(lambda: nn.MaxPool1d(3, 2, 2, dilation=2, return_indices=True, ceil_mode=True), SIGNAL)],
    "MaxPool2d": [
        (lambda: nn.MaxPool2d(2), IMAGE),
        (lambda: nn.MaxPool2d((3, 2), 2, ((1, 0), (0, 1)), return_indices=True, ceil_mode=True), IMAGE),
        (lambda: nn.MaxPool2d(2, 1, ((2, 3), (0, 1)), dilation=(3, 2), return_indices=True), normal(3, 7, 5)),
    ],
    "MaxUnpool1d": [(lambda: nn.MaxUnpool1d(2), pooled(8))],
    "MaxUnpool2d": [(lambda: nn.MaxUnpool2d(2), pooled(6, 4))],
    "AvgPool1d": [(lambda: nn.AvgPool1d(3, 2, 1, ceil_mode=True), SIGNAL)],
    "AvgPool2d": [
        (lambda: nn.AvgPool2d(2), IMAGE),
        (lambda: nn.AvgPool2d((3, 2), 2, ((1, 0), (0, 1)), count_include_pad=False), IMAGE),
        (lambda: nn.AvgPool2d(3, 2, 1, ceil_mode=True), normal(3, 6, 6)),
        (lambda: nn.AvgPool2d(3, 2, 1, divisor_override=5), IMAGE),
    ],
    "AdaptiveAvgPool1d": [(lambda: nn.AdaptiveAvgPool1d(3), SIGNAL)],
    "AdaptiveAvgPool2d": [(lambda: nn.AdaptiveAvgPool2d((4, None)), IMAGE)],
    "GlobalAvgPool1d": [(nn.GlobalAvgPool1d, SIGNAL)],
    "GlobalAvgPool2d": [(nn.GlobalAvgPool2d, IMAGE)],
    "Upsample": [
        (lambda: nn.Upsample(scale_factor=2), IMAGE),
        (lambda: nn.Upsample((9, 4), mode="bilinear"), IMAGE),
        (lambda: nn.Upsample((4, 4), mode="area"), IMAGE),
    ],
    "Flatten": [(nn.Flatten, IMAGE), (lambda: nn.Flatten(0, 1), IMAGE)],
    "ReLU": [(nn.ReLU, IMAGE)],
    "LeakyReLU": [(lambda: nn.LeakyReLU(0.2), IMAGE)],
    "ELU": [(lambda: nn.ELU(0.7), IMAGE)],
    "GELU": [(nn.GELU, IMAGE), (lambda: nn.GELU("tanh"), IMAGE)],
    "SiLU": [(nn.SiLU, IMAGE)],
    "Softplus": [(nn.Softplus, IMAGE), (lambda: nn.Softplus(2.0, 1.0), IMAGE)],
    "Tanh": [(nn.Tanh, IMAGE)],
    "Sigmoid": [(nn.Sigmoid, IMAGE)],
    "Softmax": [(lambda: nn.Softmax(1), IMAGE)],
    "LogSoftmax": [(lambda: nn.LogSoftmax(-1), IMAGE)],
    "Dropout": [(nn.Dropout, IMAGE)],
    "Dropout2d": [(nn.Dropout2d, IMAGE)],
    "BatchNorm1d": [(lambda: nn.BatchNorm1d(3), SIGNAL), (lambda: nn.BatchNorm1d(4, affine=False), normal(4))],
    "BatchNorm2d": [(lambda: nn.BatchNorm2d(3), IMAGE), (lambda: nn.BatchNorm2d(3, track_running_stats=False), IMAGE)],
    "LayerNorm": [(lambda: nn.LayerNorm((6, 5)), IMAGE), (lambda: nn.LayerNorm(5, bias=False), IMAGE)],
    "GroupNorm": [(lambda: nn.GroupNorm(2, 4), normal(4, 3, 2))],
    "CrossEntropyLoss": [
        (lambda: nn.CrossEntropyLoss(WEIGHT, ignore_index=1, label_smoothing=0.1), pair(normal(3), integers(3))),
        (lambda: nn.CrossEntropyLoss(reduction="none"), pair(normal(3, 2), integers(3, 2))),
        (nn.CrossEntropyLoss, pair(normal(3), unit(3))),
    ],
    "NLLLoss": [(lambda: nn.NLLLoss(WEIGHT, ignore_index=2), pair(normal(3, 2), integers(3, 2)))],
    "MSELoss": [(nn.MSELoss, pair(IMAGE, IMAGE)), (lambda: nn.MSELoss("sum"), pair(IMAGE, integers(4, 3, 6, 5)))],
    "L1Loss": [(lambda: nn.L1Loss("none"), pair(IMAGE, IMAGE))],
    "HuberLoss": [(lambda: nn.HuberLoss(delta=0.4), pair(IMAGE, IMAGE))],
    "BCELoss": [(lambda: nn.BCELoss(WEIGHT), pair(unit(3), unit(3)))],
    "BCEWithLogitsLoss": [(lambda: nn.BCEWithLogitsLoss(WEIGHT, pos_weight=WEIGHT), pair(normal(3), unit(3)))],
}
WEIGHT = np.array([0.5, 1.0, 2.0], np.float32)
CASES = [(name, i) for name, rows in LAYERS.items() for i in range(len(rows))]


def test_every_layer_has_a_row():
    assert set(LAYERS) == set(nn.__all__) - {"Module", "Parameter", "init"}


def trained(model):
    """Running statistics and affine parameters as training leaves them, not zeros and ones."""
    for name, tensor in model.state_dict().items():
        if tensor.dtype.kind == "f":
            low = 0.5 if name.endswith(("var", "weight")) else -0.5
            tensor.copy_(RNG.uniform(low, 1.0, tensor.shape))
    return model


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize(("name", "row"), CASES, ids=[f"{name}-{i}" for name, i in CASES])
def test_a_layer_computes_the_same_in_the_file(name, row, dtype, tmp_path):
    layer, make = LAYERS[name][row]
    model, make = trained(layer()).to(dtype), functools.partial(make, dtype=dtype)
    if name in ("ConvTranspose1d", "ConvTranspose2d", "GELU") and dtype == np.float64:  # which nobody here computes
        mg.onnx.export(model, tmp_path / "unread.onnx", make(2))
    else:
        # Of nothing the mean is NaN, with a warning.
        check_exports(model, make, (1, 3, 7) if name.endswith("Loss") else (1, 3, 7, 0))


WITHOUT = {"dropout", "scatter_add", "sum_to", "avg_pool_transpose1d", "avg_pool_transpose2d"} | {
    name for name in ROWS if "gradient" in name
}  # what is drawn at random, and what only derivatives are made of


class Constant(nn.Module):
    """An op on buffers, beside an input that passes through."""

    def __init__(self, op, arrays, kwargs):
        super().__init__()
        self.op, self.names, self.kwargs = op, [f"x{i}" for i in range(len(arrays))], kwargs
        for name, array in zip(self.names, arrays, strict=True):
            self.register_buffer(name, mg.tensor(array.astype(np.float32) if array.dtype.kind == "f" else array))

    def forward(self, input):
        return input, *leaves(self.op(*(getattr(self, name) for name in self.names), **self.kwargs))


def test_every_op_of_a_forward_pass_has_a_converter():
    assert set(ROWS) - WITHOUT == set(mg.onnx.CONVERTERS)


WINDOWS = [name for name in ROWS if name not in WITHOUT and re.search(r"(conv|pool|local).*\dd$|1x1", name)]
OTHERS = [name for name in ROWS if name not in {*WITHOUT, *WINDOWS, "winner_indices"}]


def op_named(name):
    """The op; max pooling with where winners stand in their planes, as its places in windows are not in a file."""
    if name not in ("max_pool1d", "max_pool2d"):
        return mg.OPS[name]

    def max_pool(x, axes):
        y, places = mg.OPS[name](x, axes=axes)
        return y, mg.OPS["winner_indices"](places, axes=axes)

    return max_pool


def check_op(name, data):
    arrays, kwargs = ROWS[name].draw(data.draw)
    model, x = Constant(op_named(name), arrays, kwargs), np.zeros((2, 1), np.float32)
    _, run = exported(model, x)
    with mg.no_grad(), np.errstate(all="ignore"):
        check_close(run(x), model(mg.tensor(x)))


@pytest.mark.parametrize("name", WINDOWS)
@settings(max_examples=6)
@given(data=st.data())
def test_windows_of_any_geometry_are_the_same_in_the_file(name, data):
    check_op(name, data)


@pytest.mark.parametrize("name", OTHERS)
@settings(max_examples=3)
@given(data=st.data())
def test_an_op_computes_the_same_in_the_file(name, data):
    check_op(name, data)
