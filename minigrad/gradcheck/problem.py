"""What is checked: a function of tensors as a map between flat vectors, with the names of their elements."""

import copy
import inspect
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from minigrad import autograd, modes
from minigrad.nn import Module
from minigrad.tensor import Tensor, as_tensor

_ROUNDED = 2.0**-20  # an error may be rounding below this part of what derivatives are made of
_SCALES = (0.577, 0.717, 1.13, 1.37)  # no powers of 2
_ROUNDINGS = 64  # how much larger rounding may be than those scales show


class Block(NamedTuple):
    """One input or output: its name, and its place in the flat vector of all of them."""

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    place: slice

    def element(self, number: int) -> tuple[int, ...]:
        """The index of its number-th element."""
        return tuple(map(int, np.unravel_index(number, self.shape)))


def _laid_out(names: Sequence[str], arrays: Sequence[np.ndarray]) -> list[Block]:
    blocks, start = [], 0
    for name, array in zip(names, arrays, strict=True):
        blocks.append(Block(name, array.shape, array.dtype, slice(start, start + array.size)))
        start += array.size
    return blocks


def named(blocks: Sequence[Block], number: int | np.integer[Any]) -> tuple[str, tuple[int, ...]]:
    """An element of the flat vector: the name of the block that holds it, and its index there."""
    block = next(b for b in blocks if b.place.start <= number < b.place.stop)
    return block.name, block.element(int(number) - block.place.start)


class Recording:
    """One call of the function on the tape."""

    def __init__(self, leaves: Sequence[Tensor], outputs: Sequence[Tensor], blocks: Sequence[Block], caller: str):
        if [y.shape for y in outputs] != [b.shape for b in blocks]:
            raise ValueError(f"{caller}: the function's outputs change their shapes from call to call")
        self.leaves, self.outputs, self._blocks = leaves, outputs, blocks

    def pulled(self, dy: np.ndarray, only: int | None = None) -> np.ndarray:
        """dy' J as one flat vector, by one backward pass; with `only`, dy is that of one output."""
        reached: list[Tensor] = []
        cotangents = []
        for i, (y, block) in enumerate(zip(self.outputs, self._blocks, strict=True)):
            if y.requires_grad and only in (None, i):
                reached.append(y)
                part = dy if only is not None else dy[block.place]
                cotangents.append(part.reshape(y.shape).astype(y.dtype))
        if not reached:
            return np.zeros(sum(x.numel() for x in self.leaves))
        found = autograd.grad(reached, self.leaves, cotangents, retain_graph=True, allow_unused=True)
        return np.concatenate(
            [
                np.zeros(x.numel()) if dx is None else dx.detach().numpy().reshape(-1).astype(np.float64)
                for x, dx in zip(self.leaves, found, strict=True)
            ]
        )

    def is_rounding(self, dy: np.ndarray, dx: np.ndarray, off: np.ndarray, unit: np.ndarray) -> np.ndarray:
        """Which elements of dx = dy' J may be off by so much through rounding alone, as what they are made of cancels.

        `unit` is the size of the derivatives where nothing cancels: only what is far below it may be rounding. How
        large that is shows at other scales of dy, whose gradients are rounded otherwise.
        """
        is_small = off <= _ROUNDED * unit
        if not is_small.any():
            return is_small
        with np.errstate(invalid="ignore"):  # where a gradient is infinite
            moved = np.max([np.abs(self.pulled(k * dy) / k - dx) for k in _SCALES], axis=0)
        start = 0
        for x in self.leaves:
            part = slice(start, start := start + x.numel())
            most = moved[part].max(initial=0.0, where=np.isfinite(moved[part]))
            is_small[part] &= off[part] <= _ROUNDINGS * most
        return is_small


