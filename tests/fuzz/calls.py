"""A good call of every public function, in which the fuzzer replaces arguments."""

import dataclasses
import inspect
from collections.abc import Callable
from typing import Any

import numpy as np

import minigrad as mg
from minigrad import functional as F, nn, optim, training

from .commands import COMMANDS, command
from .things import OPERATORS, THINGS, in_place, optimise


@dataclasses.dataclass(frozen=True)
class Call:
    """A function, what it is called with, by which name its errors should go, and which arguments it may change."""

    function: Callable[..., Any]
    arguments: dict[str, Any]
    names: tuple[str, ...]
    changes: tuple[str, ...] = ()


def values(*shape: int, seed: int = 0) -> np.ndarray:
    """Numbers between 0.1 and 0.9: probabilities too."""
    return np.random.default_rng(seed + sum(shape)).uniform(0.1, 0.9, shape).astype(np.float32)


SIGNAL, IMAGE, ROWS = values(3, 4, 9), values(3, 4, 7, 8), values(5, 6)
LABELS, TARGETS = np.arange(5) % 4, values(5, 6, seed=1)
POOLED = {
    1: F.max_pool1d(SIGNAL, 2, return_indices=True),
    2: F.max_pool2d(IMAGE, 2, return_indices=True),
}
WINDOW = {"stride": 1, "padding": 1, "dilation": 1}

FUNCTIONS: dict[str, tuple[Any, ...] | dict[str, Any]] = {
    "batch_norm": {
        "input": IMAGE, "running_mean": values(4), "running_var": values(4), "weight": values(4), "bias": values(4),
        "training": False, "momentum": 0.1, "eps": 1e-5,
    },
    "binary_cross_entropy": {"input": ROWS, "target": TARGETS, "weight": values(6), "reduction": "mean"},
    "binary_cross_entropy_with_logits": {
        "input": ROWS, "target": TARGETS, "weight": values(6), "reduction": "mean", "pos_weight": values(6),
    },
    "cross_entropy": {
        "input": ROWS, "target": LABELS, "weight": values(6), "ignore_index": -100, "reduction": "mean",
        "label_smoothing": 0.1,
    },
    "nll_loss": {
        "input": ROWS, "target": LABELS, "weight": values(6), "ignore_index": -100, "reduction": "mean",
    },
    "dropout": {"input": ROWS, "p": 0.5, "training": True},
    "dropout2d": {"input": IMAGE, "p": 0.5, "training": True},
    "elu": {"input": ROWS, "alpha": 1.0},
    "embedding": {"input": LABELS, "weight": ROWS, "padding_idx": 0},
    "gelu": {"input": ROWS, "approximate": "none"},
    "group_norm": {"input": IMAGE, "num_groups": 2, "weight": values(4), "bias": values(4), "eps": 1e-5},
    "huber_loss": {"input": ROWS, "target": TARGETS, "reduction": "mean", "delta": 1.0},
    "l1_loss": {"input": ROWS, "target": TARGETS, "reduction": "sum"},
    "mse_loss": {"input": ROWS, "target": TARGETS, "reduction": "none"},
    "interpolate": {"input": IMAGE, "size": (3, 9), "scale_factor": None, "mode": "bilinear", "align_corners": False},
    "layer_norm": {"input": ROWS, "normalized_shape": (6,), "weight": values(6), "bias": values(6), "eps": 1e-5},
    "leaky_relu": {"input": ROWS, "negative_slope": 0.01},
    "linear": {"input": ROWS, "weight": values(3, 6), "bias": values(3)},
    "log_softmax": {"input": ROWS, "dim": 1},
    "softmax": {"input": ROWS, "dim": -1},
    "softplus": {"input": ROWS, "beta": 1.0, "threshold": 20.0},
    "one_hot": {"tensor": LABELS, "num_classes": 4},
    "pad": {"input": IMAGE, "pad": (1, 0, 2, 1), "mode": "constant", "value": 0.5},
    "conv1x1": {"input": IMAGE, "weight": values(5, 4), "bias": values(5)},
    **{name: {"input": ROWS} for name in ("relu", "sigmoid", "silu", "tanh")},
}  # fmt: skip
for rank, x in ((1, SIGNAL), (2, IMAGE)):
    window, pooling = (3,) * rank, {"kernel_size": 2, "stride": 2, "padding": 0, "ceil_mode": False}
    pooled, winners = POOLED[rank]
    out = (7,) if rank == 1 else (5, 6)
    FUNCTIONS |= {
        f"adaptive_avg_pool{rank}d": {"input": x, "output_size": 3},
        f"avg_pool{rank}d": {"input": x, **pooling, "count_include_pad": True, "divisor_override": None},
        f"max_pool{rank}d": {"input": x, **pooling, "dilation": 1, "return_indices": False},
        f"max_unpool{rank}d": {
            "input": pooled, "indices": winners, "kernel_size": 2, "stride": 2, "padding": 0,
            "output_size": x.shape[2:],
        },
        f"global_avg_pool{rank}d": {"input": x},
        f"conv{rank}d": {"input": x, "weight": values(6, 2, *window), "bias": values(6), **WINDOW, "groups": 2},
        f"conv_transpose{rank}d": {
            "input": x, "weight": values(4, 3, *window), "bias": values(6), "stride": 2, "padding": 1,
            "output_padding": 1, "groups": 2, "dilation": 1,
        },
        f"convolve{rank}d": {"input": x[0, 0], "filter": values(*window), "mode": "full"},
        f"correlate{rank}d": {"input": x[0, 0], "filter": values(*window), "mode": "same"},
        f"locally_connected{rank}d": {
            "input": x, "weight": values(*out, 2, 4, *window), "bias": values(2, *out), **WINDOW, "padding": 0,
        },
    }  # fmt: skip

