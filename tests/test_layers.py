"""Every layer of minigrad.nn has the properties that `check_layer` knows, over drawn geometries and settings."""

import inspect

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from minigrad import functional as F, nn
from minigrad.testing import arrays, check_layer, conv_cases, pool_cases, shapes

ROWS = {}  # by the layer's name, a strategy of (layer, case, settings of check_layer)
NO_LAYERS = {nn.Module, nn.ModuleList, nn.ModuleDict}  # they have no forward
DTYPES = st.sampled_from([np.float64, np.float32])
SIDES = st.integers(1, 3)


def convolution(kind):
    def build(case):
        return kind(case.in_channels, case.out_channels, case.kernel_size, **case.settings)

    return build


for rank, conv, transposed, local in (
    (1, nn.Conv1d, nn.ConvTranspose1d, nn.LocallyConnected1d),
    (2, nn.Conv2d, nn.ConvTranspose2d, nn.LocallyConnected2d),
):
    small = {"max_size": 6 - rank, "max_batch": 2, "asymmetric": True}
    ROWS[conv.__name__] = st.tuples(st.just(convolution(conv)), conv_cases(rank, **small), st.just({}))
    # Padding takes away from what a transposed convolution gives: a little, so that something is left.
    ROWS[transposed.__name__] = st.tuples(
        st.just(convolution(transposed)), conv_cases(rank, **small | {"max_size": 3, "max_padding": 0}), st.just({})
    )

    def local_layer(case, local=local):
        about = {name: value for name, value in case.settings.items() if name != "groups"}
        return local(case.in_channels, case.out_channels, case.sizes, case.kernel_size, **about)

    ROWS[local.__name__] = st.tuples(st.just(local_layer), conv_cases(rank, max_groups=1, **small), st.just({}))

for rank, largest, mean, whole, adaptive in (
    (1, nn.MaxPool1d, nn.AvgPool1d, nn.GlobalAvgPool1d, nn.AdaptiveAvgPool1d),
    (2, nn.MaxPool2d, nn.AvgPool2d, nn.GlobalAvgPool2d, nn.AdaptiveAvgPool2d),
):
    pools = pool_cases(rank, asymmetric=True, max_batch=2)
    means = pool_cases(rank, asymmetric=True, max_batch=2, max_dilation=1)

    def pool(kind):
        return lambda case: kind(**case.settings)

    ROWS[largest.__name__] = st.tuples(st.just(pool(largest)), pools, st.just({}))
    ROWS[mean.__name__] = st.tuples(st.just(pool(mean)), means, st.just({}))
    ROWS[whole.__name__] = st.tuples(st.just(whole()), arrays(shapes(rank + 2, rank + 2), DTYPES), st.just({}))
    ROWS[adaptive.__name__] = st.tuples(
        SIDES.map(adaptive), arrays(shapes(rank + 2, rank + 2, max_side=4), DTYPES), st.just({})
    )


@st.composite
def unpoolings(draw, rank, layer):
    """What a pooling by twos or threes found, to be put back."""
    window = draw(st.integers(2, 3))
    x = draw(arrays((draw(SIDES), draw(SIDES), *(window * draw(SIDES) for _ in range(rank))), DTYPES))
    y, winners = {1: F.max_pool1d, 2: F.max_pool2d}[rank](x, window, return_indices=True)
    return layer(window), (y, winners), {"batched": 2}


ROWS |= {"MaxUnpool1d": unpoolings(1, nn.MaxUnpool1d), "MaxUnpool2d": unpoolings(2, nn.MaxUnpool2d)}


def elementwise(*layers, min_dims=1, max_dims=3, **about):
    """Layers that take an input of any shape."""
    x = arrays(shapes(min_dims, max_dims), DTYPES)
    return st.tuples(st.sampled_from(layers), x, st.just(about))


@st.composite
def by_channels(draw, build, min_dims, max_dims, **about):
    """A layer that is made for the number of channels C of an input (N, C, ...)."""
    x = draw(arrays(shapes(min_dims, max_dims, min_side=2 if about else 1), DTYPES))
    return build(x.shape[1]), x, about


