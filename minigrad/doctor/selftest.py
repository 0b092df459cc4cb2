"""Whether the kernels compute what they should, on this machine as it is now."""

import copy
import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from minigrad import nn
from minigrad.doctor.finding import Finding
from minigrad.functional import cross_entropy
from minigrad.gradcheck import gradcheck
from minigrad.kernels.threads import get_num_threads, set_num_threads
from minigrad.modes import enable_grad
from minigrad.random import seeded
from minigrad.tensor import Tensor, tensor
from minigrad.warmup import LAYERS

ROUNDING = 1e-4  # of the largest value: some fifty times what the kernels' float32 is off
PAIRS: dict[str, tuple[Callable[[], Any], tuple[int, ...]]] = {
    **LAYERS,
    "locally connected": (lambda: nn.LocallyConnected2d(2, 3, (6, 6), 3), (9, 2, 6, 6)),
    "cross entropy": (lambda: _CrossEntropy(), (9, 10)),
}


class _CrossEntropy(nn.Module):
    def forward(self, x: Tensor) -> Any:
        return cross_entropy(x, np.arange(len(x)))


def tests() -> list[tuple[str, Callable[[], Finding]]]:
    """A test of each pair of kernels: gradients against differences, float32 against float64, threads against one."""
    return [(name, functools.partial(_tried, name, make, shape)) for name, (make, shape) in PAIRS.items()]


def _tried(name: str, make: Callable[[], Any], shape: tuple[int, ...]) -> Finding:
    try:
        fault = _fault(make, shape)
    except Exception as error:  # whatever goes wrong in there is what is to be told
        fault = f"{type(error).__name__}: {error}".splitlines()[0]
    if fault:
        return Finding(name, fault, "wrong", "this is a fault of minigrad's or of the machine: please report it")
    return Finding(name, "gradients, float32, threads")


def _fault(make: Callable[[], Any], shape: tuple[int, ...]) -> str:
    """What is wrong with a layer, or nothing."""
    with seeded(0):
        single = make()
    double = copy.deepcopy(single).double()
    x = np.random.default_rng(0).standard_normal(shape)
    leaf = tensor(x, requires_grad=True)
    report = gradcheck(_repeatable(double), leaf, fast_mode=True, raise_exception=False)
    if report.verdict == "fail":
        return str(report).splitlines()[0]
    exact, rounded = _results(double, x), _results(single, x.astype(np.float32))
    for name, values in exact.items():
        bound = ROUNDING * max(np.abs(values).max(initial=0), 1e-3)
        if not np.abs(rounded[name] - values).max(initial=0) <= bound:
            return f"{name} in float32 is not that in float64"
    return _thread_fault(single, x.astype(np.float32), rounded)


def _thread_fault(layer: nn.Module, x: np.ndarray, expected: dict[str, np.ndarray]) -> str:
    count = get_num_threads()
    set_num_threads(1)
    try:
        alone = _results(layer, x)
    finally:
        set_num_threads(count)
    wrong = [name for name, values in expected.items() if values.tobytes() != alone[name].tobytes()]
    return f"{', '.join(wrong)}: other bits on {count} threads than on one" if wrong else ""


def _repeatable(layer: nn.Module) -> Callable[[Any], Any]:
    """The layer with the same dropout at every call."""

    def call(x: Any) -> Any:
        with seeded(1):
            return layer(x)

    return call


def _results(layer: nn.Module, x: np.ndarray) -> dict[str, np.ndarray]:
    """The output and all gradients, by name."""
    leaf = tensor(x, requires_grad=True)
    layer.zero_grad()
    with enable_grad():
        y = _repeatable(layer)(leaf)
        y.backward(np.linspace(-1, 1, y.data.size).astype(x.dtype).reshape(y.shape))
    found = {"output": y, "gradient by x": leaf.grad}
    found |= {f"gradient by {name}": p.grad for name, p in layer.named_parameters()}
    return {name: value.detach().numpy().copy() for name, value in found.items() if value is not None}