class Problem:
    """A function with a point to check it at. Checked inputs are those that require grad, and a module's parameters.

    `x` is that point as a flat vector, and `values` the function between flat vectors. What was given is only read.
    """

    def __init__(self, func: Callable[..., Any], inputs: Any, caller: str = "gradcheck"):
        self.caller, self._source = caller, func
        given = [as_tensor(x) for x in (inputs if isinstance(inputs, (tuple, list)) else (inputs,))]
        names = _names(func, len(given))
        if isinstance(func, Module):
            func, parameters = functional(func)
            names += list(parameters)
            given += parameters.values()
        self.func, self.names = func, names
        self._given = [np.array(x.detach().numpy()) for x in given]
        self._is_checked = [x.requires_grad for x in given]
        checked = [i for i, is_checked in enumerate(self._is_checked) if is_checked]
        if not checked:
            raise ValueError(f"{caller}: need at least one input that requires grad")
        self.inputs = _laid_out([names[i] for i in checked], [self._given[i] for i in checked])
        self.x = np.concatenate([self._given[i].reshape(-1) for i in checked]).astype(np.float64)
        with modes.enable_grad():
            outputs = self.called(self.arguments(self.x))
        arrays = [y.detach().numpy() for y in outputs]
        labels = getattr(func, "output_names", None) or (
            ["output"] if len(outputs) == 1 else [f"output {i}" for i in range(len(outputs))]
        )
        self.outputs = _laid_out(labels, arrays)

    @property
    def size(self) -> tuple[int, int]:
        """The number of output and of input elements: the shape of the Jacobian."""
        return self.outputs[-1].place.stop if self.outputs else 0, self.x.size

    def double(self) -> "Problem":
        """The same function at the same point in float64."""
        inputs = [
            Tensor(x.astype(np.float64) if x.dtype == np.float32 else x, requires_grad=is_checked)
            for x, is_checked in zip(self._given, self._is_checked, strict=True)
        ]
        if not isinstance(self._source, Module):
            return Problem(self._source, inputs, self.caller)
        module = copy.deepcopy(self._source).double()
        return Problem(module, inputs[: len(inputs) - sum(1 for _ in module.parameters())], self.caller)

    def arguments(self, x: np.ndarray) -> list[Tensor]:
        """The arguments of one call, each in memory of its own."""
        blocks = iter(self.inputs)
        leaves = []
        for array, is_checked in zip(self._given, self._is_checked, strict=True):
            if is_checked:
                block = next(blocks)
                values = x[block.place].reshape(block.shape).astype(block.dtype)
                leaves.append(Tensor.wrap(values).requires_grad_())
            else:
                leaves.append(Tensor.wrap(array.copy()))
        return leaves

    def called(self, leaves: Sequence[Tensor]) -> list[Tensor]:
        """The floating outputs of one call."""
        with np.errstate(all="ignore"):
            result = self.func(*leaves)
        outputs = list(result) if isinstance(result, (tuple, list)) else [result]
        for y in outputs:
            if not isinstance(y, Tensor):
                raise TypeError(f"{self.caller}: need a function that returns tensors, got {type(y).__name__}")
        return [y for y in outputs if y.dtype.kind == "f"]

    def recorded(self) -> tuple[Recording, list[Tensor]]:
        """A call at `x` on the tape, and all its arguments."""
        with modes.enable_grad():
            leaves = self.arguments(self.x)
            outputs = self.called(leaves)
        checked = [x for x, is_checked in zip(leaves, self._is_checked, strict=True) if is_checked]
        return Recording(checked, outputs, self.outputs, self.caller), leaves

    def changed(self, leaves: Sequence[Tensor]) -> list[str]:
        """The names of the arguments of a call that no longer hold what was put in."""
        return [
            name
            for name, leaf, array in zip(self.names, leaves, self._given, strict=True)
            if not np.array_equal(leaf.detach().numpy(), array, equal_nan=array.dtype.kind == "f")
        ]

    def values(self, x: np.ndarray) -> np.ndarray:
        """All outputs at another point, as one flat vector; NaN where the function refuses the point."""
        try:
            with modes.enable_grad():  # the function may itself differentiate
                outputs = self.called(self.arguments(x))
        except (ValueError, ArithmeticError):  # a probability above 1, say
            return np.full(self.size[0], np.nan)
        return np.concatenate([np.zeros(0), *(y.detach().numpy().reshape(-1) for y in outputs)])

    def pushed(self, v: np.ndarray) -> np.ndarray:
        """J v at `x` as one flat vector, by `jvp`."""
        leaves = self.arguments(self.x)
        checked = [i for i, is_checked in enumerate(self._is_checked) if is_checked]

        def func(*xs: Tensor) -> tuple[Tensor, ...]:
            arguments = list(leaves)
            for i, x in zip(checked, xs, strict=True):
                arguments[i] = x
            return tuple(self.called(arguments))

        directions = [v[b.place].reshape(b.shape).astype(b.dtype) for b in self.inputs]
        _, found = autograd.jvp(func, [leaves[i] for i in checked], directions)
        return np.concatenate([np.zeros(0), *(dy.detach().numpy().reshape(-1) for dy in found)])

    def with_input(self, block: Block, values: np.ndarray | float) -> np.ndarray:
        """The point at which one checked input is replaced."""
        x = self.x.copy()
        x[block.place] = values
        return x


def _names(func: Callable[..., Any], count: int) -> list[str]:
    """What the function calls its inputs, if its signature says so."""
    given = getattr(func, "input_names", None)
    if given is not None:
        return list(given)
    unnamed = [f"input {i}" for i in range(count)] if count > 1 else ["input"]
    try:
        parameters = inspect.signature(func.forward if isinstance(func, Module) else func).parameters.values()
    except (TypeError, ValueError):
        return unnamed
    names = [p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)][:count]
    return names if len(names) == count else unnamed


def functional(module: Module) -> tuple[Callable[..., Any], dict[str, Tensor]]:
    """A module as a function `(*inputs, *parameters)`, and its parameters by name; a copy does the work."""
    module = copy.deepcopy(module)
    parameters = dict(module.named_parameters())
    places = [
        [
            (owner._parameters, name)
            for owner in module.modules()
            for name, candidate in owner._parameters.items()
            if candidate is parameter
        ]
        for parameter in parameters.values()
    ]

    def call(*args: Tensor) -> Any:
        inputs, given = args[: len(args) - len(places)], args[len(args) - len(places) :]
        for tensor, found in zip(given, places, strict=True):
            for registry, name in found:
                registry[name] = tensor  # type: ignore[assignment]  # a tensor of the graph, not a leaf
        return module(*inputs)

    return call, dict(parameters)
