"""Tensor: an array with a gradient. Its operators and methods delegate to ops; there are no formulas here."""

import builtins
import os
import threading
import weakref
from collections.abc import Iterator
from typing import Any, cast

import numpy as np
from numpy.typing import ArrayLike

from minigrad import ops, tape
from minigrad.dtypes import check_dtype, default_float, refuse_mask
from minigrad.hooks import RemovableHandle
from minigrad.kinds import check_kind
from minigrad.memory import may_overlap, owner_of
from minigrad.methods import Methods
from minigrad.modes import is_grad_enabled
from minigrad.ops.dims import normal_dim
from minigrad.tape import Node, Storage, Variable

_new = object.__new__


class Tensor(Methods):
    """An array that ops on it can be differentiated by.

    Made by `mg.tensor` (copies), `mg.as_tensor` (shares memory), or an op. A tensor that no recorded op made is a leaf;
    `backward` adds to the `.grad` of leaves that require grad.
    """

    __slots__ = ()
    __array_ufunc__ = None  # so that `array * tensor` comes to us, and history is not lost in NumPy

    def __init__(self, data: ArrayLike, dtype: Any = None, requires_grad: bool = False):
        source = data._array if isinstance(data, Variable) else data
        check_kind("tensor", "requires_grad", bool, requires_grad)
        self._adopt(_to_array(source, dtype, copy=True), None, 0, None)
        self.requires_grad = requires_grad

    def _adopt(self, array: np.ndarray, node: Node | None, slot: int, storage: Storage | None) -> None:
        self._array, self._node, self._slot = array, node, slot
        self._grad, self._hooks = None, None
        self._requires_grad = node is not None
        self._storage = Storage() if storage is None else storage

    @staticmethod
    def wrap(array: np.ndarray, node: Node | None = None, slot: int = 0, storage: Storage | None = None) -> "Tensor":
        """A tensor over an array that is nobody else's; what the tape makes outputs and gradients with."""
        tensor = _new(Tensor)
        tensor._array, tensor._node, tensor._slot = array, node, slot  # _adopt, without the call: once for every op
        tensor._grad, tensor._hooks = None, None
        tensor._requires_grad = node is not None
        tensor._storage = Storage() if storage is None else storage
        return tensor

    def __copy__(self) -> "Tensor":
        copied = _rebuild(*self.__reduce__()[1])
        copied._array, copied._storage = self._array.view(), self._storage
        return copied

    def __reduce__(self) -> tuple[Any, ...]:
        if self._node is not None:
            raise RuntimeError("only leaf tensors can be copied deeply or sent to a process; use .detach() first")
        return _rebuild, (type(self), self._array, self._requires_grad, self._grad)

    @property
    def data(self) -> np.ndarray:
        """The values as a read-only array that shares this tensor's memory."""
        view = self._array.view()
        view.flags.writeable = False
        return view

    @property
    def grad(self) -> "Tensor | None":
        """The gradient that `backward` has added up so far, or None."""
        return cast("Tensor | None", self._grad)

    @grad.setter
    def grad(self, value: "Tensor | None") -> None:
        if value is not None:
            if not isinstance(value, Tensor):
                raise TypeError(f"grad: need a tensor or None, got {type(value).__name__}")
            if value.shape != self.shape or value.dtype != self.dtype:
                raise ValueError(f"grad: need {self.shape} {self.dtype}, got {value.shape} {value.dtype}")
        self._grad = value

    @property
    def requires_grad(self) -> bool:
        """Whether gradients flow to or through this tensor; can be set on leaves."""
        return self._requires_grad

    @requires_grad.setter
    def requires_grad(self, value: bool) -> None:
        if self._node is not None and not value:
            raise RuntimeError("requires_grad: can be switched off on leaves only; use .detach() to cut the history")
        if value and self.dtype.kind != "f":
            raise TypeError(f"requires_grad: only float32 and float64 tensors have gradients, got {self.dtype}")
        self._requires_grad = bool(value)

    def requires_grad_(self, requires_grad: bool = True) -> "Tensor":
        """Set `requires_grad` and return the tensor."""
        check_kind("requires_grad_", "requires_grad", bool, requires_grad)
        self.requires_grad = requires_grad
        return self

    @property
    def shape(self) -> tuple[int, ...]:
        """The sizes of the dimensions."""
        return self._array.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """The NumPy dtype."""
        return self._array.dtype

    @property
    def ndim(self) -> int:
        """The number of dimensions."""
        return self._array.ndim

    @property
    def T(self) -> "Tensor":
        """The dimensions in reverse order."""
        return self.permute(*reversed(range(self.ndim)))

    def size(self, dim: int | None = None) -> Any:
        """The shape, or the size of one dimension."""
        return self.shape if dim is None else self.shape[normal_dim("size", dim, self.ndim)]

    def dim(self) -> int:
        """The number of dimensions."""
        return self.ndim

    def numel(self) -> int:
        """The number of values."""
        return self._array.size

    def __len__(self) -> int:
        if not self.shape:
            raise TypeError("len() of a tensor without dimensions")
        return self.shape[0]

    def __iter__(self) -> Iterator["Tensor"]:
        if not self.shape:
            raise TypeError("iteration over a tensor without dimensions")
        return (self[i] for i in range(len(self)))

    def __repr__(self) -> str:
        values = np.array2string(self._array, separator=", ", prefix="tensor(", precision=4, threshold=200)
        notes = [values]
        if self.dtype not in (default_float, np.dtype(np.int64), np.dtype(np.bool_)):
            notes.append(f"dtype={self.dtype}")
        if 0 in self.shape and len(self.shape) > 1:
            notes.append(f"shape={self.shape}")
        if self._node is not None:
            notes.append(f"op=<{self._node.op.name}>")
        elif self._requires_grad:
            notes.append("requires_grad=True")
        return f"tensor({', '.join(notes)})"

    def __format__(self, spec: str) -> str:
        return format(self.item(), spec) if spec else repr(self)

    def item(self) -> Any:
        """The one value as a Python number."""
        if self._array.size != 1:
            raise ValueError(f"item: need a tensor with one value, got shape {self.shape}")
        return self._array.item()

    def tolist(self) -> Any:
        """The values as nested lists of Python numbers."""
        return self._array.tolist()

    def numpy(self) -> np.ndarray:
        """The values as a read-only array that shares memory; raises where history would be lost."""
        if self._requires_grad and is_grad_enabled():
            raise RuntimeError("numpy: this tensor requires grad; use .detach().numpy(), or mg.no_grad()")
        return self.data

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.array(self.numpy(), dtype=dtype, copy=copy)

    def __dlpack__(self, **options: Any) -> Any:
        if self._requires_grad and is_grad_enabled():
            raise BufferError("this tensor requires grad; use .detach(), or mg.no_grad()")
        return self._array.__dlpack__(**options)

    def __dlpack_device__(self) -> tuple[int, int]:
        return self._array.__dlpack_device__()

    def __float__(self) -> builtins.float:
        return builtins.float(self.item())

    def __int__(self) -> int:
        return int(self.item())

    def __index__(self) -> int:
        if self.dtype.kind not in "iu" or self._array.size != 1:
            raise TypeError("only a tensor with one integer can be an index")
        return int(self._array.item())

    def __bool__(self) -> bool:
        if self._array.size != 1:
            raise ValueError(f"the truth of a tensor of shape {self.shape} is ambiguous")
        return bool(self._array.item())

    def backward(self, gradient: Any = None, retain_graph: bool | None = None, create_graph: bool = False) -> None:
        """Add the gradient of <self, gradient> to the `.grad` of every leaf that self depends on.

        `gradient` has this tensor's shape; it may be left out for a single value (then it is 1). The arrays saved for
        this are freed on the way unless `retain_graph` (which is `create_graph` if not given). With `create_graph` the
        gradients can themselves be differentiated.
        Raises: RuntimeError if nothing requires grad, `gradient` is missing, or what was saved is freed or has changed;
        ValueError for a gradient of another shape.
        """
        if not self._requires_grad:
            raise RuntimeError("backward: this tensor does not require grad: nothing that it was made from does")
        retain = create_graph if retain_graph is None else retain_graph
        root = cotangent("backward", self, gradient, create_graph)
        tape.walk([self], [root], retain_graph=retain, create_graph=create_graph)

    def retain_grad(self) -> None:
        """Keep the gradient of this tensor too when `backward` passes it, though it is not a leaf."""
        if not self._requires_grad:
            raise RuntimeError("retain_grad: this tensor does not require grad")
        if self._node is not None:
            self._node.watch(self._slot, weakref.ref(self))

    def register_hook(self, hook: Any) -> RemovableHandle:
        """Call `hook(gradient)` when this tensor's gradient is known; what it returns, if not None, replaces it."""
        if not self._requires_grad:
            raise RuntimeError("register_hook: this tensor does not require grad")
        if self._node is not None:
            return RemovableHandle(self._node.hooks_of(self._slot), hook)
        if self._hooks is None:
            self._hooks = {}
        return RemovableHandle(self._hooks, hook)

    def detach(self) -> "Tensor":
        """The same values, sharing memory, without history."""
        return Tensor.wrap(self._array.view(), storage=self._storage)

    def _write(self, index: Any, value: Any) -> "Tensor":
        if self._node is not None or (self._requires_grad and is_grad_enabled()):
            raise RuntimeError(
                "a tensor with history, or a leaf that requires grad outside mg.no_grad(), cannot be changed in place; "
                "build a new one with mg.where or mg.concatenate"
            )
        if not self._array.flags.writeable:
            raise RuntimeError("this tensor shares memory with a read-only array; change a .clone()")
        if may_overlap(self._array):
            raise RuntimeError("several values of this tensor lie in one place; change a .clone()")
        value = _constant(value)
        try:
            with np.errstate(invalid="raise"):  # no integer is a NaN or infinite
                self._array[ops.plain_index(index)] = value
        except (ValueError, OverflowError, FloatingPointError) as error:
            raise ValueError(f"in place: {error}") from None
        except TypeError as error:
            raise TypeError(f"in place: {error}") from None
        self._storage.version += 1
        return self

    def _update(self, result: "Tensor") -> "Tensor":
        if result.dtype.kind == "f" != self.dtype.kind:
            raise TypeError(f"in place: {result.dtype} does not fit {self.dtype}")
        return self._write(..., result)

    def __setitem__(self, index: Any, value: Any) -> None:
        self._write(index, value)

    def copy_(self, other: Any) -> "Tensor":
        """Overwrite the values with those of a tensor, an array or a number."""
        return self._write(..., other)

    def fill_(self, value: Any) -> "Tensor":
        """Overwrite every value with one number."""
        return self._write(..., value)

    def zero_(self) -> "Tensor":
        """Overwrite every value with 0."""
        return self._write(..., 0)

    def add_(self, other: Any, alpha: Any = 1) -> "Tensor":
        """Add alpha * other in place."""
        return self._update(self.detach() + _scaled(other, alpha))

    def sub_(self, other: Any, alpha: Any = 1) -> "Tensor":
        """Subtract alpha * other in place."""
        return self._update(self.detach() - _scaled(other, alpha))

    def mul_(self, other: Any) -> "Tensor":
        """Multiply in place."""
        return self._update(self.detach() * _constant(other))

    def div_(self, other: Any) -> "Tensor":
        """Divide in place."""
        return self._update(self.detach() / _constant(other))


