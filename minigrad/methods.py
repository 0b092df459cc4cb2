"""The operators and mathematical methods of tensors: each hands on to the op of its name."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from minigrad import ops
from minigrad.dtypes import check_dtype
from minigrad.ops.dims import Dims
from minigrad.tape import Variable

if TYPE_CHECKING:
    from minigrad.tensor import Tensor


def _sizes(given: tuple[Any, ...]) -> tuple[int, ...]:
    """Sizes or dimensions given one by one, or as one sequence."""
    if len(given) == 1 and isinstance(given[0], Sequence):
        given = tuple(given[0])
    return tuple(int(size) for size in given)


def _booleans(*operands: Any) -> tuple[Any, ...]:
    """The operands of &, | and ~, booleans only: on integers PyTorch's work on bits, which would be another result."""
    for operand in operands:
        dtype = operand._array.dtype if isinstance(operand, Variable) else np.asarray(operand).dtype
        if dtype.kind != "b":
            raise TypeError(f"&, | and ~: need booleans, got {dtype}")
    return operands


class Methods(Variable):
    """What can be done with tensors; `Tensor` adds what they are."""

    __slots__ = ()
    __hash__ = object.__hash__

    def __add__(self, other: Any) -> "Tensor":
        return ops.add(self, other)

    def __radd__(self, other: Any) -> "Tensor":
        return ops.add(other, self)

    def __sub__(self, other: Any) -> "Tensor":
        return ops.subtract(self, other)

    def __rsub__(self, other: Any) -> "Tensor":
        return ops.subtract(other, self)

    def __mul__(self, other: Any) -> "Tensor":
        return ops.multiply(self, other)

    def __rmul__(self, other: Any) -> "Tensor":
        return ops.multiply(other, self)

    def __truediv__(self, other: Any) -> "Tensor":
        return ops.divide(self, other)

    def __rtruediv__(self, other: Any) -> "Tensor":
        return ops.divide(other, self)

    def __floordiv__(self, other: Any) -> "Tensor":
        return ops.floor_divide(self, other)

    def __rfloordiv__(self, other: Any) -> "Tensor":
        return ops.floor_divide(other, self)

    def __mod__(self, other: Any) -> "Tensor":
        return ops.remainder(self, other)

    def __rmod__(self, other: Any) -> "Tensor":
        return ops.remainder(other, self)

    def __pow__(self, other: Any) -> "Tensor":
        return ops.power(self, other)

    def __rpow__(self, other: Any) -> "Tensor":
        return ops.power(other, self)

    def __matmul__(self, other: Any) -> "Tensor":
        return ops.matmul(self, other)

    def __rmatmul__(self, other: Any) -> "Tensor":
        return ops.matmul(other, self)

    def __neg__(self) -> "Tensor":
        return ops.negate(self)

    def __pos__(self) -> "Tensor":
        return cast("Tensor", self)

    def __abs__(self) -> "Tensor":
        return ops.absolute(self)

    def __eq__(self, other: object) -> Any:
        return NotImplemented if other is None or isinstance(other, str) else ops.equal(self, other)

    def __ne__(self, other: object) -> Any:
        return NotImplemented if other is None or isinstance(other, str) else ops.not_equal(self, other)

    def __lt__(self, other: Any) -> "Tensor":
        return ops.less(self, other)

    def __le__(self, other: Any) -> "Tensor":
        return ops.less_equal(self, other)

    def __gt__(self, other: Any) -> "Tensor":
        return ops.greater(self, other)

    def __ge__(self, other: Any) -> "Tensor":
        return ops.greater_equal(self, other)

    def __and__(self, other: Any) -> "Tensor":
        return ops.logical_and(*_booleans(self, other))

    def __or__(self, other: Any) -> "Tensor":
        return ops.logical_or(*_booleans(self, other))

    __rand__, __ror__ = __and__, __or__

    def __invert__(self) -> "Tensor":
        return ops.logical_not(*_booleans(self))

    def __getitem__(self, index: Any) -> "Tensor":
        return ops.getitem(self, index=ops.plain_index(index))

    def clone(self) -> "Tensor":
        """A copy that gradients flow through."""
        return ops.clone(self)

    def to(self, dtype: Any) -> "Tensor":
        """This tensor in another dtype; itself if it has that one."""
        dtype = check_dtype("to", dtype)
        return cast("Tensor", self) if dtype == self._array.dtype else ops.cast(self, dtype=dtype)

    def float(self) -> "Tensor":
        """This tensor as float32."""
        return self.to(np.float32)

    def double(self) -> "Tensor":
        """This tensor as float64."""
        return self.to(np.float64)

    def long(self) -> "Tensor":
        """This tensor as int64."""
        return self.to(np.int64)

    def abs(self) -> "Tensor":
        return ops.absolute(self)

    def sqrt(self) -> "Tensor":
        return ops.sqrt(self)

    def exp(self) -> "Tensor":
        return ops.exp(self)

    def log(self) -> "Tensor":
        return ops.log(self)

    def sin(self) -> "Tensor":
        return ops.sin(self)

    def cos(self) -> "Tensor":
        return ops.cos(self)

    def tan(self) -> "Tensor":
        return ops.tan(self)

    def asin(self) -> "Tensor":
        return ops.asin(self)

    def acos(self) -> "Tensor":
        return ops.acos(self)

    def atan(self) -> "Tensor":
        return ops.atan(self)

    def sinh(self) -> "Tensor":
        return ops.sinh(self)

    def cosh(self) -> "Tensor":
        return ops.cosh(self)

    def tanh(self) -> "Tensor":
        return ops.tanh(self)

    def sign(self) -> "Tensor":
        return ops.sign(self)

    def floor(self) -> "Tensor":
        return ops.floor(self)

    def ceil(self) -> "Tensor":
        return ops.ceil(self)

    def round(self) -> "Tensor":
        return ops.round(self)

    def relu(self) -> "Tensor":
        return ops.relu(self)

    def sigmoid(self) -> "Tensor":
        return ops.sigmoid(self)

    def isnan(self) -> "Tensor":
        return ops.isnan(self)

    def isfinite(self) -> "Tensor":
        return ops.isfinite(self)

    def pow(self, exponent: Any) -> "Tensor":
        return ops.power(self, exponent)

    def clip(self, min: Any = None, max: Any = None) -> "Tensor":
        numbers = (int, float, type(None))
        if isinstance(min, numbers) and isinstance(max, numbers):
            return ops.clip(self, min=min, max=max)
        clipped = self if min is None else ops.maximum(self, min)
        return cast("Tensor", clipped if max is None else ops.minimum(clipped, max))

    clamp = clip

    def sum(self, dim: Dims = None, keepdim: bool = False) -> "Tensor":
        return ops.sum(self, dim=dim, keepdim=keepdim)

    def mean(self, dim: Dims = None, keepdim: bool = False) -> "Tensor":
        return ops.mean(self, dim, keepdim)

    def var(self, dim: Dims = None, correction: int = 1, keepdim: bool = False) -> "Tensor":
        return ops.var(self, dim, correction, keepdim)

    def std(self, dim: Dims = None, correction: int = 1, keepdim: bool = False) -> "Tensor":
        return ops.std(self, dim, correction, keepdim)

    def prod(self, dim: int | None = None, keepdim: bool = False) -> "Tensor":
        return ops.prod(self, dim, keepdim)

    def max(self, dim: int | None = None, keepdim: bool = False) -> Any:
        return ops.max(self, dim, keepdim)

    def min(self, dim: int | None = None, keepdim: bool = False) -> Any:
        return ops.min(self, dim, keepdim)

    def argmax(self, dim: int | None = None, keepdim: bool = False) -> "Tensor":
        return ops.argmax(self, dim=dim, keepdim=keepdim)

    def argmin(self, dim: int | None = None, keepdim: bool = False) -> "Tensor":
        return ops.argmin(self, dim=dim, keepdim=keepdim)

    def cumsum(self, dim: int) -> "Tensor":
        return ops.cumsum(self, dim=dim)

    def logsumexp(self, dim: Dims, keepdim: bool = False) -> "Tensor":
        return ops.logsumexp(self, dim, keepdim)

    def softmax(self, dim: int) -> "Tensor":
        return ops.softmax(self, dim=dim)

    def log_softmax(self, dim: int) -> "Tensor":
        return ops.log_softmax(self, dim=dim)

    def reshape(self, *shape: Any) -> "Tensor":
        return ops.reshape(self, shape=_sizes(shape))

    view = reshape

    def permute(self, *dims: Any) -> "Tensor":
        return ops.permute(self, dims=_sizes(dims))

    def transpose(self, dim0: int, dim1: int) -> "Tensor":
        return ops.transpose(self, dim0, dim1)

    def squeeze(self, dim: Dims = None) -> "Tensor":
        return ops.squeeze(self, dim)

    def unsqueeze(self, dim: int) -> "Tensor":
        return ops.unsqueeze(self, dim)

    def expand(self, *shape: Any) -> "Tensor":
        return ops.expand(self, shape=_sizes(shape))

    def flatten(self, start_dim: int = 0, end_dim: int = -1) -> "Tensor":
        return ops.flatten(self, start_dim, end_dim)

    def flip(self, *dims: Any) -> "Tensor":
        return ops.flip(self, dims=_sizes(dims))

    def roll(self, shifts: int | Sequence[int], dims: int | Sequence[int] | None = None) -> "Tensor":
        return ops.roll(self, shifts=shifts, dims=dims)

    def split(self, split_size_or_sections: int | Sequence[int], dim: int = 0) -> "tuple[Tensor, ...]":
        return ops.split(self, split_size_or_sections, dim)

    def matmul(self, other: Any) -> "Tensor":
        return ops.matmul(self, other)
