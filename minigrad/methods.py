"""The operators and mathematical methods of tensors: each hands on to the op of its name."""

import operator
import reprlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from minigrad import ops
from minigrad.dtypes import check_dtype
from minigrad.kinds import several
from minigrad.ops.dims import Dims
from minigrad.tape import Variable

if TYPE_CHECKING:
    from minigrad.tensor import Tensor


def _sizes(name: str, given: tuple[Any, ...]) -> tuple[int, ...]:
    """Sizes or dimensions given one by one, or as one sequence."""
    if len(given) == 1:
        given = several(name, "sizes or dimensions", given[0])
    try:
        return tuple(map(operator.index, given))
    except TypeError:
        raise TypeError(f"{name}: need integers, got {reprlib.repr(given)}") from None


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
        """|x|, elementwise."""
        return ops.absolute(self)

    def sqrt(self) -> "Tensor":
        """The square root, elementwise."""
        return ops.sqrt(self)

    def exp(self) -> "Tensor":
        """e^x, elementwise."""
        return ops.exp(self)

    def log(self) -> "Tensor":
        """The natural logarithm, elementwise."""
        return ops.log(self)

    def sin(self) -> "Tensor":
        """sin x, elementwise."""
        return ops.sin(self)

    def cos(self) -> "Tensor":
        """cos x, elementwise."""
        return ops.cos(self)

    def tan(self) -> "Tensor":
        """tan x, elementwise."""
        return ops.tan(self)

    def asin(self) -> "Tensor":
        """The angle in [-pi/2, pi/2] whose sine is x, elementwise."""
        return ops.asin(self)

    def acos(self) -> "Tensor":
        """The angle in [0, pi] whose cosine is x, elementwise."""
        return ops.acos(self)

    def atan(self) -> "Tensor":
        """The angle in (-pi/2, pi/2) whose tangent is x, elementwise."""
        return ops.atan(self)

    def sinh(self) -> "Tensor":
        """(e^x - e^-x) / 2, elementwise."""
        return ops.sinh(self)

    def cosh(self) -> "Tensor":
        """(e^x + e^-x) / 2, elementwise."""
        return ops.cosh(self)

    def tanh(self) -> "Tensor":
        """sinh x / cosh x, elementwise."""
        return ops.tanh(self)

    def sign(self) -> "Tensor":
        """-1, 0 or 1, as x is negative, zero or positive."""
        return ops.sign(self)

    def floor(self) -> "Tensor":
        """The largest whole number that is at most x."""
        return ops.floor(self)

    def ceil(self) -> "Tensor":
        """The smallest whole number that is at least x."""
        return ops.ceil(self)

    def round(self) -> "Tensor":
        """The nearest whole number, of two the even one."""
        return ops.round(self)

    def relu(self) -> "Tensor":
        """max(x, 0), elementwise; its derivative at 0 is 0."""
        return ops.relu(self)

    def sigmoid(self) -> "Tensor":
        """1 / (1 + e^-x), elementwise."""
        return ops.sigmoid(self)

    def isnan(self) -> "Tensor":
        """Whether x is NaN, elementwise."""
        return ops.isnan(self)

    def isfinite(self) -> "Tensor":
        """Whether x is neither NaN nor infinite, elementwise."""
        return ops.isfinite(self)

    def pow(self, exponent: Any) -> "Tensor":
        """x^exponent, elementwise."""
        return ops.power(self, exponent)

    def clip(self, min: Any = None, max: Any = None) -> "Tensor":
        """x kept within [min, max], either of which may be left out. `clip` and `clamp` are the same."""
        numbers = (int, float, type(None))
        if isinstance(min, numbers) and isinstance(max, numbers):
            return ops.clip(self, min=min, max=max)
        clipped = self if min is None else ops.maximum(self, min)
        return cast("Tensor", clipped if max is None else ops.minimum(clipped, max))

    clamp = clip

    def sum(self, dim: Dims = None, keepdim: bool = False) -> "Tensor":
        """The sum along some dimensions, or of everything."""
        return ops.sum(self, dim=dim, keepdim=keepdim)

    def mean(self, dim: Dims = None, keepdim: bool = False) -> "Tensor":
        """The mean along some dimensions, or of everything; of integers it is a float32."""
        return ops.mean(self, dim, keepdim)

    def var(self, dim: Dims = None, correction: int = 1, keepdim: bool = False) -> "Tensor":
        """The variance sum((x - mean)^2) / (n - correction), along some dimensions or of everything."""
        return ops.var(self, dim, correction, keepdim)

    def std(self, dim: Dims = None, correction: int = 1, keepdim: bool = False) -> "Tensor":
        """The square root of `var`."""
        return ops.std(self, dim, correction, keepdim)

    def prod(self, dim: int | None = None, keepdim: bool = False) -> "Tensor":
        """The product along one dimension, or of everything."""
        return ops.prod(self, dim, keepdim)

    def max(self, dim: int | None = None, keepdim: bool = False) -> Any:
        """The largest value, or along a dimension (values, indices); NaN wins, and the first of equal ones."""
        return ops.max(self, dim, keepdim)

    def min(self, dim: int | None = None, keepdim: bool = False) -> Any:
        """The smallest value, or along a dimension (values, indices); NaN wins, and the first of equal ones."""
        return ops.min(self, dim, keepdim)

    def argmax(self, dim: int | None = None, keepdim: bool = False) -> "Tensor":
        """Where the largest value is, along a dimension or in the flattened tensor; the first of equal ones."""
        return ops.argmax(self, dim=dim, keepdim=keepdim)

    def argmin(self, dim: int | None = None, keepdim: bool = False) -> "Tensor":
        """Where the smallest value is, along a dimension or in the flattened tensor; the first of equal ones."""
        return ops.argmin(self, dim=dim, keepdim=keepdim)

    def cumsum(self, dim: int) -> "Tensor":
        """The sums of the values up to each place along a dimension."""
        return ops.cumsum(self, dim=dim)

    def logsumexp(self, dim: Dims, keepdim: bool = False) -> "Tensor":
        """log(sum(e^x)) along some dimensions, without overflow."""
        return ops.logsumexp(self, dim, keepdim)

    def softmax(self, dim: int) -> "Tensor":
        """e^x / sum(e^x) along a dimension."""
        return ops.softmax(self, dim=dim)

    def log_softmax(self, dim: int) -> "Tensor":
        """x - log(sum(e^x)) along a dimension, without overflow."""
        return ops.log_softmax(self, dim=dim)

    def reshape(self, *shape: Any) -> "Tensor":
        """The same values in another shape, row by row; one size may be -1. `reshape` and `view` are the same."""
        return ops.reshape(self, shape=_sizes("reshape", shape))

    view = reshape

    def permute(self, *dims: Any) -> "Tensor":
        """Dimension i of the result is dimension dims[i] of this tensor."""
        return ops.permute(self, dims=_sizes("permute", dims))

    def transpose(self, dim0: int, dim1: int) -> "Tensor":
        """This tensor with two of its dimensions exchanged."""
        return ops.transpose(self, dim0, dim1)

    def squeeze(self, dim: Dims = None) -> "Tensor":
        """Without dimensions of size 1: all of them, or those of `dim` that have it."""
        return ops.squeeze(self, dim)

    def unsqueeze(self, dim: int) -> "Tensor":
        """With a new dimension of size 1 at `dim`."""
        return ops.unsqueeze(self, dim)

    def expand(self, *shape: Any) -> "Tensor":
        """Broadcast to a larger shape, without a copy; -1 keeps a size."""
        return ops.expand(self, shape=_sizes("expand", shape))

    def flatten(self, start_dim: int = 0, end_dim: int = -1) -> "Tensor":
        """The dimensions from start_dim to end_dim, both included, made one."""
        return ops.flatten(self, start_dim, end_dim)

    def flip(self, *dims: Any) -> "Tensor":
        """In reverse order along some dimensions."""
        return ops.flip(self, dims=_sizes("flip", dims))

    def roll(self, shifts: int | Sequence[int], dims: int | Sequence[int] | None = None) -> "Tensor":
        """Moved on by `shifts` along some dimensions; what leaves at the end comes in at the start."""
        return ops.roll(self, shifts=shifts, dims=dims)

    def split(self, split_size_or_sections: int | Sequence[int], dim: int = 0) -> "tuple[Tensor, ...]":
        """Cut along a dimension: into pieces of one size (the last may be smaller), or of the sizes given."""
        return ops.split(self, split_size_or_sections, dim)

    def matmul(self, other: Any) -> "Tensor":
        """The matrix product; stacks of matrices broadcast."""
        return ops.matmul(self, other)