def _constant(value: Any) -> Any:
    """A value to write: an array or a number, without history to lose."""
    if isinstance(value, (bool, int, builtins.float)):
        return value
    if not isinstance(value, Variable):
        return _to_array(value, None, copy=False)
    if value._requires_grad and is_grad_enabled():
        raise RuntimeError(
            "a change in place by a tensor that requires grad would lose its history; build a new tensor with mg.where "
            "or mg.concatenate, or use .detach()"
        )
    return value._array


def _scaled(value: Any, alpha: Any) -> Any:
    check_kind("in place", "alpha", builtins.float, alpha)
    try:
        return _constant(value) * alpha
    except OverflowError as error:
        raise ValueError(f"in place: {error}") from None


def _rebuild(kind: type[Tensor], array: np.ndarray, requires_grad: bool, grad: Tensor | None) -> Tensor:
    """A leaf as it was before it was copied deeply or sent to another process."""
    tensor = kind.__new__(kind)
    tensor._adopt(array, None, 0, None)
    tensor._requires_grad, tensor._grad = requires_grad, grad
    return tensor


def cotangent(name: str, output: Variable, gradient: Any, create_graph: bool) -> Any:
    """What to send back from `output`: the gradient given, checked, or 1 for a single value."""
    shape, dtype = output._array.shape, output._array.dtype
    if gradient is None:
        if output._array.size != 1:
            raise RuntimeError(
                f"{name}: need a gradient for an output of shape {shape}; only for a single value it is 1"
            )
        array = np.ones(shape, dtype)
        return Tensor.wrap(array) if create_graph else array
    given = gradient if isinstance(gradient, Tensor) else Tensor.wrap(_to_array(gradient, dtype, copy=False))
    if given.shape != shape:
        raise ValueError(f"{name}: need a gradient of shape {shape}, as the output's, got {given.shape}")
    given = given.to(dtype) if create_graph else given.detach().to(dtype)
    return given if create_graph else given._array


