"""A layer with its inputs, run forward and backward on arrays, and how two runs differ."""

import copy
import functools
import inspect
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from minigrad import autograd
from minigrad.nn import Module
from minigrad.random import manual_seed
from minigrad.tensor import Tensor, as_tensor


class Run(NamedTuple):
    """What one forward and backward gave: outputs, gradients by name, and the dys that went in."""

    outputs: list[np.ndarray]
    gradients: dict[str, np.ndarray | None]
    dys: list[np.ndarray]

    def named(self) -> Iterator[tuple[str, np.ndarray | None]]:
        """Everything that came out, with a name for messages."""
        for k, y in enumerate(self.outputs):
            yield "output" if len(self.outputs) == 1 else f"output {k}", y
        for name, dx in self.gradients.items():
            yield f"gradient by {name}", dx


@dataclass(frozen=True)
class Subject:
    """A layer with its inputs. Every run takes a copy of the layer and seeds minigrad's random numbers anew."""

    layer: Any
    arrays: tuple[np.ndarray, ...]
    batched: int
    seed: int
    case: Any

    def __post_init__(self) -> None:
        if isinstance(self.layer, Module) and self.dtype:
            self.layer.to(self.dtype)

    @property
    def dtype(self) -> Any:
        """That of the floating inputs; None where there are none."""
        return next((a.dtype for a in self.arrays if a.dtype.kind == "f"), None)

    @property
    def label(self) -> str:
        """Layer and case, for messages."""
        layer = self.layer
        name = repr(layer) if isinstance(layer, Module) else getattr(layer, "__name__", repr(layer))
        inputs = self.case if isinstance(self.case, (tuple, list)) else (self.case,)
        shown = [f"{x.dtype}{list(x.shape)}" if hasattr(x, "shape") else repr(x) for x in inputs]
        return f"{name} at {', '.join(shown)}"

    @functools.cached_property
    def names(self) -> list[str]:
        """The inputs' names in the layer's signature."""
        function = self.layer.forward if isinstance(self.layer, Module) else self.layer
        try:
            parameters = list(inspect.signature(function).parameters.values())
        except (TypeError, ValueError):
            parameters = []
        named = [p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
        return [*named, *(f"input {i}" for i in range(len(named), len(self.arrays)))][: len(self.arrays)]

    def cast(self, dtype: Any) -> "Subject":
        """The same in another floating dtype."""
        arrays = tuple(a.astype(dtype) if a.dtype.kind == "f" else a for a in self.arrays)
        return replace(self, layer=self._copied(), arrays=arrays)

    def has_gradients(self) -> bool:
        """Whether there is anything to differentiate by."""
        return bool(self._leaves(self.layer, self.tensors()))

    def tensors(self) -> list[Tensor]:
        """The inputs as tensors over their memory; floating ones require grad."""
        return [_leaf(a) for a in self.arrays]

    def seeded_layer(self) -> Callable[..., Any]:
        """The layer as a function that draws the same random numbers at every call."""
        layer = self._copied()
        if isinstance(layer, Module):
            layer.register_forward_pre_hook(lambda *_: manual_seed(self.seed))
            return layer

        @functools.wraps(layer)
        def seeded(*xs: Tensor) -> Any:
            manual_seed(self.seed)
            return layer(*xs)

        return seeded

    def run(self, arrays: Sequence[np.ndarray] | None = None, dys: Sequence[np.ndarray] | None = None) -> Run:
        """Outputs, and gradients of <outputs, dys> by floating inputs and parameters; `dys` are random ones."""
        layer = self.seeded_layer()
        xs = [_leaf(a) for a in (self.arrays if arrays is None else arrays)]
        leaves = self._leaves(layer, xs)
        ys = _tensors(layer(*xs))
        reached = [y for y in ys if y.requires_grad]
        given = self.cotangents(reached) if dys is None else list(dys)
        found = autograd.grad(reached, list(leaves.values()), given, allow_unused=True) if reached and leaves else ()
        gradients = [None if dx is None else dx.numpy() for dx in found] or [None] * len(leaves)
        return Run([y.detach().numpy() for y in ys], dict(zip(leaves, gradients, strict=True)), given)

    def changes(self) -> str | None:
        """What a forward and a backward changed of what they were given; None where it is nothing."""
        layer = self.seeded_layer()
        xs = [_leaf(a.copy()) for a in self.arrays]
        leaves = self._leaves(layer, xs)
        names = [*self.names, *(name for name in leaves if name not in self.names)]
        watched = dict(zip(names, (*xs, *(leaves[name] for name in names[len(xs) :])), strict=True))
        before = {name: x.detach().numpy().copy() for name, x in watched.items()}
        ys = _tensors(layer(*xs))
        for name, x in watched.items():
            if words := _first_difference(before[name], x.detach().numpy(), 0.0):
                return f"forward changed {name}{words}"
        reached = [y for y in ys if y.requires_grad]
        if not reached:
            return None
        dys = self.cotangents(reached)
        watched |= {f"output {k}": y for k, y in enumerate(reached)} | {
            f"dy {k}": as_tensor(d) for k, d in enumerate(dys)
        }
        before = {name: x.detach().numpy().copy() for name, x in watched.items()}
        autograd.grad(reached, list(leaves.values()), dys, allow_unused=True)
        for name, x in watched.items():
            if words := _first_difference(before[name], x.detach().numpy(), 0.0):
                return f"backward changed {name}{words}"
        return None

    def cotangents(self, ys: Sequence[Tensor]) -> list[np.ndarray]:
        """A random dy for each output."""
        rng = np.random.default_rng(self.seed)
        return [rng.standard_normal(y.shape).astype(y.dtype) for y in ys]

    def _copied(self) -> Any:
        return copy.deepcopy(self.layer) if isinstance(self.layer, Module) else self.layer

    def _leaves(self, layer: Any, xs: Sequence[Tensor]) -> dict[str, Tensor]:
        """Everything by which there are gradients, by name: the floating inputs, then the parameters."""
        leaves = {name: x for name, x in zip(self.names, xs, strict=True) if x.requires_grad}
        if isinstance(layer, Module):
            leaves |= {name: p for name, p in layer.named_parameters() if p.requires_grad}
        return leaves


def _leaf(array: np.ndarray) -> Tensor:
    tensor = as_tensor(array)
    return tensor.requires_grad_() if array.dtype.kind == "f" else tensor


def _tensors(result: Any) -> list[Tensor]:
    """A layer's outputs."""
    outputs = list(result) if isinstance(result, (tuple, list)) else [result]
    for y in outputs:
        if not isinstance(y, Tensor):
            raise TypeError(f"check_layer: need a layer that returns tensors, got {type(y).__name__}")
    return outputs


def difference(a: Run, b: Run, tolerance: float) -> str | None:
    """Where two runs differ first, in words; None where they agree.

    They agree within `tolerance` times the largest value of an array; with a tolerance of 0, to the last bit.
    """
    for (name, x), (_, y) in zip(a.named(), b.named(), strict=True):
        if x is None or y is None:
            if x is not y:
                return f"{name} is {'missing' if y is None else 'there'}"
        elif x.shape != y.shape:
            return f"{name} has shape {y.shape}, not {x.shape}"
        elif words := _first_difference(x, y, tolerance):
            return f"{name}{words}"
    return None


def _first_difference(x: np.ndarray, y: np.ndarray, tolerance: float) -> str | None:
    place = first_difference(x, y, tolerance)
    if place is None:
        return None
    return f"{shown_index(place)} is {y[place]}, not {x[place]}"


def shown_index(place: tuple[int, ...]) -> str:
    """An index as one writes it; that of a scalar is nothing."""
    return f"[{', '.join(map(str, place))}]" if place else ""


def first_difference(x: np.ndarray, y: np.ndarray, tolerance: float) -> tuple[int, ...] | None:
    """The first index at which y is not x: by more than `tolerance` times x's largest value, or for 0 in any bit."""
    if x.size == 0:
        return None
    if tolerance and x.dtype.kind == "f":
        scale = np.max(np.abs(x[np.isfinite(x)]), initial=0.0)
        differs = ~np.isclose(y, x, rtol=0.0, atol=tolerance * max(scale, np.finfo(x.dtype).tiny), equal_nan=True)
    else:
        bits = f"u{x.dtype.itemsize}"
        differs = (np.ascontiguousarray(x).view(bits) != np.ascontiguousarray(y).view(bits)).reshape(x.shape)
    found = np.argwhere(differs)
    return tuple(map(int, found[0])) if len(found) else None