LAYERS: dict[str, tuple[dict[str, Any], Any]] = {
    "ELU": ({"alpha": 1.0}, ROWS), "GELU": ({"approximate": "tanh"}, ROWS),
    "LeakyReLU": ({"negative_slope": 0.1}, ROWS), "Softplus": ({"beta": 1.0, "threshold": 20.0}, ROWS),
    "Softmax": ({"dim": 1}, ROWS), "LogSoftmax": ({"dim": 1}, ROWS),
    "Dropout": ({"p": 0.5}, ROWS), "Dropout2d": ({"p": 0.5}, IMAGE),
    "Flatten": ({"start_dim": 1, "end_dim": -1}, IMAGE),
    "Embedding": ({"num_embeddings": 5, "embedding_dim": 3, "padding_idx": 0, "dtype": "float32"}, LABELS),
    "Linear": ({"in_features": 6, "out_features": 3, "bias": True, "dtype": "float32"}, ROWS),
    "Conv1x1": ({"in_channels": 4, "out_channels": 3, "bias": True, "dtype": "float32"}, IMAGE),
    "LayerNorm": (
        {"normalized_shape": 6, "eps": 1e-5, "elementwise_affine": True, "bias": True, "dtype": "float32"}, ROWS,
    ),
    "GroupNorm": ({"num_groups": 2, "num_channels": 4, "eps": 1e-5, "affine": True, "dtype": "float32"}, IMAGE),
    "Upsample": ({"size": None, "scale_factor": 2, "mode": "nearest", "align_corners": None}, IMAGE),
    **{name: ({}, ROWS) for name in ("ReLU", "SiLU", "Sigmoid", "Tanh", "Identity")},
}  # fmt: skip
for rank, x in ((1, SIGNAL), (2, IMAGE)):
    window = {"kernel_size": 3, "stride": 1, "padding": 1}
    channels = {"in_channels": 4, "out_channels": 6, "bias": True, "dtype": "float32"}
    LAYERS |= {
        f"Conv{rank}d": ({**channels, **window, "dilation": 1, "groups": 2}, x),
        f"ConvTranspose{rank}d": ({**channels, **window, "output_padding": 0, "groups": 2, "dilation": 1}, x),
        f"LocallyConnected{rank}d": ({**channels, "input_size": x.shape[2:], **window, "dilation": 1}, x),
        f"MaxPool{rank}d": ({**window, "dilation": 1, "return_indices": False, "ceil_mode": True}, x),
        f"AvgPool{rank}d": ({**window, "ceil_mode": True, "count_include_pad": False}, x),
        f"AdaptiveAvgPool{rank}d": ({"output_size": 2}, x),
        f"GlobalAvgPool{rank}d": ({}, x),
        f"BatchNorm{rank}d": (
            {
                "num_features": 4,
                "eps": 1e-5,
                "momentum": 0.1,
                "affine": True,
                "track_running_stats": True,
                "dtype": "float32",
                "bias": True,
            },
            x,
        ),
    }