def _to_array(data: Any, dtype: Any, copy: bool) -> np.ndarray:
    """An array in an array object of its own: floats in Python data become float32, arrays keep their dtype."""
    if dtype is not None:
        dtype = check_dtype("tensor", dtype)
    try:
        data = _nested(data)
        is_array = isinstance(data, (np.ndarray, np.generic))
        array = np.asarray(data)
    except ValueError as error:
        raise ValueError(f"tensor: need rows of equal length ({error})") from None
    if dtype is None:
        dtype = array.dtype if is_array or array.dtype.kind != "f" else default_float
        dtype = check_dtype("tensor", dtype if array.size or is_array else default_float)
    elif array.dtype.kind not in "biuf":
        raise TypeError(f"tensor: need numbers, got {array.dtype}")
    if copy:
        return np.array(array, dtype=dtype, order="C")
    return np.asarray(array, dtype=dtype).view(np.ndarray)


def _nested(data: Any) -> Any:
    """Lists in which tensors may stand, as lists of numbers and arrays."""
    if isinstance(data, (list, tuple)):
        items = [_nested(item) for item in data]
        return np.stack(items) if items and all(isinstance(item, np.ndarray) for item in items) else items
    if not isinstance(data, Variable):
        refuse_mask("tensor", data)
        return data
    if data._requires_grad and is_grad_enabled():
        raise RuntimeError("tensor: a list would lose the history of the tensors in it; use mg.stack, or .detach()")
    return data._array


