"""The graph of a file as it is built, and the register of converters that build it."""

from collections.abc import Callable, Sequence
from typing import Any, NoReturn, TypeVar

import numpy as np
import onnx
from onnx import helper, numpy_helper

from minigrad.dtypes import DType
from minigrad.onnx.batch import Batch, Shape
from minigrad.onnx.trace import described

F = TypeVar("F", bound=Callable[..., Any])
CONVERTERS: dict[str, Callable[..., Any]] = {}
"""What writes each op, by the op's name; `converts` adds to it."""

MOST_BYTES = 2**31 - 2**20  # a protocol buffer holds less than 2 GiB, of which a MiB is left to the nodes


def converts(*ops: str) -> Callable[[F], F]:
    """Register `(graph, *inputs, **settings) -> name or names` as what writes ops into a file.

    It has the signature of the op's forward function: inputs are `Value`s, or None where an optional one is absent, and
    settings are as they were, but `Batch` where they grow with the batch. It gives what `graph.add` gave.
    """

    def register(converter: F) -> F:
        CONVERTERS.update(dict.fromkeys(ops, converter))
        return converter

    return register


class Value(str):
    """The name of a tensor in the file, with its dtype and its shape, in which `Batch` stands for the batch."""

    __slots__ = ("dtype", "shape")
    dtype: DType
    shape: Shape

    @classmethod
    def of(cls, name: str, dtype: DType, shape: Shape) -> "Value":
        value = cls(name)
        value.dtype, value.shape = dtype, shape
        return value


class Graph:
    """Nodes, and the arrays they are given. Of the call that is being converted it knows `op`, `path` and `outputs`."""

    def __init__(self, inputs: Sequence[Value]):
        self.inputs = list(inputs)
        self.nodes: list[onnx.NodeProto] = []
        self.arrays: dict[str, np.ndarray] = {}
        self.op, self.path = "", ""
        self.outputs: list[tuple[Shape, DType]] = []
        self._names: set[str] = set(inputs)
        self._constants: dict[Any, str] = {}
        self._multiples: dict[int, str] = {}

    @property
    def shape(self) -> Shape:
        """The shape of the call's first output."""
        return self.outputs[0][0]

    @property
    def dtype(self) -> DType:
        """The dtype of the call's first output."""
        return self.outputs[0][1]

    def refuse(self, why: str) -> NoReturn:
        """Raise ValueError, naming the op and the module that called it."""
        raise ValueError(f"onnx.export: {described(self.op, self.path)}: {why}")

    def fixed(self, sizes: Sequence[int | Batch]) -> tuple[int, ...]:
        """Sizes that a converter needs as numbers."""
        if any(isinstance(size, Batch) for size in sizes):
            self.refuse(f"needs fixed sizes, got {', '.join(map(str, sizes))} where N is the batch size")
        return tuple(size for size in sizes if isinstance(size, int))

    def unique(self, name: str) -> str:
        """The name, or one like it that is free."""
        free, number = name, 0
        while free in self._names:
            number += 1
            free = f"{name}_{number}"
        self._names.add(free)
        return free

    def add(self, kind: str, *inputs: str | None, outputs: int = 1, **attributes: Any) -> Any:
        """Add a node of an ONNX operator; gives its output's name, or several names."""
        name = self.unique("/".join(part for part in (self.path, self.op, kind) if part))
        names = [name, *(self.unique(f"{name}:{slot}") for slot in range(1, outputs))]
        attributes = {key: value for key, value in attributes.items() if value is not None}
        self.nodes.append(helper.make_node(kind, [i or "" for i in inputs], names, name, **attributes))
        return names[0] if outputs == 1 else tuple(names)

    def array(self, name: str, array: np.ndarray) -> str:
        """Keep an array in the file under this name."""
        name = self.unique(name)
        self.arrays[name] = array
        return name

    def constant(self, value: Any, dtype: Any = np.int64) -> str:
        """The name of an array or a number that is kept in the file, once for all that are equal."""
        array = np.asarray(value, dtype)
        key = array.dtype, array.shape, array.tobytes()
        if key not in self._constants:
            name = f"constant_{len(self._constants)}"
            self._constants[key] = self.unique(name)
            self.arrays[self._constants[key]] = array
        return self._constants[key]

    def cast(self, x: str, dtype: Any) -> str:
        """x in another dtype; itself if it is known to have that one."""
        if isinstance(x, Value) and x.dtype == dtype:
            return x
        return str(self.add("Cast", x, to=helper.np_dtype_to_tensor_dtype(np.dtype(dtype))))

    def multiple(self, times: int) -> str:
        """A one-dimensional tensor that holds so many times the batch size."""
        if times not in self._multiples:
            size = self.add("Shape", self.inputs[0], start=0, end=1) if times == 1 else self.multiple(1)
            self._multiples[times] = size if times == 1 else self.add("Mul", size, self.constant([times]))
        return self._multiples[times]

    def number(self, value: int | float | Batch, dtype: Any) -> str:
        """A tensor without dimensions."""
        if not isinstance(value, Batch):
            return self.constant(value, dtype)
        size = self.cast(self.add("Reshape", self.multiple(1), self.constant([])), dtype)
        return size if value.times == 1 else str(self.add("Mul", size, self.constant(value.times, dtype)))

    def sizes(self, shape: Sequence[int | Batch]) -> str:
        """A shape as a tensor."""
        if not any(isinstance(size, Batch) for size in shape):
            return self.constant(shape)
        parts = [self.multiple(int(s.times)) if isinstance(s, Batch) else self.constant([s]) for s in shape]
        return parts[0] if len(parts) == 1 else str(self.add("Concat", *parts, axis=0))

    def reshape(self, x: str, shape: Shape, old: Shape = ()) -> str:
        """x in another shape; with its old one, a batch that stays where it is needs no arithmetic."""
        kept = [isinstance(size, Batch) and old[i : i + 1] == (size,) for i, size in enumerate(shape)]
        fixed = [0 if keep else size for size, keep in zip(shape, kept, strict=True)]
        if 0 in shape or any(isinstance(size, Batch) for size in fixed):
            return str(self.add("Reshape", x, self.sizes(shape), allowzero=1))
        return str(self.add("Reshape", x, self.constant(fixed)))

    def finished(self, outputs: dict[str, str]) -> tuple[list[onnx.NodeProto], list[onnx.TensorProto]]:
        """The nodes and arrays that the outputs, values by their public names, need."""
        made = {name for node in self.nodes for name in node.output}
        renamed: dict[str, str] = {}
        for public, value in outputs.items():
            if value in made and value not in renamed:
                renamed[value] = public
            else:
                self.nodes.append(helper.make_node("Identity", [renamed.get(value, value)], [public], public))
        for node in self.nodes:
            node.input[:] = [renamed.get(name, name) for name in node.input]
            node.output[:] = [renamed.get(name, name) for name in node.output]
        needed, nodes = set(outputs), []
        for node in reversed(self.nodes):
            if needed.intersection(node.output):
                nodes.append(node)
                needed.update(node.input)
        used = {name: array for name, array in self.arrays.items() if name in needed}
        size = sum(array.nbytes for array in used.values())
        if size > MOST_BYTES:
            raise ValueError(f"onnx.export: need at most {MOST_BYTES} bytes of parameters in one file, got {size}")
        return nodes[::-1], [numpy_helper.from_array(np.asarray(a, order="C"), name) for name, a in used.items()]
