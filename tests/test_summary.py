"""`mg.summary`: every number against the model itself, brute force, or the layer that is built for real."""

import itertools
import math
import re
import threading

import numpy as np
import pytest
from hypothesis import assume, given, settings, strategies as st

import minigrad as mg
from minigrad import functional as F, nn

FLOOR = {"floor": math.floor, "ceil": math.ceil}


def cells_seen(model, channels, size):
    """(L, OL): whether each output depends on each cell of a signal, by a NaN in that cell of a sample of its own."""
    x = np.random.default_rng(0).random((size, channels, size))
    x[np.arange(size), :, np.arange(size)] = np.nan
    model.eval()
    with mg.no_grad():
        y = model(mg.tensor(x)).numpy()
    return np.isnan(y).any(1) if y.ndim == 3 else np.isnan(y)


def most_cells(seen):
    """The most cells, from the first to the last seen, of any output."""
    spans = [np.flatnonzero(column) for column in seen.T]
    return max(int(cells[-1] - cells[0]) + 1 if cells.size else 0 for cells in spans)


class Residual(nn.Module):
    """Two paths that meet: added, or side by side."""

    def __init__(self, path, joined):
        super().__init__()
        self.path, self.joined = path, joined

    def forward(self, x):
        return mg.concatenate([x, self.path(x)], 1) if self.joined else x + self.path(x)


class Padded(nn.Module):
    """Cells added at the ends by a function."""

    def __init__(self, before, after):
        super().__init__()
        self.widths = before, after

    def forward(self, x):
        return F.pad(x, self.widths)


