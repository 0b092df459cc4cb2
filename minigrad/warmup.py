"""Compile beforehand what digit classifiers need: every kernel once, forward and backward, on small arrays."""

import functools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from minigrad import nn, optim
from minigrad.data import Augment
from minigrad.functional import cross_entropy
from minigrad.modes import enable_grad
from minigrad.ops.winograd import is_winograd_enabled, set_winograd_enabled
from minigrad.tensor import tensor

Task = tuple[str, Callable[[], None]]

# Of each layer the input's shape; nine samples, for a chunk that is not full and for images in all lanes of a vector.
LAYERS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "convolution over channels": (lambda: nn.Conv2d(16, 40, 5), (9, 16, 12, 12)),
    "convolution over images": (lambda: nn.Conv2d(1, 1, 5, padding=2), (9, 1, 12, 12)),
    "convolution by Winograd's transforms": (lambda: nn.Conv2d(16, 16, 3, padding=1), (9, 16, 8, 8)),
    "convolution of signals": (lambda: nn.Conv1d(2, 16, 3, stride=2), (9, 2, 12)),
    "convolution with pooling": (
        lambda: nn.Sequential(nn.Conv2d(2, 16, 5), nn.ReLU(), nn.MaxPool2d(2)),
        (9, 2, 12, 12),
    ),
    "1x1 convolution": (lambda: nn.Conv1x1(16, 10), (9, 16, 12, 12)),
    "linear": (lambda: nn.Linear(40, 70), (9, 40)),
    "max pooling": (lambda: nn.MaxPool2d(2), (9, 2, 12, 12)),
    "average pooling": (lambda: nn.AvgPool2d(2), (9, 2, 12, 12)),
    "global pooling": (lambda: nn.GlobalAvgPool2d(), (9, 2, 12, 12)),
    "relu": (nn.ReLU, (9, 40)),
    "leaky relu": (nn.LeakyReLU, (9, 40)),
    "gelu": (nn.GELU, (9, 40)),
    "sigmoid": (nn.Sigmoid, (9, 40)),
    "silu": (nn.SiLU, (9, 40)),
    "batch norm": (lambda: nn.BatchNorm2d(3), (9, 3, 5, 5)),
    "dropout": (lambda: nn.Dropout(0.5), (9, 40)),
    "dropout of channels": (lambda: nn.Dropout2d(0.5), (9, 3, 5, 5)),
}
OPTIMISERS: dict[str, Callable[[list[Any]], optim.Optimizer]] = {
    "SGD": lambda parameters: optim.SGD(parameters, lr=0.1, momentum=0.9),
    "RMSprop": lambda parameters: optim.RMSprop(parameters, lr=0.1),
    "Adam": lambda parameters: optim.Adam(parameters, lr=0.1),
    "AdamW": lambda parameters: optim.AdamW(parameters, lr=0.1),
    "gradient clipping": lambda parameters: _Clipping(parameters, lr=0.1),
}


def tasks(*dtypes: Any) -> Iterator[Task]:
    """What is to be done, with its name, for arrays of each dtype; doing it compiles its kernels or loads them."""
    for dtype in map(np.dtype, dtypes):
        for name, (make, shape) in LAYERS.items():
            yield f"{name}, {dtype}", functools.partial(_run_layer, make, shape, dtype)
        yield f"cross entropy, {dtype}", functools.partial(_run_loss, dtype)
        yield f"augmentation, {dtype}", functools.partial(_run_augmentation, dtype)
        for name, make_optimiser in OPTIMISERS.items():
            yield f"{name}, {dtype}", functools.partial(_run_optimiser, make_optimiser, dtype)


class _Clipping(optim.SGD):
    """A step after its gradients were clipped."""

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        optim.clip_grad_norm_([p for group in self.param_groups for p in group["params"]], 1.0)
        return super().step(closure)


def _run_layer(make: Callable[[], nn.Module], shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
    layer = make().double() if dtype == np.float64 else make()
    x = tensor(np.linspace(-1, 1, int(np.prod(shape)), dtype=dtype).reshape(shape), requires_grad=True)
    before = is_winograd_enabled()
    set_winograd_enabled(True)
    try:
        with enable_grad():
            y = layer(x)
            y.backward(np.ones(y.shape, dtype))
    finally:
        set_winograd_enabled(before)


def _run_loss(dtype: np.dtype[Any]) -> None:
    x = tensor(np.linspace(-1, 1, 90, dtype=dtype).reshape(9, 10), requires_grad=True)
    with enable_grad():
        cross_entropy(x, np.arange(9)).backward()


def _run_augmentation(dtype: np.dtype[Any]) -> None:
    Augment(shift=1, alpha=1)(np.ones((9, 1, 5, 5), dtype))


def _run_optimiser(make: Callable[[list[Any]], optim.Optimizer], dtype: np.dtype[Any]) -> None:
    parameter = nn.Parameter(np.linspace(-1, 1, 40, dtype=dtype))
    parameter.grad = tensor(np.ones(40, dtype))
    make([parameter]).step()
