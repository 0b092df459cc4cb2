"""Pooling, its inverse, and resizing: layers without parameters."""

from collections.abc import Sequence
from typing import Any, ClassVar

from minigrad import functional as F
from minigrad.nn.module import Module
from minigrad.nn.settings import window
from minigrad.op import Array
from minigrad.ops.geometry import Padding, Size

_MAX_POOL = {1: F.max_pool1d, 2: F.max_pool2d}
_MAX_UNPOOL = {1: F.max_unpool1d, 2: F.max_unpool2d}
_ADAPTIVE_AVG_POOL = {1: F.adaptive_avg_pool1d, 2: F.adaptive_avg_pool2d}


class _Pool(Module):
    """A window, by default of as many cells as it moves."""

    rank: ClassVar[int]
    shown: ClassVar[tuple[str, ...]] = ("kernel_size", "stride", "padding")

    def __init__(self, kernel_size: Size, stride: Size | None, padding: Padding, dilation: Size = 1):
        super().__init__()
        self.kernel_size, self.padding = kernel_size, padding
        self.stride = kernel_size if stride is None else stride
        window(type(self).__name__, self.rank, kernel_size, self.stride, padding, dilation)

    def extra_repr(self) -> str:
        return ", ".join(f"{name}={getattr(self, name)}" for name in self.shown)


class _MaxPool(_Pool):
    shown = ("kernel_size", "stride", "padding", "dilation", "ceil_mode")

    def __init__(
        self,
        kernel_size: Size,
        stride: Size | None = None,
        padding: Padding = 0,
        dilation: Size = 1,
        return_indices: bool = False,
        ceil_mode: bool = False,
    ):
        super().__init__(kernel_size, stride, padding, dilation)
        self.dilation, self.return_indices, self.ceil_mode = dilation, return_indices, ceil_mode

    def forward(self, input: Array) -> Any:
        settings = self.kernel_size, self.stride, self.padding, self.dilation, self.ceil_mode, self.return_indices
        return _MAX_POOL[self.rank](input, *settings)


class MaxPool1d(_MaxPool):
    """The largest value in each window, and with `return_indices` where it stood in L; the first one wins a tie.

    Shapes: input (N, C, L) -> (N, C, OL), OL = floor((L + 2P - D (F - 1) - 1) / S) + 1; `ceil_mode` rounds up.
    """

    rank = 1


class MaxPool2d(_MaxPool):
    """The largest value in each window, and with `return_indices` where it stood in H W; the first one wins a tie.

    Shapes: input (N, C, H, W) -> (N, C, OH, OW), OH = floor((H + 2P - D (FH - 1) - 1) / S) + 1 and OW likewise;
    `ceil_mode` rounds up.
    """

    rank = 2


class _MaxUnpool(_Pool):
    padding: Size

    def __init__(self, kernel_size: Size, stride: Size | None = None, padding: Size = 0):
        super().__init__(kernel_size, stride, padding)

    def forward(self, input: Array, indices: Array, output_size: Sequence[int] | None = None) -> Array:
        return _MAX_UNPOOL[self.rank](input, indices, self.kernel_size, self.stride, self.padding, output_size)


class MaxUnpool1d(_MaxUnpool):
    """Each value back where `MaxPool1d` found it, and zeros elsewhere.

    Shapes: input and indices (N, C, OL) -> (N, C, L), L = (OL - 1) S - 2P + F unless `output_size` says otherwise.
    """

    rank = 1


class MaxUnpool2d(_MaxUnpool):
    """Each value back where `MaxPool2d` found it, and zeros elsewhere.

    Shapes: input and indices (N, C, OH, OW) -> (N, C, H, W), H = (OH - 1) S - 2P + FH and W likewise, unless
    `output_size` says otherwise.
    """

    rank = 2


class AvgPool1d(_Pool):
    """The mean of each window; padding counts as zeros, or with `count_include_pad=False` not at all.

    Shapes: input (N, C, L) -> (N, C, OL), OL = floor((L + 2P - F) / S) + 1; `ceil_mode` rounds up.
    """

    rank = 1

    def __init__(
        self,
        kernel_size: Size,
        stride: Size | None = None,
        padding: Padding = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
    ):
        super().__init__(kernel_size, stride, padding)
        self.ceil_mode, self.count_include_pad = ceil_mode, count_include_pad

    def forward(self, input: Array) -> Array:
        return F.avg_pool1d(input, self.kernel_size, self.stride, self.padding, self.ceil_mode, self.count_include_pad)


class AvgPool2d(_Pool):
    """The mean of each window, or its sum over `divisor_override`; padding as in `AvgPool1d`.

    Shapes: input (N, C, H, W) -> (N, C, OH, OW), OH = floor((H + 2P - FH) / S) + 1 and OW likewise; `ceil_mode` rounds
    up.
    """

    rank = 2

    def __init__(
        self,
        kernel_size: Size,
        stride: Size | None = None,
        padding: Padding = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
        divisor_override: int | None = None,
    ):
        super().__init__(kernel_size, stride, padding)
        self.ceil_mode, self.count_include_pad, self.divisor_override = ceil_mode, count_include_pad, divisor_override

    def forward(self, input: Array) -> Array:
        settings = self.ceil_mode, self.count_include_pad, self.divisor_override
        return F.avg_pool2d(input, self.kernel_size, self.stride, self.padding, *settings)


class _AdaptiveAvgPool(Module):
    rank: ClassVar[int]

    def __init__(self, output_size: Any):
        super().__init__()
        self.output_size = output_size

    def forward(self, input: Array) -> Array:
        return _ADAPTIVE_AVG_POOL[self.rank](input, self.output_size)

    def extra_repr(self) -> str:
        return f"output_size={self.output_size}"


class AdaptiveAvgPool1d(_AdaptiveAvgPool):
    """Means over windows that cut L into `output_size` parts. Shapes: input (N, C, L) -> (N, C, output_size)."""

    rank = 1


class AdaptiveAvgPool2d(_AdaptiveAvgPool):
    """Means over windows that cut H and W into `output_size` parts.

    Shapes: input (N, C, H, W) -> (N, C, *output_size).
    """

    rank = 2


class GlobalAvgPool1d(Module):
    """The mean of each channel. Shapes: input (N, C, L) -> (N, C, 1). Source: Lin, Chen and Yan, 2013."""

    def forward(self, input: Array) -> Array:
        return F.global_avg_pool1d(input)


class GlobalAvgPool2d(Module):
    """The mean of each channel. Shapes: input (N, C, H, W) -> (N, C, 1, 1). Source: Lin, Chen and Yan, 2013."""

    def forward(self, input: Array) -> Array:
        return F.global_avg_pool2d(input)


class Upsample(Module):
    """Resizes images to `size`, or by `scale_factor`, as `functional.interpolate` does.

    Shapes: input (N, C, H, W) -> (N, C, *size) or (N, C, floor(H scale_factor), floor(W scale_factor)).
    """

    def __init__(
        self,
        size: Size | None = None,
        scale_factor: float | Sequence[float] | None = None,
        mode: str = "nearest",
        align_corners: bool | None = None,
    ):
        super().__init__()
        self.size, self.scale_factor, self.mode, self.align_corners = size, scale_factor, mode, align_corners

    def forward(self, input: Array) -> Array:
        return F.interpolate(input, self.size, self.scale_factor, self.mode, self.align_corners)

    def extra_repr(self) -> str:
        target = f"size={self.size}" if self.scale_factor is None else f"scale_factor={self.scale_factor}"
        return f"{target}, mode={self.mode!r}"