def tensor(data: Any, dtype: Any = None, requires_grad: bool = False) -> Tensor:
    """A leaf tensor with a copy of the data: numbers, nested lists, an array or a tensor.

    Floats in Python lists become float32, integers int64; arrays keep their dtype.
    Raises: TypeError for dtypes other than booleans, integers, float32 and float64; ValueError for rows of different
    lengths; RuntimeError for a list of tensors whose history it would lose.
    """
    return Tensor(data, requires_grad=requires_grad, dtype=dtype)


def as_tensor(data: Any, dtype: Any = None) -> Tensor:
    """A tensor that shares memory with an array where the dtype allows; a tensor is returned as it is.

    Raises: as `tensor` does.
    """
    if isinstance(data, Tensor):
        return data if dtype is None else data.to(dtype)
    array = _to_array(data, dtype, copy=False)
    return Tensor.wrap(array, storage=_shared_storage(array))


_storages: "weakref.WeakValueDictionary[int, Storage]" = weakref.WeakValueDictionary()
_storing = threading.RLock()  # a finaliser may come in while its own thread is storing
if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(before=_storing.acquire, after_in_parent=_storing.release, after_in_child=_storing.release)


def _shared_storage(array: np.ndarray) -> Storage:
    """One version counter for all tensors over one array; it keeps the array, so that its id stays its own."""
    owner = owner_of(array)
    storage = _storages.get(id(owner))
    if storage is None:
        with _storing:
            storage = _storages.setdefault(id(owner), Storage(owner))
    return storage


def from_dlpack(source: Any) -> Tensor:
    """A tensor that shares memory with another library's array, by the DLPack protocol.

    Raises: TypeError for what does not speak it, and for other dtypes; ValueError where the array cannot be shared.
    """
    if not hasattr(source, "__dlpack__"):
        raise TypeError(f"from_dlpack: need an array with __dlpack__, got {type(source).__name__}")
    try:
        array = np.from_dlpack(source)
    except (BufferError, RuntimeError) as error:
        raise ValueError(f"from_dlpack: {error}") from None
    return as_tensor(array)