@st.composite
def stacks(draw, padded):
    """Layers that fit one another, on signals of 40 cells; and whether all of them are plain windows."""
    layers, channels, size, is_plain = [], draw(st.integers(1, 2)), 40, True
    first = channels
    kinds = ["conv", "max", "avg", "same", "residual", "act", "up", "resize", "transposed", "local", "adaptive"]
    kinds += ["pad"] * padded
    for _ in range(draw(st.integers(1, 4))):
        kind = draw(st.sampled_from(kinds))
        f, s, d = draw(st.integers(1, 3)), draw(st.integers(1, 2)), draw(st.integers(1, 2))
        p = draw(st.integers(0, f - 1)) if padded else 0
        out = draw(st.integers(1, 2))
        if size < d * (f - 1) + 1:
            break
        if kind == "conv":
            layers.append(nn.Conv1d(channels, out, f, s, p, d))
        elif kind == "max":
            layers.append(nn.MaxPool1d(f, s, p, ceil_mode=draw(st.booleans())))
        elif kind == "avg":
            layers.append(nn.AvgPool1d(f, s, p))
        elif kind == "same":
            layers.append(nn.Conv1d(channels, out, f, 1, "same" if padded else 0, d))
        elif kind == "residual":
            path = nn.Sequential(nn.Conv1d(channels, channels, 3, 1, 1), nn.ReLU(), nn.Conv1d(channels, channels, 1))
            layers.append(Residual(path, draw(st.booleans())))
            is_plain = is_plain and padded  # its own padding cuts the windows at the ends
        elif kind == "pad":
            layers.append(Padded(draw(st.integers(0, 2)), draw(st.integers(0, 2))))
        elif kind == "act":
            layers.append(draw(st.sampled_from([nn.GELU(), nn.BatchNorm1d(channels), nn.Dropout(), nn.Identity()])))
        else:
            is_plain = False
            layers.append(
                {
                    "up": lambda c, n: nn.Upsample(scale_factor=2),
                    "resize": lambda c, n: nn.Upsample(size=n + 3, mode="linear"),
                    "transposed": lambda c, n: nn.ConvTranspose1d(c, 2, 3, 2, 1),
                    "local": lambda c, n: nn.LocallyConnected1d(c, 2, n, 2),
                    "adaptive": lambda c, n: nn.AdaptiveAvgPool1d(max(n // 2 - 1, 1)),
                }[kind](channels, size)
            )
        assume(kind != "local" or size > 1)
        shape = nn.Sequential(*layers).double()(mg.tensor(np.zeros((2, first, 40)))).shape
        channels, size = shape[1:]
    return layers, first, is_plain


def last_row(layers, channels):
    return mg.summary(nn.Sequential(*layers).double(), (channels, 40)).rows[-1]


@settings(max_examples=25)
@given(stacks(padded=False))
def test_receptive_fields_are_what_a_nan_reaches_whatever_the_layers(drawn):
    layers, channels, is_plain = drawn
    seen, row = cells_seen(nn.Sequential(*layers).double(), channels, 40), last_row(layers, channels)
    if is_plain or row.jump == (None,):
        assert row.receptive_field == (most_cells(seen),)
    assert row.receptive_field[0] >= most_cells(seen)
    if row.sees_all:
        assert seen.all()
    if row.jump != (None,) and is_plain:
        firsts = seen.argmax(0)
        assert set(np.diff(firsts)) <= {row.jump[0]}


@settings(max_examples=25)
@given(stacks(padded=True))
def test_padding_only_cuts_receptive_fields_at_the_ends(drawn):
    layers, channels, _ = drawn
    seen, row = cells_seen(nn.Sequential(*layers).double(), channels, 40), last_row(layers, channels)
    most = most_cells(seen)
    if row.jump == (None,):
        assert row.receptive_field == (most,)
    else:
        inner = [c for c in (np.flatnonzero(column) for column in seen.T) if c.size and c[0] > 0 and c[-1] < 39]
        assert row.receptive_field[0] >= most
        assert not inner or max(c[-1] - c[0] for c in inner) + 1 <= row.receptive_field[0]
        if row.receptive_field[0] <= 12:
            assert row.receptive_field == (most,)


def lenet(features=400):
    return nn.Sequential(
        nn.Conv2d(1, 6, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(features, 120), nn.ReLU(), nn.Linear(120, 10),
    )  # fmt: skip


def test_lenet_is_as_in_the_textbook():
    found = mg.summary(lenet(), (1, 28, 28))
    assert [row.output_shape for row in found.rows] == [
        (6, 28, 28), (6, 28, 28), (6, 14, 14), (16, 10, 10), (16, 10, 10), (16, 5, 5), (400,), (120,), (120,), (10,),
    ]  # fmt: skip
    assert [row.receptive_field for row in found.rows[:7]] == [(n, n) for n in (5, 5, 6, 14, 14, 16, 16)]
    assert [row.jump for row in found.rows[:6]] == [(n, n) for n in (1, 1, 2, 2, 2, 4)]
    assert [row.sees_all for row in found.rows] == [False] * 7 + [True] * 3
    assert found.rows[0].formula == "(28 + 2*2 - 5)/1 + 1 = 28"
    assert found.rows[6].formula == "16*5*5 = 400"
    assert [row.memory for row in found.rows] == [4 * n for n in (4704, 4704, 1176, 1600, 1600, 400, 0, 120, 120, 10)]
    assert found.totals.multiply_adds == 28 * 28 * 6 * 25 + 10 * 10 * 16 * 6 * 25 + 400 * 120 + 120 * 10


def test_each_axis_has_its_own_receptive_field():
    model = nn.Sequential(nn.Conv2d(1, 1, (3, 5), (2, 1), ((1, 0), (2, 1))), nn.AvgPool2d((1, 2)))
    row = mg.summary(model, (1, 20, 20)).rows[-1]
    assert row.receptive_field == (3, 6)
    assert row.jump == (2, 2)
    assert row.formula == "(10 - 1)/1 + 1 = 10; floor((19 - 2)/2) + 1 = 9"


def test_a_linear_layer_sees_no_more_than_what_the_windows_before_it_saw():
    row = mg.summary(nn.Sequential(nn.Conv1d(1, 1, 3, 4), nn.Flatten(), nn.Linear(2, 1)), (1, 9)).rows[-1]
    assert row.receptive_field == (7,)
    assert not row.sees_all


class Squeezed(nn.Module):
    """Channels weighed by what all of the image says."""

    def __init__(self):
        super().__init__()
        self.conv, self.mix = nn.Conv2d(1, 4, 3), nn.Conv1x1(4, 4)

    def forward(self, x):
        y = self.conv(x)
        return y * F.sigmoid(self.mix(F.global_avg_pool2d(y)))


def test_a_path_over_the_whole_image_makes_the_union_whole():
    assert mg.summary(nn.Sequential(Squeezed(), nn.ReLU()), (1, 9, 9)).rows[-1].sees_all


@mg.op
def turn_around(x, *, axes, spans=()):
    """x from behind, by an op that nobody knows, with settings that have known names"""
    return np.flip(x, axes), ()


def test_an_op_of_ones_own_may_see_everything_it_gets():
    class Own(nn.Module):
        def forward(self, x):
            return turn_around(x, axes=-1, spans=3)

    rows = mg.summary(nn.Sequential(nn.Conv1d(1, 1, 3), Own()), (1, 8)).rows
    assert [row.receptive_field for row in rows] == [(3,), (8,)]
    assert rows[-1].sees_all


def test_detaching_and_moving_dimensions_do_not_lose_the_receptive_field():
    class Turned(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.dense = nn.Conv1d(2, 3, 3), nn.Linear(3, 4)

        def forward(self, x):
            return self.dense(self.conv(x).detach().transpose(1, 2))

    row = mg.summary(Turned(), (2, 10)).rows[-1]
    assert (row.output_shape, row.receptive_field) == ((8, 4), (3,))


LAYERS = {
    "Conv1d": (nn.Conv1d(4, 6, 3, 2, 1, 2, groups=2), (4, 12)),
    "Conv2d": (nn.Conv2d(2, 3, (3, 2), (2, 1), ((1, 0), (0, 1)), (1, 2)), (2, 9, 8)),
    "Conv2d same": (nn.Conv2d(2, 4, 3, 2, "same", groups=2, bias=False), (2, 9, 8)),
    "Conv1x1": (nn.Conv1x1(3, 5), (3, 4, 6)),
    "ConvTranspose1d": (nn.ConvTranspose1d(2, 3, 4, 3, 1, 2), (2, 5)),
    "ConvTranspose2d": (nn.ConvTranspose2d(4, 2, 3, 2, 1, 1, groups=2, dilation=2), (4, 5, 4)),
    "LocallyConnected1d": (nn.LocallyConnected1d(2, 3, 9, 3, 2), (2, 9)),
    "LocallyConnected2d": (nn.LocallyConnected2d(2, 3, (5, 6), 3, 2, 1), (2, 5, 6)),
    "MaxPool1d": (nn.MaxPool1d(3, 2, 1, 2, ceil_mode=True), (2, 10)),
    "MaxPool2d": (nn.MaxPool2d(3, 2, "same"), (2, 10, 9)),
    "MaxPool2d with indices": (nn.MaxPool2d(2, return_indices=True), (2, 6, 6)),
    "AvgPool1d": (nn.AvgPool1d(3, 2, ((1, 2),)), (2, 10)),
    "AvgPool2d": (nn.AvgPool2d(2, 3, 1, True, False), (2, 10, 9)),
    "AdaptiveAvgPool1d": (nn.AdaptiveAvgPool1d(3), (2, 10)),
    "AdaptiveAvgPool2d": (nn.AdaptiveAvgPool2d((3, 1)), (2, 10, 9)),
    "GlobalAvgPool1d": (nn.GlobalAvgPool1d(), (2, 10)),
    "GlobalAvgPool2d": (nn.GlobalAvgPool2d(), (2, 10, 9)),
    "Upsample": (nn.Upsample(scale_factor=2), (2, 5, 4)),
    "Upsample to a size": (nn.Upsample((7, 3), mode="bilinear"), (2, 5, 4)),
    "Flatten": (nn.Flatten(), (2, 5, 4)),
    "Linear": (nn.Linear(4, 3), (4,)),
    "Linear over rows": (nn.Linear(4, 3), (5, 4)),
    "Embedding": (nn.Embedding(7, 3, padding_idx=0), (5,)),
    "BatchNorm1d": (nn.BatchNorm1d(2), (2, 5)),
    "BatchNorm2d": (nn.BatchNorm2d(2, track_running_stats=False), (2, 5, 4)),
    "LayerNorm": (nn.LayerNorm((5, 4)), (2, 5, 4)),
    "GroupNorm": (nn.GroupNorm(1, 2), (2, 5, 4)),
    "Softmax": (nn.Softmax(1), (2, 5)),
    "Dropout2d": (nn.Dropout2d(), (2, 5, 4)),
    **{f"{k.__name__}": (k(), (2, 5)) for k in (
        nn.Identity, nn.ReLU, nn.LeakyReLU, nn.ELU, nn.GELU, nn.SiLU, nn.Softplus, nn.Tanh, nn.Sigmoid, nn.Dropout,
    )},
}  # fmt: skip


@pytest.mark.parametrize(("layer", "shape"), LAYERS.values(), ids=list(LAYERS))
def test_every_layer_has_a_row_whose_sizes_and_counts_are_its_own(layer, shape):
    is_embedding = isinstance(layer, nn.Embedding)
    (row,) = mg.summary(layer, shape, dtype=np.int64 if is_embedding else None).rows
    y = layer.eval()(mg.tensor(np.zeros((3, *shape), np.int64 if is_embedding else np.float32)))
    y = y[0] if isinstance(y, tuple) else y
    assert row.kind == type(layer).__name__
    assert row.output_shape == y.shape[1:]
    assert row.input_shape == shape
    assert row.dtype == "float32"
    assert row.parameters == row.new_parameters == sum(p.data.size for p in layer.parameters())
    assert row.memory >= y.data[0].nbytes or isinstance(layer, (nn.Flatten, nn.Identity, nn.Dropout))
    assert (row.receptive_field is None) == (len(shape) == 1 and not is_embedding)
    if y.shape[1:] != shape:
        assert row.formula or is_embedding
    if " = " in row.formula:
        parts = [part.split(" = ") for part in row.formula.split("; ")]
        assert tuple(int(size) for _, size in parts) == y.shape[-len(parts) :]
        assert all(eval(formula, FLOOR) == int(size) for formula, size in parts)


def products(layer, out_shape):
    """How many products of a weight and a value (or a zero of the padding) one sample takes, counted one by one."""
    if isinstance(layer, nn.Linear):
        return sum(1 for _ in itertools.product(range(layer.out_features), range(layer.in_features)))
    count = 0
    window = getattr(layer, "kernel_size", (1,) * (len(out_shape) - 1))
    for _ in itertools.product(*map(range, out_shape)):
        for _ in itertools.product(range(layer.in_channels // getattr(layer, "groups", 1)), *map(range, window)):
            count += 1
    return count


@pytest.mark.parametrize(
    "name", ["Conv1d", "Conv2d", "Conv2d same", "Conv1x1", "LocallyConnected1d", "LocallyConnected2d", "Linear"]
)
def test_multiply_adds_are_the_products_counted_one_by_one(name):
    layer, shape = LAYERS[name]
    (row,) = mg.summary(layer, shape).rows
    assert row.multiply_adds == products(layer, row.output_shape)


@pytest.mark.parametrize("name", ["ConvTranspose1d", "ConvTranspose2d"])
def test_multiply_adds_of_a_transposed_convolution_are_those_of_the_convolution_it_turns(name):
    layer, shape = LAYERS[name]
    (row,) = mg.summary(layer, shape).rows
    per_value = layer.out_channels // layer.groups * math.prod(layer.kernel_size)
    assert row.multiply_adds == math.prod(shape) * per_value


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(("shape", "kernel_size", "stride", "padding"), [
    ((2, 6, 5), 3, 1, 1), ((1, 7, 7), (3, 2), (2, 1), 0), ((3, 9), 2, 2, 1), ((3, 4, 3), None, 1, 0),
])  # fmt: skip
def test_equivalent_layers_cost_what_they_cost_when_built(shape, kernel_size, stride, padding, bias):
    rank = len(shape) - 1
    if kernel_size is None:
        conv, window = nn.Conv1x1(shape[0], 4, bias), (1, 1, 0)
    else:
        window = (kernel_size, stride, padding)
        conv = (nn.Conv1d, nn.Conv2d)[rank - 1](shape[0], 4, *window, bias=bias)
    (row,) = mg.summary(conv, shape).rows
    dense = nn.Linear(math.prod(shape), math.prod(row.output_shape), bias)
    local = (nn.LocallyConnected1d, nn.LocallyConnected2d)[rank - 1](shape[0], 4, shape[1:], *window, bias=bias)
    for layer, cost, takes in ((dense, row.dense, (math.prod(shape),)), (local, row.locally_connected, shape)):
        (built,) = mg.summary(layer, takes).rows
        assert cost == (built.parameters, built.multiply_adds)
        assert cost.parameters == sum(p.data.size for p in layer.parameters())


def test_a_transposed_convolution_without_shared_weights_has_filters_at_each_input():
    (row,) = mg.summary(nn.ConvTranspose1d(2, 3, 4, 3), (2, 5)).rows
    assert row.locally_connected == (5 * 2 * 3 * 4 + 3 * 16, 5 * 2 * 3 * 4)
    assert row.dense == (2 * 5 * 3 * 16 + 3 * 16, 2 * 5 * 3 * 16)


def test_groups_leave_out_connections_of_the_locally_connected_layer():
    (row,) = mg.summary(nn.Conv1d(4, 6, 3, groups=2), (4, 5)).rows
    assert row.locally_connected == (3 * 6 * 2 * 3 + 6 * 3, 3 * 6 * 2 * 3)


def test_costs_of_others_are_left_out_where_samples_and_steps_are_made_one():
    class Frames(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv1d(1, 2, 3)

        def forward(self, x):
            return self.conv(x.reshape(-1, 1, x.shape[-1])).reshape(*x.shape[:2], -1)

    (row,) = mg.summary(Frames(), (4, 8)).rows
    assert (row.dense, row.locally_connected) == (None, None)
    assert row.multiply_adds == 4 * 2 * 6 * 3


def test_what_a_weight_was_made_of_is_seen_too():
    class Own(nn.Module):
        def forward(self, x):
            return F.conv1d(x, x.mean((0, 1))[:3].reshape(1, 1, 3))

    (row,) = mg.summary(Own(), (1, 9)).rows
    assert row.receptive_field[0] >= 7


def test_a_pad_keeps_the_windows_of_paths_that_meet_after_it_apart():
    class Shifted(nn.Module):
        def __init__(self, *widths):
            super().__init__()
            self.conv, self.widths = nn.Conv1d(1, 1, 2), widths

        def forward(self, x):
            return sum(self.conv(F.pad(x, widths)) for widths in self.widths)

    for widths in itertools.permutations([(1, 0), (0, 1)]):
        row = mg.summary(nn.Sequential(Shifted(*widths), nn.ReLU()), (1, 9)).rows[-1]
        assert (row.receptive_field, row.jump) == ((3,), (1,))


def test_rows_and_columns_that_change_places_keep_their_own_fields():
    class Turned(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(1, 1, (1, 3))

        def forward(self, x):
            return self.conv(x.transpose(2, 3))

    assert mg.summary(Turned(), (1, 7, 8)).rows[-1].receptive_field == (3, 1)


def test_what_an_unknown_op_gave_can_be_joined_with_the_rest():
    class Joined(nn.Module):
        def forward(self, x):
            return mg.concatenate([turn_around(x, axes=-1), x], 1)

    assert mg.summary(Joined(), (1, 5)).rows[-1].receptive_field == (5,)


def test_products_of_ones_own_are_rows_and_weights_are_no_inputs():
    class Product(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(np.ones((3, 2), np.float32))

        def forward(self, x):
            return self.weight @ x

    (row,) = mg.summary(Product(), (2, 5)).rows
    assert (row.kind, row.input_shape, row.output_shape, row.parameters) == ("matmul", (2, 5), (3, 5), 6)
    assert (row.multiply_adds, row.receptive_field) == (3 * 2 * 5, (1,))


class Branches(nn.Module):
    """A shared layer, functions, a parameter of its own, a layer that never runs."""

    def __init__(self):
        super().__init__()
        self.conv, self.shared = nn.Conv2d(1, 2, 3), nn.Conv2d(2, 2, 3, padding=1)
        self.scale, self.table = nn.Parameter(np.ones((2, 1, 1), np.float32)), nn.Parameter(np.ones((8, 4), np.float32))
        self.unused = nn.Linear(3, 3).requires_grad_(False)

    def forward(self, x):
        x = self.conv(x)
        x = self.shared(F.relu(self.shared(x))) * self.scale + x
        return F.linear(F.avg_pool2d(x, 3, padding=1).flatten(1)[:, :4], self.table)


def test_calls_and_functions_have_rows_in_order_and_parameters_count_once():
    model = Branches()
    found = mg.summary(nn.Sequential({"net": model}), (1, 6, 6))
    assert [(row.path, row.kind) for row in found.rows] == [
        ("net.conv", "Conv2d"), ("net.shared", "Conv2d"), ("net.shared", "Conv2d"),
        ("net", "avg_pool2d"), ("net", "linear"), ("net", "Branches"),
    ]  # fmt: skip
    assert [row.new_parameters for row in found.rows] == [20, 38, 0, 0, 32, 2]
    assert [row.parameters for row in found.rows] == [20, 38, 38, 0, 32, 2]
    assert [row.receptive_field for row in found.rows[:4]] == [(3, 3), (5, 5), (7, 7), (9, 9)]
    assert found.rows[1].multiply_adds == found.rows[2].multiply_adds == 4 * 4 * 2 * 2 * 9
    totals = found.totals
    assert totals.parameters == sum(p.data.size for p in model.parameters()) == 104
    assert (totals.unused, totals.trainable, totals.parameter_memory) == (12, 92, 4 * 104)
    text = str(found)
    assert "parameters: 104 (416 B), 12 of them frozen, 12 of them not used in this pass" in text
    assert re.search(r"net\.shared +Conv2d.* shared ", text)
    assert "parameters of the convolutions: 58; if locally connected 928, if dense 2,240" in text


def test_the_table_has_a_line_for_each_row_and_a_legend():
    lines = str(mg.summary(lenet(), (1, 28, 28))).splitlines()
    assert lines[0] == "Sequential on 1 x 28 x 28, float32, per sample"
    assert lines[3].split("  ")[0] == "0"
    first = " ".join(lines[3].split())
    assert (
        first == "0 Conv2d 6 x 28 x 28 (28 + 2*2 - 5)/1 + 1 = 28 156 117,600 18.4 KiB 5 x 5 1 122k / 118k 3.69M / 3.69M"
    )
    assert "whole input" in lines[10]
    assert "parameters of the convolutions: 2,572; if locally connected 363,904, if dense 5,575,840" in lines


def test_layers_that_are_not_registered_show_as_functions():
    class Hidden(nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = [nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.MaxPool2d(2))]

        def forward(self, x):
            return self.layers[0](x)

    rows = mg.summary(Hidden(), (1, 8, 8)).rows
    assert [(row.path, row.kind, row.receptive_field) for row in rows] == [
        ("", "conv2d", (3, 3)), ("", "max_pool2d", (4, 4)),
    ]  # fmt: skip


class Restless(nn.Module):
    """Changes whatever a pass can change."""

    def __init__(self):
        super().__init__()
        self.norm, self.drop, self.conv = nn.BatchNorm2d(1), nn.Dropout(0.5), nn.Conv2d(1, 1, 3)
        self.register_buffer("count", mg.tensor([1.0, np.nan]))
        self.norm.eval()
        self.calls = 0

    def forward(self, x):
        self.calls += 1
        assert not self.training
        self.cache = x
        self.count.add_(1)
        self.register_buffer("late", mg.tensor([1.0]))
        if x.shape[-1] > 9:
            raise ValueError("too large")
        return self.conv(self.drop(self.norm(x) + F.dropout(x)))


@pytest.mark.parametrize("size", [8, 10])
def test_the_model_and_the_random_state_stay_as_they_were_also_after_an_error(size):
    model, heard = Restless(), []
    model.conv.register_forward_hook(lambda *_: heard.append(1))
    model.norm.num_batches_tracked.add_(3)
    mg.manual_seed(5)
    expected = np.asarray(F.dropout(np.ones(20), 0.5, True))
    before = {name: tensor.numpy().copy() for name, tensor in model.state_dict().items()}
    mg.manual_seed(5)
    if size > 9:
        with pytest.raises(ValueError, match="too large") as caught:
            mg.summary(model, (1, size, size))
        assert "2 samples" in caught.value.__notes__[0]
    else:
        mg.summary(model, (1, size, size))
    np.testing.assert_array_equal(np.asarray(F.dropout(np.ones(20), 0.5, True)), expected)
    assert [m.training for m in model.modules()] == [True, False, True, True]
    assert model.calls == 0
    assert not hasattr(model, "cache")
    assert model.state_dict().keys() == before.keys()
    for name, tensor in model.state_dict().items():
        np.testing.assert_array_equal(tensor.numpy(), before[name])
    assert [len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules()] == [0, 0, 0, 1]
    assert mg.is_grad_enabled()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_dtype_is_the_parameters_and_memory_follows_it(dtype):
    found = mg.summary(nn.Sequential(nn.Linear(3, 4, dtype=dtype), nn.ReLU()), [3])
    assert [row.dtype for row in found.rows] == [np.dtype(dtype).name] * 2
    assert [row.memory for row in found.rows] == [4 * np.dtype(dtype).itemsize] * 2


def test_integers_go_to_an_embedding():
    class Reader(nn.Module):
        def __init__(self):
            super().__init__()
            self.table, self.conv = nn.Embedding(9, 4), nn.Conv1d(4, 3, 3, padding=1)

        def forward(self, x):
            return self.conv(self.table(x).permute(0, 2, 1))

    rows = mg.summary(Reader(), (7,), dtype=int).rows
    assert [row.output_shape for row in rows] == [(7, 4), (3, 7)]
    assert [row.receptive_field for row in rows] == [(1,), (3,)]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((lambda x: x, (3,)), "need a Module, got function"),
        ((nn.ReLU(), 3), "need input_shape as a tuple"),
        ((nn.ReLU(), (2.5,)), "need input_shape as integers"),
        ((nn.ReLU(), (2,), "int3"), "int3"),
    ],
)
def test_what_is_no_model_or_no_shape_is_refused(arguments, words):
    with pytest.raises(TypeError, match=words):
        mg.summary(*arguments)


def test_what_runs_in_another_thread_does_not_get_into_the_table():
    shared = nn.Linear(3, 3)

    class Busy(nn.Module):
        def __init__(self):
            super().__init__()
            self.dense, self.scale = shared, nn.Parameter([1.0])

        def forward(self, x):
            other = threading.Thread(target=lambda: shared(np.ones((1, 3), np.float32)))
            other.start()
            other.join()
            return self.dense(x) * self.scale

    assert [(row.path, row.kind) for row in mg.summary(Busy(), (3,)).rows] == [("dense", "Linear"), ("", "Busy")]
