"""Whether the kernels compute what they should, on this machine as it is now."""

import contextlib
import copy
import functools
from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

import numpy as np

from minigrad import nn, optim
from minigrad.data import Augment
from minigrad.doctor.finding import Finding
from minigrad.functional import cross_entropy, max_unpool2d
from minigrad.gradcheck import gradcheck
from minigrad.kernels import threads as launching
from minigrad.kernels.jit import SANITIZE
from minigrad.modes import enable_grad
from minigrad.ops import erf
from minigrad.random import seeded
from minigrad.tensor import Tensor, tensor
from minigrad.warmup import LAYERS, OPTIMISERS

ROUNDING = 1e-4  # of the largest value: some fifty times what the kernels' float32 is off
Results: TypeAlias = dict[str, np.ndarray]


class _Applied(nn.Module):
    """A function as a layer without parameters."""

    def __init__(self, function: Callable[[Any], Any]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Any:
        return self.function(x)


def _stepped(make: Callable[[list[Any]], optim.Optimizer], dtype: Any) -> Results:
    """A parameter after two steps of an optimiser."""
    parameter = nn.Parameter(np.linspace(-1, 1, 3000, dtype=dtype))
    parameter.grad = tensor(np.linspace(2, -1, 3000, dtype=dtype))
    optimiser = make([parameter])
    for _ in range(2):
        optimiser.step()
    return {"parameter": parameter.detach().numpy().copy()}


def _augmented(dtype: Any) -> Results:
    """Images, smooth ones, as neighbours must be close for float32 to find the same values."""
    image = np.outer(*[np.sin(np.linspace(0, 3, 12))] * 2)
    return {"images": Augment(shift=1, alpha=1)(np.broadcast_to(image, (9, 1, 12, 12)).astype(dtype))}


WINNERS = np.tile(np.arange(0, 36, 4).reshape(3, 3), (9, 2, 1, 1))  # in images of 6 x 6
PAIRS: dict[str, tuple[Callable[[], Any], tuple[int, ...]]] = {
    **LAYERS,
    "convolution by Winograd's transforms": (  # enough tiles for two threads
        lambda: nn.Conv2d(16, 16, 3, padding=1),
        (9, 16, 12, 12),
    ),
    "convolution with pooling, by its winners": (
        lambda: nn.Sequential(nn.Conv2d(16, 4, 5), nn.ReLU(), nn.MaxPool2d(2)),
        (9, 16, 8, 8),
    ),
    "transposed convolution": (lambda: nn.ConvTranspose2d(16, 2, 5, stride=2), (9, 16, 5, 5)),
    "locally connected": (lambda: nn.LocallyConnected2d(2, 3, (6, 6), 3), (9, 2, 6, 6)),
    "max unpooling": (lambda: _Applied(lambda x: max_unpool2d(x, WINNERS, 2)), (9, 2, 3, 3)),
    "erf": (lambda: _Applied(erf), (9, 40)),
    "cross entropy": (lambda: _Applied(lambda x: cross_entropy(x, np.arange(len(x)))), (9, 10)),
}
STEPS: dict[str, Callable[[Any], Results]] = {
    **{name: functools.partial(_stepped, make) for name, make in OPTIMISERS.items()},
    "RMSprop, small epsilon": functools.partial(_stepped, functools.partial(optim.RMSprop, lr=0.1, eps=1e-30)),
    "Adam, small epsilon": functools.partial(_stepped, functools.partial(optim.Adam, lr=0.1, eps=1e-30)),
    "augmentation": _augmented,
}


class _Repeatable(nn.Module):
    """A layer with the same dropout at every call."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor) -> Any:
        with seeded(1):
            return self.layer(x)


def tests() -> list[tuple[str, Callable[[], Finding]]]:
    """A test of all kernels: gradients against differences, float32 against float64, all threads against one."""
    checks = {name: (functools.partial(_layer_fault, *pair), "gradients, ") for name, pair in PAIRS.items()}
    checks |= {name: (functools.partial(_numeric_fault, step), "") for name, step in STEPS.items()}
    return [(name, functools.partial(_tried, name, *check)) for name, check in checks.items()]


def _tried(name: str, fault_of: Callable[[], str], checked: str) -> Finding:
    try:
        fault = fault_of()
    except Exception as error:  # whatever goes wrong in there is what is to be told
        fault = f"{type(error).__name__}: {error}".splitlines()[0]
    if fault:
        return Finding(name, fault, "wrong", "this is a fault of minigrad's or of the machine: please report it")
    return Finding(name, f"{checked}float32, threads" if _threads() > 1 else f"{checked}float32")


def _layer_fault(make: Callable[[], Any], shape: tuple[int, ...]) -> str:
    """What is wrong with a layer, or nothing."""
    with seeded(0):
        single = make()
    double = copy.deepcopy(single).double()
    layers = {np.float32: _Repeatable(single), np.float64: _Repeatable(double)}
    x = np.random.default_rng(0).standard_normal(shape)
    leaf = tensor(x, requires_grad=True)
    report = gradcheck(layers[np.float64], leaf, fast_mode=True, raise_exception=False)
    if report.wrong:
        worst = report.wrong[0]
        place = f"{worst.input.removeprefix('layer.')}{list(worst.input_index)}"
        return f"gradcheck: by {place} {worst.analytic:.6g}, differences say {worst.numerical:.6g}"
    if report.causes:
        return f"gradcheck: {report.causes[0].words}"
    return _numeric_fault(lambda dtype: _gradients(layers[dtype], x.astype(dtype)))


def _numeric_fault(results: Callable[[Any], Results]) -> str:
    """What differs between float32 and float64, or between all threads and one; or nothing."""
    with _split():
        exact, rounded = results(np.float64), results(np.float32)
    for name, values in exact.items():
        bound = ROUNDING * max(np.abs(values).max(initial=0), 1e-3)
        if not np.abs(rounded[name] - values).max(initial=0) <= bound:
            return f"{name} in float32 is not that in float64"
    count = launching.get_num_threads()
    launching.set_num_threads(1)
    try:
        alone = results(np.float32)
    finally:
        launching.set_num_threads(count)
    wrong = [name for name, values in rounded.items() if values.tobytes() != alone[name].tobytes()]
    return f"{', '.join(wrong)}: other bits on {count} threads than on one" if wrong else ""


@contextlib.contextmanager
def _split() -> Iterator[None]:
    """Let launches use all threads, however little there is to do."""
    before = launching.LEAST_WORK, launching.LEAST_WORK_OF_POOL
    launching.LEAST_WORK = launching.LEAST_WORK_OF_POOL = 0
    try:
        yield
    finally:
        launching.LEAST_WORK, launching.LEAST_WORK_OF_POOL = before


def _threads() -> int:
    """On how many threads a launch runs."""
    return 1 if SANITIZE else launching.get_num_threads()


def _gradients(layer: nn.Module, x: np.ndarray) -> Results:
    """The output and all gradients, by name."""
    leaf = tensor(x, requires_grad=True)
    layer.zero_grad()
    with enable_grad():
        y = layer(leaf)
        y.backward(np.linspace(-1, 2, y.data.size).astype(x.dtype).reshape(y.shape))
    found = {"output": y, "gradient by x": leaf.grad}
    found |= {f"gradient by {name.removeprefix('layer.')}": p.grad for name, p in layer.named_parameters()}
    return {name: value.detach().numpy().copy() for name, value in found.items() if value is not None}