TENSOR: dict[str, dict[str, Any]] = {
    "argmax": {"dim": 1, "keepdim": False}, "argmin": {"dim": 1, "keepdim": False}, "cumsum": {"dim": 1},
    "max": {"dim": 1, "keepdim": False}, "min": {"dim": 1, "keepdim": False}, "prod": {"dim": 1, "keepdim": True},
    "clamp": {"min": 0.2, "max": 0.5}, "clip": {"min": 0.2, "max": 0.5},
    "flatten": {"start_dim": 0, "end_dim": -1}, "logsumexp": {"dim": 1, "keepdim": False},
    "log_softmax": {"dim": 1}, "softmax": {"dim": 1},
    "mean": {"dim": 1, "keepdim": False}, "sum": {"dim": 1, "keepdim": False},
    "std": {"dim": 1, "correction": 1, "keepdim": False}, "var": {"dim": 1, "correction": 1, "keepdim": False},
    "matmul": {"other": values(6, 3)}, "pow": {"exponent": 2.0}, "roll": {"shifts": 1, "dims": 1},
    "size": {"dim": 1}, "split": {"split_size_or_sections": 2, "dim": 1}, "squeeze": {"dim": 0},
    "unsqueeze": {"dim": 1},
    "to": {"dtype": "float64"}, "transpose": {"dim0": 0, "dim1": 1}, "requires_grad_": {"requires_grad": True},
    "reshape": {"shape": (6, 5)}, "view": {"shape": (30,)}, "expand": {"shape": (2, 5, 6)}, "permute": {"dims": (1, 0)},
    "flip": {"dims": (0,)}, "__getitem__": {"index": (1, slice(None))},
    "__add__": {"other": ROWS}, "__mul__": {"other": 2.0}, "__truediv__": {"other": ROWS}, "__pow__": {"exponent": 2},
    "__matmul__": {"other": values(6, 3)}, "__rsub__": {"other": 1.0},
}  # fmt: skip
IN_PLACE: dict[str, dict[str, Any]] = {
    "add_": {"other": TARGETS, "alpha": 2}, "sub_": {"other": TARGETS, "alpha": 2}, "mul_": {"other": TARGETS},
    "div_": {"other": TARGETS}, "copy_": {"other": TARGETS}, "fill_": {"value": 2.0}, "zero_": {},
    "__setitem__": {"index": np.array([3, 0, 3]), "value": 0.5},
}  # fmt: skip
UNARY = (
    "abs acos asin atan ceil clone cos cosh detach dim double exp float floor isfinite isnan log long numel numpy relu "
    "round sigmoid sign sin sinh sqrt tan tanh tolist"
).split()
FUNCTIONS_OF_ONE = (
    "absolute acos acosh asin asinh atan atanh ceil cos cosh erf exp expm1 floor isfinite isnan log log1p logical_not "
    "round sign sin sinh sqrt tan tanh"
).split()
FUNCTIONS_OF_TWO = (
    "equal greater greater_equal less less_equal logical_and logical_or maximum minimum not_equal power"
).split()


def _set_num_threads(count: Any) -> None:
    """It holds for the whole process, so others get back what was."""
    before = mg.get_num_threads()
    mg.set_num_threads(count)
    mg.set_num_threads(before)


def _clip(name: str) -> Callable[..., Any]:
    def call(**settings: Any) -> Any:
        parameter = nn.Parameter(PARAMETER.copy())
        parameter.grad = mg.tensor(PARAMETER)
        getattr(optim, name)([parameter], **settings)
        return parameter.grad

    return call


def _filled(name: str) -> Callable[..., Any]:
    def call(**settings: Any) -> Any:
        with mg.random.seeded(0):
            return getattr(nn.init, name)(mg.tensor(values(5, 4, 3, 3)), **settings)

    return call


