"""What is right, where a checker might think it wrong: minigrad's own functions, at inputs that are hard to check.

Among the inputs are ties, zeros of both signs, repeated and nearly equal values, and scales from 1e-3 to 1e3.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from hypothesis import strategies as st

import minigrad as mg
from minigrad import functional as F, nn

MAKERS: dict[str, Callable[["Source"], "Correct"]] = {}


@dataclass
class Correct:
    """A function whose derivatives are right, and arrays to check it at."""

    name: str
    function: Callable[..., Any]
    inputs: list[np.ndarray]

    def __repr__(self) -> str:
        arrays = ", ".join(np.array2string(a, separator=", ", floatmode="unique") for a in self.inputs)
        return f"{self.name} at [{arrays}]"

    def tensors(self) -> list[mg.Tensor]:
        return [mg.tensor(a, requires_grad=a.dtype.kind == "f") for a in self.inputs]


class Source:
    """Draws what a case is made of."""

    def __init__(self, draw: Callable[..., Any]):
        self.draw = draw

    def pick(self, *choices: Any) -> Any:
        return self.draw(st.sampled_from(choices))

    def size(self, least: int = 1, most: int = 3) -> int:
        return self.draw(st.integers(least, most))

    def shape(self, least: int = 0, most: int = 2) -> tuple[int, ...]:
        return tuple(self.size() for _ in range(self.size(least, most)))

    def rng(self) -> np.random.Generator:
        return np.random.default_rng(self.draw(st.integers(0, 2**32 - 1)))

    def numbers(self, shape: tuple[int, ...], low: float = -np.inf, high: float = np.inf) -> np.ndarray:
        """Values clipped to [low, high], within which the function is differentiable or has kinks at most."""
        rng, scale = self.rng(), self.pick(1.0, 1.0, 1e-3, 1e3)
        kind = self.pick("normal", "normal", "ties", "zeros", "repeated", "nearly equal", "mixed")
        x = rng.standard_normal(shape)
        if kind == "ties":
            x = rng.integers(-2, 3, shape) * np.where(rng.random(shape) < 0.5, 1.0, -1.0)  # zeros of both signs
        elif kind == "zeros":
            x = np.where(rng.random(shape) < 0.6, rng.choice([0.0, -0.0], shape), x)
        elif kind == "repeated":
            x = np.full(shape, rng.standard_normal())
        elif kind == "nearly equal":
            x = rng.integers(-1, 2, shape) + rng.choice([0.0, 1e-12, 1e-9, 1e-6, 1e-4], shape)
        elif kind == "mixed":
            x = x * 10 ** rng.uniform(-3, 3, shape)
        return np.asarray(np.clip(x * scale, low, high))

    def spread(self, shape: tuple[int, ...]) -> np.ndarray:
        """Values that are not all equal, for what has no derivative there."""
        return self.pick(1e-3, 1.0, 1e3) * (self.rng().standard_normal(shape) + np.arange(shape[-1]))


def maker(make: Callable[[Source], Correct]) -> Callable[[Source], Correct]:
    MAKERS[make.__name__] = make
    return make


@st.composite
def correct_cases(draw: Callable[..., Any]) -> Correct:
    return MAKERS[draw(st.sampled_from(sorted(MAKERS)))](Source(draw))


UNARY: dict[str, tuple[Callable[..., Any], float, float]] = {
    name: (getattr(mg, name), low, high)
    for low, high, names in (
        (-np.inf, np.inf, "absolute atan asinh cos erf sin tanh"),
        (-20, 20, "exp expm1 sinh cosh"),
        (1e-3, np.inf, "log sqrt"),
        (-0.9, np.inf, "log1p"),
        (-0.99, 0.99, "asin acos atanh"),
        (1.01, np.inf, "acosh"),
        (-1.5, 1.5, "tan"),
    )
    for name in names.split()
} | {
    "relu": (F.relu, -np.inf, np.inf),
    "leaky relu": (lambda x: F.leaky_relu(x, 0.2), -np.inf, np.inf),
    "elu": (F.elu, -np.inf, np.inf),
    "elu, alpha 0.4": (lambda x: F.elu(x, 0.4), -np.inf, np.inf),
    "gelu": (F.gelu, -np.inf, np.inf),
    "gelu by tanh": (lambda x: F.gelu(x, "tanh"), -np.inf, np.inf),
    "silu": (F.silu, -np.inf, np.inf),
    "sigmoid": (F.sigmoid, -np.inf, np.inf),
    "softplus": (F.softplus, -np.inf, 15.0),  # not across its threshold, where it jumps by 2e-9
    "clip": (lambda x: mg.clip(x, min=-1.0, max=1.0), -np.inf, np.inf),
    "clip below": (lambda x: mg.clip(x, min=0.0), -np.inf, np.inf),
    "square": (lambda x: x * x, -np.inf, np.inf),
    "cube": (lambda x: x**3, -np.inf, np.inf),
    "reciprocal": (lambda x: 1 / x, 1e-3, np.inf),
    "rectified square": (lambda x: F.relu(x) ** 2, -np.inf, np.inf),
    "soft sign": (lambda x: x / (1 + abs(x)), -np.inf, np.inf),
    "identity": (lambda x: x, -np.inf, np.inf),
}
STEPS = {"floor": mg.floor, "ceil": mg.ceil, "round": mg.round, "sign": mg.sign}
BOUNDED = ["relu", "leaky relu", "clip", "tanh", "sigmoid", "sin", "cos", "erf", "atan", "soft sign", "absolute"]


@maker
def elementwise(source: Source) -> Correct:
    name = source.pick(*UNARY)
    function, low, high = UNARY[name]
    return Correct(name, function, [source.numbers(source.shape(), low, high)])


@maker
def chain(source: Source) -> Correct:
    """Three functions of which every result is in the domain of the next."""
    names = [source.pick(*BOUNDED) for _ in range(3)]

    def function(x: Any) -> Any:
        for name in names:
            x = UNARY[name][0](x)
        return x

    return Correct(" of ".join(reversed(names)), function, [source.numbers(source.shape())])


@maker
def steps(source: Source) -> Correct:
    """Between their jumps."""
    name = source.pick(*STEPS)
    return Correct(name, STEPS[name], [np.floor(source.numbers(source.shape())) + source.pick(0.2, 0.7)])


BINARY: dict[str, tuple[Callable[..., Any], tuple[float, float], tuple[float, float]]] = {
    "add": (lambda a, b: a + b, (-np.inf, np.inf), (-np.inf, np.inf)),
    "subtract": (lambda a, b: a - b, (-np.inf, np.inf), (-np.inf, np.inf)),
    "multiply": (lambda a, b: a * b, (-np.inf, np.inf), (-np.inf, np.inf)),
    "divide": (lambda a, b: a / b, (-np.inf, np.inf), (1e-3, np.inf)),
    "power": (mg.power, (1e-2, 1e2), (-3, 3)),
    "maximum": (mg.maximum, (-np.inf, np.inf), (-np.inf, np.inf)),
    "minimum": (mg.minimum, (-np.inf, np.inf), (-np.inf, np.inf)),
    "squared distance": (lambda a, b: ((a - b) ** 2).sum(), (-np.inf, np.inf), (-np.inf, np.inf)),
    "two outputs": (lambda a, b: (a * b, F.relu(a - b)), (-np.inf, np.inf), (-np.inf, np.inf)),
}


@maker
def broadcasting(source: Source) -> Correct:
    name = source.pick(*BINARY)
    function, first, second = BINARY[name]
    full = source.shape(most=2)
    a, b = (tuple(source.pick(1, n) for n in full[source.size(0, len(full)) :]) for _ in range(2))
    return Correct(name, function, [source.numbers(a, *first), source.numbers(b, *second)])


@maker
def selection(source: Source) -> Correct:
    shape = source.shape()
    mask = source.rng().random(shape) < 0.5
    return Correct("where", lambda a, b: mg.where(mask, a, b), [source.numbers(shape), source.numbers(shape)])


REDUCTIONS = "sum mean max min prod var logsumexp std"


@maker
def reduction(source: Source) -> Correct:
    name = source.pick(*REDUCTIONS.split())
    shape = (source.size(), source.size(2, 4))
    dim = 1 if name == "std" else source.pick(0, 1)
    settings = {"correction": 0} if name in ("var", "std") else {}
    x = source.spread(shape) if name == "std" else source.numbers(shape)

    def function(x: Any) -> Any:
        y = getattr(x, name)(dim, **settings)
        return y[0] if isinstance(y, tuple) else y

    return Correct(f"{name} along {dim}", function, [x])


@maker
def whole(source: Source) -> Correct:
    name = source.pick("sum", "mean", "max", "min", "prod")
    return Correct(f"{name} of all", lambda x: getattr(x, name)(), [source.numbers(source.shape(1))])


@maker
def along(source: Source) -> Correct:
    name, dim = source.pick("softmax", "log_softmax", "cumsum"), source.pick(0, 1)
    return Correct(f"{name} along {dim}", lambda x: getattr(x, name)(dim), [source.numbers((source.size(), 3))])


MOVES: dict[str, Callable[..., Any]] = {
    "transpose": lambda x: x.T,
    "reshape": lambda x: x.reshape(2, 6),
    "flip": lambda x: x.flip(1),
    "roll": lambda x: x.roll(2, 1),
    "rows repeated": lambda x: x[[2, 0, 2, 2]],
    "cells repeated": lambda x: x[[0, 1, 1], [2, 2, 2]],
    "slice": lambda x: x[::2, 1:],
    "expand": lambda x: x.reshape(3, 1, 4).expand(3, 2, 4),
    "split": lambda x: mg.split(x, [1, 3], 1),
    "joined with itself": lambda x: mg.concatenate([x, x * x], 1),
    "stacked": lambda x: mg.stack([x, x.flip(0)], 1),
    "pad": lambda x: F.pad(x, (1, 0, 2, 1)),
    "upper part": lambda x: x * mg.tensor(np.triu(np.ones((3, 4)))),
}


@maker
def move(source: Source) -> Correct:
    name = source.pick(*MOVES)
    return Correct(name, MOVES[name], [source.numbers((3, 4))])


@maker
def rows_by_index(source: Source) -> Correct:
    index = source.rng().integers(0, 3, (2, 2))
    return Correct("embedding", F.embedding, [index, source.numbers((3, 2))])


PRODUCTS: dict[str, tuple[Callable[..., Any], tuple[tuple[int, ...], ...]]] = {
    "matmul": (mg.matmul, ((2, 3), (3, 2))),
    "matmul of a batch": (mg.matmul, ((2, 2, 3), (3, 2))),
    "matrix and vector": (mg.matmul, ((2, 3), (3,))),
    "dot": (mg.matmul, ((4,), (4,))),
    "linear": (F.linear, ((3, 4), (2, 4), (2,))),
    "bilinear": (lambda a, w, b: mg.einsum("ni,kij,nj->nk", a, w, b), ((2, 2), (2, 2, 3), (2, 3))),
    "trace of a product": (lambda a, b: mg.einsum("ij,ji->", a, b), ((2, 3), (3, 2))),
    "attention": (lambda q, k, v: F.softmax(q @ k.T, 1) @ v, ((3, 2), (3, 2), (3, 2))),
    "conv1x1": (F.conv1x1, ((2, 2, 3), (3, 2), (3,))),
    "convolve1d": (F.convolve1d, ((4,), (3,))),
    "correlate1d": (lambda x, w: F.correlate1d(x, w, "same"), ((4,), (3,))),
    "correlate2d": (lambda x, w: F.correlate2d(x, w, "valid"), ((4, 3), (2, 2))),
}


@maker
def product(source: Source) -> Correct:
    name = source.pick(*PRODUCTS)
    function, shapes = PRODUCTS[name]
    return Correct(name, function, [source.numbers(shape) for shape in shapes])


@maker
def convolution(source: Source) -> Correct:
    rank, groups, dilation = source.size(1, 2), source.size(1, 2), source.size(1, 2)
    x = (source.size(1, 2), groups * source.size(1, 2), *(source.size(3, 5) for _ in range(rank)))
    w = (groups * source.size(1, 2), x[1] // groups, *(source.size(1, 2) for _ in range(rank)))
    padding = source.pick(0, 1, "same", ((1, 0),) * rank)
    settings = {"stride": source.size(1, 2), "padding": padding, "dilation": dilation, "groups": groups}
    conv = (F.conv1d, F.conv2d)[rank - 1]
    arrays = [source.numbers(x), source.numbers(w), source.numbers(w[:1])]
    return Correct(f"conv{rank}d {settings}", lambda x, w, b: conv(x, w, b, **settings), arrays)


@maker
def transposed_convolution(source: Source) -> Correct:
    rank, groups, stride = source.size(1, 2), source.size(1, 2), source.size(1, 2)
    x = (source.size(1, 2), 2, *(source.size(2, 3) for _ in range(rank)))
    w = (2, source.size(1, 2), *(2,) * rank)
    settings = {"stride": stride, "padding": source.pick(0, 1), "groups": groups, "output_padding": stride - 1}
    conv = (F.conv_transpose1d, F.conv_transpose2d)[rank - 1]
    arrays = [source.numbers(x), source.numbers(w), source.numbers((w[1] * groups,))]
    return Correct(f"conv_transpose{rank}d {settings}", lambda x, w, b: conv(x, w, b, **settings), arrays)


@maker
def local_convolution(source: Source) -> Correct:
    arrays = [source.numbers((2, 2, 4)), source.numbers((3, 2, 2, 2)), source.numbers((2, 3))]
    return Correct("locally_connected1d", F.locally_connected1d, arrays)


@maker
def max_pooling(source: Source) -> Correct:
    rank, window, dilation = source.size(1, 2), source.size(2, 3), source.size(1, 2)
    settings = {"stride": source.size(1, 2), "padding": source.size(0, 1), "dilation": dilation}
    settings["ceil_mode"] = source.pick(True, False)
    sizes = tuple(source.size(5, 6 if rank == 1 else 5) for _ in range(rank))
    pool = (F.max_pool1d, F.max_pool2d)[rank - 1]
    return Correct(
        f"max_pool{rank}d {window} {settings}",
        lambda x: pool(x, window, **settings),
        [source.numbers((1, source.size(1, 2), *sizes))],
    )


@maker
def average_pooling(source: Source) -> Correct:
    rank = source.size(1, 2)
    settings = {
        "stride": source.size(1, 2),
        "padding": source.size(0, 1),
        "count_include_pad": source.pick(True, False),
    }
    pool = (F.avg_pool1d, F.avg_pool2d)[rank - 1]
    x = source.numbers((1, 2, *(source.size(3, 4) for _ in range(rank))))
    return Correct(f"avg_pool{rank}d {settings}", lambda x: pool(x, 2, **settings), [x])


RESIZES: dict[str, Callable[..., Any]] = {
    "adaptive_avg_pool2d": lambda x: F.adaptive_avg_pool2d(x, (2, 3)),
    "global_avg_pool2d": F.global_avg_pool2d,
    "nearest": lambda x: F.interpolate(x, scale_factor=2),
    "bilinear": lambda x: F.interpolate(x, size=(4, 3), mode="bilinear", align_corners=False),
    "unpooled": lambda x: F.max_unpool2d(x, np.array([[[[0, 3], [12, 15]]] * 2]), 2),
}


@maker
def resize(source: Source) -> Correct:
    name = source.pick(*RESIZES)
    sizes = (2, 2) if name == "unpooled" else (3, 4)
    return Correct(name, RESIZES[name], [source.numbers((1, 2, *sizes))])


def normal_batch(x: Any, weight: Any, bias: Any) -> Any:
    return F.batch_norm(x, None, None, weight, bias, training=True, eps=1e-2)


NORMS: dict[str, Callable[..., Any]] = {
    "batch norm": normal_batch,
    "layer norm": lambda x, weight, bias: F.layer_norm(x, (2,), weight, bias),
    "group norm": lambda x, weight, bias: F.group_norm(x, 1, weight, bias),
}


@maker
def normalisation(source: Source) -> Correct:
    name = source.pick(*NORMS)
    shape = (source.size(2, 3), 2) if name == "layer norm" else (source.size(2, 3), 2, 2)
    return Correct(name, NORMS[name], [source.numbers(shape), source.numbers((2,)), source.numbers((2,))])


@maker
def dropping(source: Source) -> Correct:
    seed, p = source.size(0, 99), source.pick(0.0, 0.3, 1.0)

    def dropped(x: Any) -> Any:
        mg.manual_seed(seed)
        return F.dropout(x, p)

    return Correct(f"dropout {p}, seed {seed}", dropped, [source.numbers(source.shape())])


@maker
def classes(source: Source) -> Correct:
    rng, reduction = source.rng(), source.pick("mean", "sum", "none")
    labels, smoothing = rng.integers(0, 3, 4), source.pick(0.0, 0.2)
    labels[0] = source.pick(-100, 1)
    weight = source.pick(None, np.array([0.5, 1.0, 2.0]))
    name = source.pick("cross_entropy", "nll_loss")

    def loss(x: Any) -> Any:
        if name == "nll_loss":
            return F.nll_loss(F.log_softmax(x, 1), labels, weight, reduction=reduction)
        return F.cross_entropy(x, labels, weight, reduction=reduction, label_smoothing=smoothing)

    return Correct(f"{name} {labels} {weight} {reduction} {smoothing}", loss, [source.numbers((4, 3))])


LOSSES: dict[str, tuple[Callable[..., Any], float, float]] = {
    "mse_loss": (F.mse_loss, -np.inf, np.inf),
    "l1_loss": (F.l1_loss, -np.inf, np.inf),
    "huber_loss": (F.huber_loss, -np.inf, np.inf),
    "binary_cross_entropy": (F.binary_cross_entropy, 1e-2, 0.99),
    "binary_cross_entropy_with_logits": (F.binary_cross_entropy_with_logits, -np.inf, np.inf),
}


@maker
def distance(source: Source) -> Correct:
    name, reduction, shape = source.pick(*LOSSES), source.pick("mean", "sum", "none"), source.shape(1)
    loss, low, high = LOSSES[name]
    target = source.numbers(shape, 0.0, 1.0) if name.startswith("binary") else source.numbers(shape)
    return Correct(
        f"{name} {reduction}", lambda x, t: loss(x, t, reduction=reduction), [source.numbers(shape, low, high), target]
    )


LAYERS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "Linear": (lambda: nn.Linear(3, 2), (4, 3)),
    "Conv1d": (lambda: nn.Conv1d(2, 2, 2, padding=1), (2, 2, 4)),
    "Conv2d": (lambda: nn.Conv2d(1, 2, 2, stride=2), (2, 1, 4, 4)),
    "ConvTranspose2d": (lambda: nn.ConvTranspose2d(1, 2, 2), (1, 1, 2, 3)),
    "LocallyConnected1d": (lambda: nn.LocallyConnected1d(1, 2, 4, 2), (2, 1, 4)),
    "BatchNorm1d": (lambda: nn.BatchNorm1d(2), (4, 2)),
    "BatchNorm2d in evaluation": (lambda: nn.BatchNorm2d(2).eval(), (2, 2, 2, 2)),
    "GroupNorm": (lambda: nn.GroupNorm(1, 2), (2, 2, 2)),
    "LayerNorm": (lambda: nn.LayerNorm(4), (2, 4)),
    "MLP": (lambda: nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2), nn.LogSoftmax(1)), (3, 3)),
    "CNN": (
        lambda: nn.Sequential(nn.Conv2d(1, 2, 2), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(2 * 4, 2)),
        (1, 1, 5, 5),
    ),
    "network with batch norm": (
        lambda: nn.Sequential(nn.Conv1d(1, 2, 2, bias=False), nn.BatchNorm1d(2), nn.GELU(), nn.GlobalAvgPool1d()),
        (3, 1, 4),
    ),
}


@maker
def layer(source: Source) -> Correct:
    name, seed = source.pick(*LAYERS), source.size(0, 99)
    make, shape = LAYERS[name]
    mg.manual_seed(seed)
    return Correct(f"nn.{name}, seed {seed}", make().double(), [source.numbers(shape)])