ROWS |= {
    "ReLU": elementwise(nn.ReLU()),
    "LeakyReLU": elementwise(nn.LeakyReLU(), nn.LeakyReLU(0.3)),
    "ELU": elementwise(nn.ELU(), nn.ELU(0.4)),
    "GELU": elementwise(nn.GELU(), nn.GELU("tanh")),
    "SiLU": elementwise(nn.SiLU()),
    "Softplus": elementwise(nn.Softplus(), nn.Softplus(3.0, 1.01)),
    "Tanh": elementwise(nn.Tanh()),
    "Sigmoid": elementwise(nn.Sigmoid()),
    "Softmax": elementwise(nn.Softmax(1), nn.Softmax(-1), min_dims=2),
    "LogSoftmax": elementwise(nn.LogSoftmax(1), nn.LogSoftmax(-1), min_dims=2),
    "Dropout": elementwise(nn.Dropout(), nn.Dropout(0.2), nn.Dropout().eval()),
    "Dropout2d": elementwise(nn.Dropout2d(), nn.Dropout2d().eval(), min_dims=4, max_dims=4),
    "Identity": elementwise(nn.Identity()),
    "Flatten": elementwise(nn.Flatten(), nn.Flatten(1, 2), min_dims=3, max_dims=4),
    "Upsample": elementwise(
        nn.Upsample(scale_factor=2),
        nn.Upsample((4, 3), mode="bilinear"),
        nn.Upsample(5, mode="bilinear"),
        min_dims=4,
        max_dims=4,
    ),
    "Linear": by_channels(lambda c: nn.Linear(c, 2), 2, 2),
    "Conv1x1": by_channels(lambda c: nn.Conv1x1(c, 2), 3, 4),
    "GroupNorm": by_channels(lambda c: nn.GroupNorm(c, c), 3, 4),
    "BatchNorm1d": by_channels(nn.BatchNorm1d, 2, 3, batch_independent=False),
    "BatchNorm2d": by_channels(nn.BatchNorm2d, 4, 4, batch_independent=False),
    "LayerNorm": by_channels(nn.LayerNorm, 2, 2),
    "Sequential": by_channels(lambda c: nn.Sequential(nn.Linear(c, 3), nn.Tanh(), nn.Linear(3, 1)), 2, 2),
    "Embedding": st.tuples(
        st.just(nn.Embedding(4, 3)),
        st.lists(st.integers(0, 3), min_size=1, max_size=4).map(np.array),
        st.just({}),
    ),
}


@st.composite
def losses(draw, build, low=-2.0, high=2.0, has_classes=False):
    """A loss of scores and targets. Over the batch it sums or averages, and then no sample is alone."""
    reduction, dtype = draw(st.sampled_from(["none", "sum", "mean"])), draw(DTYPES)
    shape = (draw(SIDES), draw(st.integers(2, 3)))
    x = draw(arrays(shape, dtype, low=low, high=high, gap=0.0))
    if has_classes:
        target = np.array(draw(st.lists(st.integers(0, shape[1] - 1), min_size=shape[0], max_size=shape[0])))
    else:
        target = draw(arrays(shape, dtype, low=low, high=high, gap=0.0)) * 0.9
    about = {"batched": 2, "batch_independent": reduction == "none"}
    return build(reduction=reduction), (x, target), about | ({"skip": ["empty batch"]} if reduction == "mean" else {})


ROWS |= {
    "MSELoss": losses(nn.MSELoss),
    "L1Loss": losses(nn.L1Loss),
    "HuberLoss": losses(nn.HuberLoss),
    "BCELoss": losses(nn.BCELoss, 0.1, 0.9),
    "BCEWithLogitsLoss": losses(nn.BCEWithLogitsLoss),
    "CrossEntropyLoss": losses(nn.CrossEntropyLoss, has_classes=True),
    "NLLLoss": losses(nn.NLLLoss, has_classes=True),
}


def test_every_layer_has_a_row():
    public = {getattr(nn, name) for name in nn.__all__}
    layers = {kind for kind in public - NO_LAYERS if inspect.isclass(kind) and issubclass(kind, nn.Module)}
    assert {kind.__name__ for kind in layers} == ROWS.keys()


@pytest.mark.parametrize("name", sorted(ROWS))
@settings(max_examples=3)
@given(data=st.data())
def test_the_layer_has_every_property(name, data):
    layer, case, about = data.draw(ROWS[name])
    report = check_layer(layer, case, **about)
    left_out = {*about.get("skip", ()), *([] if about.get("batch_independent", True) else ["batch independence"])}
    assert report.skipped.keys() == left_out