INITS: dict[str, dict[str, Any]] = {
    "uniform_": {"a": 0.0, "b": 1.0}, "normal_": {"mean": 0.0, "std": 1.0}, "constant_": {"val": 0.5},
    "trunc_normal_": {"mean": 0.0, "std": 1.0, "a": -2.0, "b": 2.0}, "orthogonal_": {"gain": 1.0},
    "xavier_uniform_": {"gain": 1.0}, "xavier_normal_": {"gain": 1.0},
    "kaiming_uniform_": {"a": 0.0, "mode": "fan_in", "nonlinearity": "leaky_relu"},
    "kaiming_normal_": {"a": 0.0, "mode": "fan_out", "nonlinearity": "relu"},
}  # fmt: skip
OF_CLASSES = {"target": LABELS, "weight": values(6), "ignore_index": -100}
LOSSES: dict[str, dict[str, Any]] = {
    "BCELoss": {"target": TARGETS, "weight": values(6)},
    "BCEWithLogitsLoss": {"target": TARGETS, "weight": values(6), "pos_weight": values(6)},
    "CrossEntropyLoss": {**OF_CLASSES, "label_smoothing": 0.1}, "HuberLoss": {"target": TARGETS, "delta": 1.0},
    "L1Loss": {"target": TARGETS}, "MSELoss": {"target": TARGETS}, "NLLLoss": OF_CLASSES,
}  # fmt: skip
PARAMETER = values(3, 2)
OTHER: dict[str, tuple[Callable[..., Any], dict[str, Any]]] = {
    "tensor": (mg.tensor, {"data": ROWS, "dtype": None, "requires_grad": False}),
    "as_tensor": (mg.as_tensor, {"data": ROWS, "dtype": None}),
    "where": (mg.where, {"condition": ROWS > 0.5, "a": ROWS, "b": TARGETS}),
    "concatenate": (lambda a, b, dim: mg.concatenate((a, b), dim), {"a": ROWS, "b": ROWS, "dim": 0}),
    "stack": (lambda a, b, dim: mg.stack((a, b), dim), {"a": ROWS, "b": ROWS, "dim": 0}),
    "split": (mg.split, {"x": ROWS, "split_size_or_sections": [2, 3], "dim": 0}),
    "einsum": (lambda terms, a, b: mg.einsum(terms, a, b), {"terms": "ij,jk->ik", "a": ROWS, "b": values(6, 3)}),
    "backward": (lambda x, dy: mg.tensor(x, requires_grad=True).exp().backward(dy), {"x": ROWS, "dy": ROWS}),
    "item": (lambda x: mg.tensor(x).item(), {"x": ROWS[:1, :1]}),
    "clip": (mg.clip, {"x": ROWS, "min": 0.1, "max": 0.4}),
    "manual_seed": (mg.manual_seed, {"seed": 3}),
    "set_num_threads": (_set_num_threads, {"count": 1}),
    "summary": (mg.summary, {"model": nn.Linear(6, 3), "input_shape": (6,), "dtype": None}),
    "explain": (mg.explain, {"layer": 3, "input_shape": 9, "stride": 1, "padding": 0, "ceil_mode": False}),
    "matmul": (mg.matmul, {"a": ROWS, "b": values(6, 3)}),
    "vjp": (lambda x, v: mg.vjp(mg.exp, x, v)[1], {"x": ROWS, "v": ROWS}),
    "gradcheck": (
        lambda x, **settings: str(mg.gradcheck(mg.exp, mg.tensor(x, requires_grad=True), **settings)),
        {"x": np.float64(ROWS), "eps": 1e-6, "atol": 1e-5, "rtol": 1e-3, "fast_mode": True},
    ),
    "optim.clip_grad_norm_": (
        _clip("clip_grad_norm_"),
        {"max_norm": 1.0, "norm_type": 2.0, "error_if_nonfinite": False},
    ),
    "optim.clip_grad_value_": (_clip("clip_grad_value_"), {"clip_value": 0.1}),
    "training.accuracy": (training.accuracy, {"scores": ROWS, "labels": LABELS}),
    "data.Augment": (
        lambda images, **settings: mg.data.Augment(**settings)(images),
        {"images": values(3, 1, 8, 8), "shift": 1.0, "degrees": 5.0, "scale": (0.9, 1.1), "alpha": 2.0, "sigma": 2.0},
    ),
    "data.Batches": (
        lambda x, labels, **settings: next(iter(mg.data.Batches((x, labels), **settings)))[0],
        {"x": ROWS, "labels": LABELS, "batch_size": 2, "shuffle": True, "seed": 1, "drop_last": False},
    ),
    "data.resize": (mg.data.resize, {"images": values(3, 1, 8, 8), "size": (12, 10)}),
    **{f"nn.init.{name}": (_filled(name), settings) for name, settings in INITS.items()},
    **{name: (getattr(mg, name), {"x": ROWS}) for name in FUNCTIONS_OF_ONE},
    **{name: (getattr(mg, name), {"a": ROWS, "b": TARGETS}) for name in FUNCTIONS_OF_TWO},
}
OPTIMISERS = {
    "SGD": {"momentum": 0.9, "dampening": 0.0, "nesterov": False},
    "RMSprop": {"alpha": 0.9, "eps": 1e-8, "momentum": 0.9, "centered": True},
    "Adam": {"betas": (0.9, 0.999), "eps": 1e-8, "amsgrad": True},
    "AdamW": {"betas": (0.9, 0.999), "eps": 1e-8, "amsgrad": True},
}
OF_ALL_OPTIMISERS = {"lr": 0.1, "weight_decay": 0.1, "maximize": False, "parameter": PARAMETER}


