"""For every op and every layer: how to call it with a batch, and with what all samples share."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

import minigrad as mg
from minigrad import nn
from minigrad.functional import pool as pooling
from minigrad.ops.geometry import window_axes

OPS = mg.OPS
Sizes = tuple[int, ...]


@dataclass(frozen=True)
class Integers:
    """Integers in [0, most), of which every sample has `shape`."""

    most: int
    shape: Sizes = ()


@dataclass(frozen=True)
class Case:
    """A function of a batch, whose samples have such shapes, and of arrays that all samples share.

    The outputs whose numbers are among `sums` are sums over the batch, all others have a row for each sample.
    """

    function: Callable[..., Any]
    samples: tuple[Sizes | Integers, ...]
    shared: tuple[Sizes, ...] = ()
    sums: tuple[int, ...] = ()
    low: float = -0.9
    high: float = 0.9

    def drawn(self, count: int, dtype: Any) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """The arrays of a batch of so many samples, and the shared ones."""
        rng = np.random.default_rng(5)

        def values(shape: Sizes) -> np.ndarray:
            return rng.uniform(self.low, self.high, shape).astype(dtype)

        def batch(of: Sizes | Integers) -> np.ndarray:
            return rng.integers(0, of.most, (count, *of.shape)) if isinstance(of, Integers) else values((count, *of))

        return [batch(of) for of in self.samples], [values(shape) for shape in self.shared]


CASES: dict[str, list[Case]] = {}
REASONS = {
    "batch_norm": "normalises over the batch: with what it knows of a run, in test_distributed.py",
    "cross_entropy": "its loss is a sum over the batch: the tree of its chunks, in test_batch_sums.py",
    "dropout": "what it keeps depends on where in the batch a value is: in test_shards.py",
}
"""Ops that make no such promise, and why."""


def add(name: str, *cases: Case) -> None:
    CASES.setdefault(name, []).extend(cases)


# Elementwise: of samples alone, and with arrays that broadcast along the batch.
_DOMAINS = {"acosh": (1.1, 3.0)} | dict.fromkeys(
    ("log", "sqrt", "power", "divide", "floor_divide", "remainder", "binary_cross_entropy"), (0.1, 0.9)
)
for _name, _op in OPS.items():
    if _op.broadcasts and _op.builtin and _name != "where":
        _about = dict(zip(("low", "high"), _DOMAINS.get(_name, (-0.9, 0.9)), strict=True))
        _call: Callable[..., Any] = (lambda x: OPS["clip"](x, min=-0.5, max=0.5)) if _name == "clip" else _op
        _count = len(_op._inputs)
        add(_name, Case(_call, ((3, 7),) * _count, **_about), Case(_call, ((),) * _count, **_about))
        if _count > 1:
            for _sample, _shared in (
                ((3, 7), (7,)),
                ((3, 7), (3, 1)),
                ((), ()),
                ((2, 3, 5), (2, 1, 5)),
                ((4,), (1, 4)),
            ):
                add(_name, Case(_op, (_sample,) * (_count - 1), (_shared,), **_about))


for _shared in ((7,), (3, 1)):
    add("where", Case(OPS["where"], (Integers(2, (3, 7)), (3, 7)), (_shared,)))


def of(name: str, **settings: Any) -> Callable[..., Any]:
    return lambda *arrays: OPS[name](*arrays, **settings)


# What moves values: samples are moved each by itself, shared arrays before they meet the batch.
add("clone", Case(of("clone"), ((3, 4),)))
add("cast", Case(of("cast", dtype=np.float32), ((3, 4),)))
add(
    "reshape",
    Case(lambda x: OPS["reshape"](x, shape=(len(x), 4, 3)), ((3, 4),)),
    Case(lambda x, w: x * OPS["reshape"](w, shape=(3, 4)), ((3, 4),), ((12,),)),
)
add(
    "permute",
    Case(of("permute", dims=(0, 2, 1)), ((3, 4),)),
    Case(lambda x, w: x @ OPS["permute"](w, dims=(1, 0)), ((4,),), ((5, 4),)),
)
add("expand", Case(lambda x, w: OPS["expand"](w, shape=(len(x), 3, 4)) + x, ((3, 4),), ((3, 1),)))
add(
    "sum_to",
    Case(of("sum_to", shape=(5, 1)), ((3, 5, 4),), sums=(0,)),
    Case(of("sum_to", shape=()), ((3, 5),), sums=(0,)),
    Case(lambda x: OPS["sum_to"](x, shape=(len(x), 1, 4)), ((3, 4),)),
)
add("pad", Case(of("pad", widths=((0, 0), (1, 2), (-1, 1))), ((3, 4),)))
add(
    "flip",
    Case(of("flip", dims=(1,)), ((5,),)),
    Case(lambda x, w: mg.einsum("nc,ck->nk", x, OPS["flip"](w, dims=(0,))), ((4,),), ((4, 3),)),
)
add(
    "roll",
    Case(of("roll", shifts=2, dims=1), ((5,),)),
    Case(lambda x, w: x + OPS["roll"](w, shifts=1), ((5,),), ((5,),)),
)
add("concatenate", Case(of("concatenate", dim=1), ((2, 3), (4, 3))))
_PICKS = np.array([[0, 2], [1, 1]])
add(
    "getitem",
    Case(lambda x: x[:, _PICKS], ((3, 2),)),
    Case(lambda x: x[:, 1:, None], ((3, 2),)),
    Case(lambda x: x[np.arange(len(x)), 1], ((3, 2),)),
    Case(lambda i, w: w[i], (Integers(4),), ((4, 3),)),
    Case(lambda i, w: w[i, -(i % 2)], (Integers(4, (5,)),), ((4, 2, 3),)),
    Case(lambda i, w: w[-1 - i, :, 1], (Integers(4, (5,)),), ((4, 2, 3),)),
    Case(lambda i, w: w[i, None, 1:], (Integers(4),), ((4, 3),)),
)
add(
    "scatter_add",
    Case(lambda i, x: OPS["scatter_add"](x, index=mg.ops.plain_index(i), shape=(4, 3)), (Integers(4), (3,)), sums=(0,)),
    Case(
        lambda i, x: OPS["scatter_add"](x, index=mg.ops.plain_index(i), shape=(4,)),
        (Integers(4, (6,)), (6,)),
        sums=(0,),
    ),
    Case(lambda x: OPS["scatter_add"](x, index=(slice(None), _PICKS), shape=(len(x), 3, 2)), ((2, 2, 2),)),
)
add(
    "take",
    Case(lambda i, w: OPS["take"](w, i), (Integers(4),), ((4, 3),)),
    Case(lambda i, w: OPS["take"](w, i), (Integers(60, (5,)),), ((60, 3),)),
    Case(lambda i, w: OPS["take"](w, i), (Integers(3, (2, 3)),), ((3,),)),
)
add(
    "take_along",
    Case(of("take_along", dim=1), ((4, 3), Integers(4, (6, 3)))),
    Case(of("take_along", dim=2), ((4, 3), Integers(3, (4, 2)))),
    Case(lambda i, w: OPS["take_along"](w, i, dim=0), (Integers(4, (3,)),), ((4, 3),)),
)

# Reductions of each sample, and what over the batch belongs to backward.
for _name in ("sum", "softmax", "log_softmax", "cumsum", "argmax", "argmin"):
    add(_name, *(Case(of(_name, dim=_dim), ((6, 19),)) for _dim in (1, 2)), Case(of(_name, dim=1), ((40,),)))
add("sum", *(Case(of("sum", dim=_dims), ((3, 5, 7),)) for _dims in ((1, 2), (1, 3), (2, 3), (1, 2, 3))))
add("channel_sum", Case(of("channel_sum"), ((3, 5),), sums=(0,)), Case(of("channel_sum"), ((3,),), sums=(0,)))
add(
    "normalize",
    *(Case(of("normalize", dims=_dims, eps=0.1), ((3, 5),)) for _dims in ((1,), (2,), (1, 2))),
)

# Products: of a few rows, and of more than a tile, a panel and a chunk of a kernel's hold.
for _c, _k in ((3, 2), (300, 70), (9, 1)):
    add("matmul", Case(of("matmul"), ((_c,),), ((_c, _k),)))
    add("linear", Case(of("linear"), ((_c,),), ((_k, _c), (_k,))), Case(of("linear"), ((_c,),), ((_k, _c),)))
    add("linear_relu", Case(of("linear_relu"), ((_c,),), ((_k, _c), (_k,))))
    add("linear_weight_gradient", Case(of("linear_weight_gradient"), ((_k,), (_c,)), sums=(0,)))
    add("linear_gradients", Case(of("linear_gradients"), ((_k,), (_c,)), sums=(0, 1)))
    add("einsum", Case(lambda x, w: mg.einsum("nc,ck->nk", x, w), ((_c,),), ((_c, _k),)))
add(
    "matmul",
    Case(mg.matmul, ((7,),), ((7,),)),
    Case(mg.matmul, ((5, 3),), ((3, 4),)),
    Case(mg.matmul, ((4, 3),), ((3,),)),
    Case(mg.matmul, ((2, 5, 3),), ((3, 4),)),
    Case(mg.matmul, ((2, 5, 3),), ((2, 3, 4),)),
    Case(lambda x, w: mg.matmul(w, x), ((5, 3),), ((4, 5),)),
    Case(mg.matmul, ((5, 3), (3, 4))),
    Case(of("matmul", transpose_b=True), ((6,),), ((5, 6),)),
    Case(of("matmul", transpose_a=True), ((3, 5),), ((3, 4),)),
)
_SUMS = {
    "nc,k->nck": (((4,),), ((3,),)),
    "nc,c->nc": (((9,),), ((9,),)),
    "nc,c->n": (((9,),), ((9,),)),
    "nc,->nc": (((4,),), ((),)),
    "nc,kc->nk": (((4,),), ((3, 4),)),
    "ntc,ck->ntk": (((5, 4),), ((4, 3),)),
    "ntc,ck->nkt": (((5, 4),), ((4, 3),)),
    "nhc,hck->nhk": (((2, 4),), ((2, 4, 3),)),
    "nhtc,hck->nhtk": (((2, 5, 4),), ((2, 4, 3),)),
    "ntc,uc->ntu": (((5, 4),), ((6, 4),)),
    "ntc,k->nk": (((5, 4),), ((3,),)),
    "nc,nk->nck": (((4,), (3,)), ()),
    "nc,nk,ckj->nj": (((4,), (5,)), ((4, 5, 3),)),
    "nc,ck,kj->nj": (((4,),), ((4, 5), (5, 3))),
    "nc,ck,k->nk": (((4,),), ((4, 5), (5,))),
    "na,ab,bc,cd->nd": (((9,),), ((9, 2), (2, 30), (30, 3))),
    "n,nc,nk,ck->nk": (((), (4,), (3,)), ((4, 3),)),
    "n...,...k->nk": (((4,),), ((4, 3),)),
    "ncc,ck->nk": (((4, 4),), ((4, 3),)),
    "nij->n": (((5, 7),), ()),
    "nij->nj": (((5, 7),), ()),
}
for _equation, _shapes in _SUMS.items():
    add("einsum", Case(partial(mg.einsum, _equation), *_shapes))


# Windows: for each kernel a shape that it takes.
def windows(name: str, sizes: Sizes, size: Any, *rest: Any, **settings: Any) -> Callable[..., Any]:
    stride, padding, dilation = (*rest, *(1, 0, 1)[len(rest) :])
    return of(name, axes=window_axes("cases", sizes, size, stride, padding, dilation), **settings)


_CONVOLUTIONS: list[tuple[Sizes, Sizes, Sizes, Sizes]] = [  # a sample, its outputs, a weight; stride and padding
    ((2, 6, 5), (3, 6, 5), (3, 2, 3, 3), (1, 1)),
    ((1, 6, 6), (14, 3, 2), (14, 1, 2, 3), (2, 0)),
    ((5, 4, 5), (40, 4, 5), (40, 5, 1, 1), (1, 0)),
    ((16, 5, 4), (17, 5, 4), (17, 16, 3, 3), (1, 1)),
    ((3, 12, 9), (16, 12, 9), (16, 3, 1, 1), (1, 0)),
]
for _x, _y, _w, _rest in _CONVOLUTIONS:
    _sizes, _size, _k = _x[1:], _w[2:], _w[:1]
    for _name in ("conv2d", "conv2d_relu", "conv2d_relu_max_pool2d"):
        _chain = windows(_name, _sizes, _size, *_rest)
        add(_name, Case(_chain, (_x,), (_w, _k)), Case(_chain, (_x,), (_w,)))
    add("convolve2d", Case(windows("convolve2d", _sizes, _size, *_rest), (_x,), (_w,)))
    add("conv_transpose2d", Case(windows("conv_transpose2d", _sizes, _size, *_rest), (_y,), (_w,)))
    _gradient = windows("conv2d_weight_gradient", _sizes, _size, *_rest)
    add("conv2d_weight_gradient", Case(_gradient, (_y, _x), sums=(0,)))
_GROUPS = windows("conv2d", (6, 5), (3, 3), 2, 1, groups=2)
add("conv2d", Case(_GROUPS, ((4, 6, 5),), ((6, 2, 3, 3), (6,))))
for _filters in (3, 20):
    _x, _y, _w = (2, 13), (_filters, 6), (_filters, 2, 4)
    for _name in ("conv1d", "convolve1d"):
        _layer = windows(_name, (13,), 4, 2, 1)
        add(_name, Case(_layer, (_x,), (_w,)))
    add("conv1d", Case(windows("conv1d", (13,), 4, 2, 1), (_x,), (_w, _w[:1])))
    add("conv_transpose1d", Case(windows("conv_transpose1d", (13,), 4, 2, 1), (_y,), (_w,)))
    add("conv1d_weight_gradient", Case(windows("conv1d_weight_gradient", (13,), 4, 2, 1), (_y, _x), sums=(0,)))
    for _area in ((4,), (11, 10)):
        add("conv1x1", Case(of("conv1x1"), ((5, *_area),), ((_filters, 5), (_filters,))))
        add(
            "conv1x1_weight_gradient", Case(of("conv1x1_weight_gradient"), ((_filters, *_area), (5, *_area)), sums=(0,))
        )
for _rank in (1, 2):
    _sizes, _outs, _name = (4,) * _rank, (3,) * _rank, f"locally_connected{_rank}d"
    _x, _y, _w = (2, *_sizes), (5, *_outs), (*_outs, 5, 2, *(2,) * _rank)
    add(_name, Case(windows(_name, _sizes, 2), (_x,), (_w,)))
    add(f"{_name}_input_gradient", Case(windows(f"{_name}_input_gradient", _sizes, 2), (_y,), (_w,)))
    add(f"{_name}_weight_gradient", Case(windows(f"{_name}_weight_gradient", _sizes, 2), (_y, _x), sums=(0,)))

    _pool, _unpool, _pick = (f"max_{_what}{_rank}d" for _what in ("pool", "unpool", "pick"))
    _sizes, _outs = (9,) * _rank, (5,) * _rank
    add(
        _pool,
        Case(windows(_pool, _sizes, 3, 2, 1), ((2, *_sizes),)),
        Case(windows(_pool, _sizes, 2, 2), ((2, *_sizes),)),
    )
    add(_unpool, Case(of(_unpool, sizes=_sizes), ((2, *_outs), Integers(9**_rank, (2, *_outs)))))
    add(_pick, Case(of(_pick), ((2, *_sizes), Integers(9**_rank, (2, *_outs)))))
    _spans = pooling._spans(window_axes("cases", _sizes, 3, 2, 1, 1), True, None)
    add(f"avg_pool{_rank}d", Case(of(f"avg_pool{_rank}d", spans=_spans), ((2, *_sizes),)))
    add(f"avg_pool_transpose{_rank}d", Case(of(f"avg_pool_transpose{_rank}d", spans=_spans), ((2, *_outs),)))
_PLACES = windows("winner_indices", (9, 9), 3, 2, 1)
add("winner_indices", Case(_PLACES, (Integers(9, (2, 5, 5)),)))
add("keep_last", Case(of("keep_last", sizes=(9,)), ((2, 5), Integers(9, (2, 5)))))

# Layers, with the shapes of a sample of what they take.
Layer = tuple[Callable[[], nn.Module], tuple[Sizes | Integers, ...]]
LAYERS: dict[str, Layer] = {
    "Identity": (nn.Identity, ((3,),)),
    "Flatten": (nn.Flatten, ((3, 4),)),
    "Linear": (lambda: nn.Linear(7, 5), ((7,),)),
    "Embedding": (lambda: nn.Embedding(9, 5, padding_idx=2), (Integers(9, (6,)),)),
    "Conv1d": (lambda: nn.Conv1d(2, 5, 3, padding=1), ((2, 9),)),
    "Conv2d": (lambda: nn.Conv2d(3, 6, 5, padding=2), ((3, 9, 8),)),
    "Conv1x1": (lambda: nn.Conv1x1(3, 5), ((3, 6, 5),)),
    "ConvTranspose1d": (lambda: nn.ConvTranspose1d(2, 5, 3, stride=2), ((2, 6),)),
    "ConvTranspose2d": (lambda: nn.ConvTranspose2d(2, 5, 3, stride=2), ((2, 4, 3),)),
    "LocallyConnected1d": (lambda: nn.LocallyConnected1d(2, 5, 7, 3), ((2, 7),)),
    "LocallyConnected2d": (lambda: nn.LocallyConnected2d(2, 5, (5, 4), 3), ((2, 5, 4),)),
    "LayerNorm": (lambda: nn.LayerNorm((5, 4)), ((3, 5, 4),)),
    "GroupNorm": (lambda: nn.GroupNorm(2, 4), ((4, 5, 3),)),
    "Upsample": (lambda: nn.Upsample(scale_factor=1.7, mode="bilinear"), ((2, 5, 4),)),
    "Softmax": (lambda: nn.Softmax(1), ((11,),)),
    "LogSoftmax": (lambda: nn.LogSoftmax(1), ((11,),)),
    "MaxUnpool1d": (lambda: nn.MaxUnpool1d(2), ((2, 4), Integers(8, (2, 4)))),
    "MaxUnpool2d": (lambda: nn.MaxUnpool2d(2), ((2, 3, 2), Integers(24, (2, 3, 2)))),
    "BCELoss": (lambda: nn.BCELoss(reduction="none"), ((5,), (5,))),
    "BCEWithLogitsLoss": (lambda: nn.BCEWithLogitsLoss(reduction="none"), ((5,), (5,))),
    "CrossEntropyLoss": (lambda: nn.CrossEntropyLoss(reduction="none", label_smoothing=0.1), ((7,), Integers(7))),
    "HuberLoss": (lambda: nn.HuberLoss(reduction="none", delta=0.3), ((5,), (5,))),
    "L1Loss": (lambda: nn.L1Loss(reduction="none"), ((5,), (5,))),
    "MSELoss": (lambda: nn.MSELoss(reduction="none"), ((5,), (5,))),
    "NLLLoss": (lambda: nn.NLLLoss(reduction="none"), ((7, 3), Integers(7, (3,)))),
}
for _name in ("ELU", "GELU", "LeakyReLU", "ReLU", "SiLU", "Sigmoid", "Softplus", "Tanh"):
    LAYERS[_name] = (getattr(nn, _name), ((3, 5),))
for _name in ("MaxPool", "AvgPool", "AdaptiveAvgPool"):
    LAYERS[f"{_name}1d"] = (partial(getattr(nn, f"{_name}1d"), 4), ((2, 9),))
    LAYERS[f"{_name}2d"] = (partial(getattr(nn, f"{_name}2d"), 2), ((2, 9, 8),))
LAYERS["GlobalAvgPool1d"] = (nn.GlobalAvgPool1d, ((2, 9),))
LAYERS["GlobalAvgPool2d"] = (nn.GlobalAvgPool2d, ((2, 9, 8),))
LAYER_REASONS = dict.fromkeys(("Dropout", "Dropout2d"), REASONS["dropout"])
LAYER_REASONS |= dict.fromkeys(("BatchNorm1d", "BatchNorm2d"), "in training it " + REASONS["batch_norm"])
LAYER_REASONS |= dict.fromkeys(("Module", "ModuleDict", "ModuleList", "Sequential"), "holds layers")
