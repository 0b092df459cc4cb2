"""One forward pass written down: the calls of ops, and where each of their inputs came from."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from minigrad.dtypes import DType, result_dtype
from minigrad.modes import Tracer, change_watch, watching
from minigrad.nn import Module
from minigrad.tape import Storage, Variable
from minigrad.tensor import Tensor


class Source(NamedTuple):
    """Where a value came from: an input of the model by number, its state by name, or a call's output."""

    kind: str
    key: int | str
    slot: int = 0


@dataclass(frozen=True)
class Call:
    """A call of an op: its inputs as sources, numbers, arrays that came from nowhere, or None."""

    op: str
    path: str  # of the module that called it
    inputs: list[Any]
    dtypes: list[DType]  # in which the op computed with each of them
    settings: dict[str, Any]
    outputs: list[tuple[tuple[int, ...], DType]]


class _Known(NamedTuple):
    source: Source
    storage: Storage
    version: int


class Trace(Tracer):
    """The calls of a forward pass. Tensors are known again as objects, or else (`detach`, `numpy`) by their memory."""

    def __init__(self, inputs: Sequence[Tensor], state: Mapping[str, Tensor]):
        self.calls: list[Call] = []
        self._tensors: dict[int, _Known] = {}
        self._memory: dict[Any, _Known] = {}
        self._kept: list[Variable] = []  # or their ids and their memory would be used again
        for name, tensor in state.items():
            self._remember(tensor, Source("state", name))
        for i, tensor in enumerate(inputs):
            self._remember(tensor, Source("input", i))

    def _remember(self, tensor: Variable, source: Source) -> None:
        known = _Known(source, tensor._storage, tensor._storage.version)
        self._tensors.setdefault(id(tensor), known)
        if tensor._array.size:
            self._memory.setdefault(_place(tensor._array), known)
        self._kept.append(tensor)

    def source(self, value: Any, user: str) -> Any:
        """Where a value came from; the value itself if from nowhere."""
        array = value._array if isinstance(value, Variable) else value
        if not isinstance(array, np.ndarray):
            return array.item() if isinstance(array, np.generic) else array
        known = self._tensors.get(id(value)) or self._memory.get(_place(array))
        if known is None:
            return array.copy()
        if known.storage.version != known.version:
            raise ValueError(
                f"onnx.export: {user}: what it is given was changed in place, which a file cannot say; "
                "build a new tensor with mg.where or mg.concatenate"
            )
        return known.source

    def called(
        self, op: Any, inputs: tuple[Any, ...], arrays: list[Any], settings: dict[str, Any], outputs: Any
    ) -> None:
        several = outputs if isinstance(outputs, tuple) else (outputs,)
        path = ".".join(watching.get().path)
        user = described(op.name, path)
        sources = [self.source(value, user) for value in inputs]
        common = result_dtype([a for a in arrays if a is not None])
        dtypes = [a.dtype if isinstance(a, np.ndarray) else common for a in arrays]
        shown = [(y._array.shape, y._array.dtype) for y in several]
        for slot, y in enumerate(several):
            self._remember(y, Source("call", len(self.calls), slot))
        self.calls.append(Call(op.name, path, sources, dtypes, dict(settings), shown))


def _place(array: np.ndarray) -> tuple[Any, ...]:
    return array.__array_interface__["data"][0], array.shape, array.strides, array.dtype


def described(op: str, path: str) -> str:
    """An op by name, and the module that called it."""
    return f"{op} in module {path}" if path else op


def run(model: Module, inputs: Sequence[Tensor]) -> tuple[Trace, Any]:
    """The calls of one forward pass and what the model gave."""
    named = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    trace, outer = Trace(inputs, named), watching.get().tracer
    change_watch(tracer=trace)
    try:
        return trace, model(*inputs)
    except Exception as error:
        error.add_note(f"onnx.export: in a forward pass with inputs of shapes {[x.shape for x in inputs]}")
        raise
    finally:
        change_watch(tracer=outer)