def _build_and_call(name: str) -> Callable[..., Any]:
    def call(**settings: Any) -> Any:
        layer = getattr(nn, name)(**{key: value for key, value in settings.items() if key != "input"})
        return layer(settings["input"])

    return call


def _loss(name: str) -> Callable[..., Any]:
    return lambda input, target, **settings: getattr(nn, name)(**settings)(input, target)


def _method(name: str) -> Callable[..., Any]:
    def call(self: Any, **arguments: Any) -> Any:
        method = getattr(mg.as_tensor(self), name)
        positional = [
            kind for kind in inspect.signature(method).parameters.values() if kind.kind == kind.VAR_POSITIONAL
        ]
        if positional or name.startswith("__"):
            (value,) = arguments.values()
            return method(*value) if positional and isinstance(value, tuple) else method(value)
        return method(**arguments)

    return call


def _seeded(function: Callable[..., Any]) -> Callable[..., Any]:
    def call(**arguments: Any) -> Any:
        with mg.random.seeded(0):
            return function(**arguments)

    return call


CALLS: dict[str, Call] = {
    **{
        f"F.{name}": Call(_seeded(getattr(F, name)), arguments, (name,), ("running_mean", "running_var"))
        for name, arguments in FUNCTIONS.items()
    },
    **{
        f"nn.{name}": Call(_seeded(_build_and_call(name)), {"input": x, **settings}, (name, name.lower()))
        for name, (settings, x) in LAYERS.items()
    },
    **{
        f"nn.{name}": Call(_loss(name), {"input": ROWS, "reduction": "mean", **settings}, (name, "[a-z_0-9]+"))
        for name, settings in LOSSES.items()
    },
    **{
        f"minigrad.{name}": Call(_seeded(command(name)), arguments, (f"minigrad {name}",))
        for name, arguments in COMMANDS.items()
    },
    **{
        f"Tensor.{name}": Call(_method(name), {"self": ROWS, **arguments}, (name,))
        for name, arguments in TENSOR.items()
    },
    **{f"Tensor.{name}": Call(_method(name), {"self": ROWS}, (name,)) for name in UNARY},
    **{f"mg.{name}": Call(function, arguments, (name,)) for name, (function, arguments) in OTHER.items()},
    **{
        f"optim.{name}": Call(
            optimise(name), {"gradient": values(3, 2, seed=2), **OF_ALL_OPTIMISERS, **settings}, (name,), ("parameter",)
        )
        for name, settings in OPTIMISERS.items()
    },
    **{
        f"Tensor.{name}": Call(in_place(name), {"self": ROWS, **arguments}, (name,), ("self",))
        for name, arguments in IN_PLACE.items()
    },
    **{f"Tensor.{name}": Call(_method(name), {"self": ROWS, "other": TARGETS}, (name,)) for name in OPERATORS},
    **{
        name: Call(_seeded(function), arguments, (name.rpartition(".")[2],))
        for name, (function, arguments) in THINGS.items()
    },
}
