"""Layers of filters: convolutions, transposed convolutions, those of one cell, and those that share no weights."""

import math
from typing import Any, ClassVar

import numpy as np

from minigrad import functional as F
from minigrad.kinds import check_kind
from minigrad.nn import init
from minigrad.nn.module import Module
from minigrad.nn.parameter import Parameter, blank
from minigrad.nn.settings import Window, window
from minigrad.op import Array
from minigrad.ops.geometry import Padding, Size, integer, per_axis, window_axes

_CONV = {1: F.conv1d, 2: F.conv2d}
_CONV_TRANSPOSE = {1: F.conv_transpose1d, 2: F.conv_transpose2d}
_LOCALLY_CONNECTED = {1: F.locally_connected1d, 2: F.locally_connected2d}


class _Filters(Module):
    """What they share: weight and bias, drawn at first from U(-c, c), c = 1 / sqrt(terms in a filter)."""

    rank: ClassVar[int]
    weight: Parameter
    bias: Parameter | None
    fan_in: int

    def __init__(self, in_channels: int, out_channels: int):
        super().__init__()
        self.in_channels = integer(type(self).__name__, "in_channels", in_channels, 1)
        self.out_channels = integer(type(self).__name__, "out_channels", out_channels, 1)

    def _add(self, weight: tuple[int, ...], bias: tuple[int, ...] | None, fan_in: int | None, dtype: Any) -> None:
        self.weight = blank(weight, dtype)
        self.register_parameter("bias", None if bias is None else blank(bias, dtype))
        self.fan_in = init.fan_in_and_fan_out(self.weight)[0] if fan_in is None else fan_in
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw weight and bias anew."""
        init.by_fan_in_(self.fan_in, self.weight, self.bias)

    def extra_repr(self) -> str:
        parts = [f"{self.in_channels}, {self.out_channels}", *self._settings_repr()]
        return ", ".join(parts if self.bias is not None else [*parts, "bias=False"])

    def _settings_repr(self) -> list[str]:
        """The settings to show between the channels and the bias."""
        return []


class _Convolution(_Filters):
    """The settings of convolutions and transposed ones; `dilation` and `groups` are shown where they are not 1."""

    output_padding: tuple[int, ...] = ()

    def __init__(self, in_channels: int, out_channels: int, settings: Window, groups: int):
        super().__init__(in_channels, out_channels)
        self.kernel_size, self.stride, self.padding, self.dilation = settings
        self.groups = integer(type(self).__name__, "groups", groups, 1)
        if in_channels % groups or out_channels % groups:
            need = f"groups that divide {in_channels} and {out_channels} channels"
            raise ValueError(f"{type(self).__name__}: need {need}, got {groups}")

    def _settings_repr(self) -> list[str]:
        plain = (0,) * self.rank
        shown = {
            "kernel_size": (self.kernel_size, None),
            "stride": (self.stride, None),
            "padding": (self.padding, plain),
            "dilation": (self.dilation, (1,) * self.rank),
            "output_padding": (self.output_padding or plain, plain),
            "groups": (self.groups, 1),
        }
        return [f"{name}={value}" for name, (value, default) in shown.items() if value != default]


class _Conv(_Convolution):
    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Size,
        stride: Size = 1,
        padding: Padding = 0,
        dilation: Size = 1,
        groups: int = 1,
        bias: bool = True,
        *,
        dtype: Any = None,
    ):
        settings = window(type(self).__name__, self.rank, kernel_size, stride, padding, dilation)
        super().__init__(in_channels, out_channels, settings, groups)
        shape = (out_channels, in_channels // groups, *self.kernel_size)
        check_kind(type(self).__name__, "bias", bool, bias)
        self._add(shape, (out_channels,) if bias else None, None, dtype)

    def forward(self, input: Array) -> Array:
        settings = self.stride, self.padding, self.dilation, self.groups
        return _CONV[self.rank](input, self.weight, self.bias, *settings)


class Conv1d(_Conv):
    """Filters over signals: y[n, k, o] = b[k] + sum over c, f of w[k, c, f] x[n, c, o S - P + f D].

    Weight and bias are drawn at first from U(-c, c), c = 1 / sqrt(F C / groups). `padding` is a number,
    ((left, right),), 'valid' or 'same'.
    Shapes: input (N, C, L) -> (N, K, OL), OL = floor((L + 2P - D (F - 1) - 1) / S) + 1;
    weight (K, C/groups, F), bias (K).
    Raises: ValueError where settings do not fit, or `groups` does not divide C and K.
    """

    rank = 1


class Conv2d(_Conv):
    """Filters over images: y[n, k, oh, ow] = b[k] + sum over c, fh, fw of w[k, c, fh, fw] x[n, c, oh S - P + fh D,
    ow S - P + fw D].

    Weight and bias are drawn at first from U(-c, c), c = 1 / sqrt(FH FW C / groups). `padding` is a number, one per
    axis, ((top, bottom), (left, right)), 'valid' or 'same'.
    Shapes: input (N, C, H, W) -> (N, K, OH, OW), OH = floor((H + 2P - D (FH - 1) - 1) / S) + 1 and OW likewise;
    weight (K, C/groups, FH, FW), bias (K).
    Raises: ValueError where settings do not fit, or `groups` does not divide C and K.
    """

    rank = 2


class _ConvTranspose(_Convolution):
    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Size,
        stride: Size = 1,
        padding: Padding = 0,
        output_padding: Size = 0,
        groups: int = 1,
        bias: bool = True,
        dilation: Size = 1,
        *,
        dtype: Any = None,
    ):
        name = type(self).__name__
        super().__init__(
            in_channels, out_channels, window(name, self.rank, kernel_size, stride, padding, dilation), groups
        )
        self.output_padding = per_axis(name, "output_padding", output_padding, self.rank, 0)
        shape = (in_channels, out_channels // groups, *self.kernel_size)
        check_kind(type(self).__name__, "bias", bool, bias)
        self._add(shape, (out_channels,) if bias else None, None, dtype)

    def forward(self, input: Array) -> Array:
        settings = self.stride, self.padding, self.output_padding, self.groups, self.dilation
        return _CONV_TRANSPOSE[self.rank](input, self.weight, self.bias, *settings)


class ConvTranspose1d(_ConvTranspose):
    """What `Conv1d` with these settings sends back to its input: each value of x adds a filter to y.

    Shapes: input (N, C, L) -> (N, K, OL), OL = (L - 1) S - 2P + D (F - 1) + output_padding + 1;
    weight (C, K/groups, F), bias (K).
    """

    rank = 1


class ConvTranspose2d(_ConvTranspose):
    """What `Conv2d` with these settings sends back to its input: each value of x adds a filter to y.

    Shapes: input (N, C, H, W) -> (N, K, OH, OW), OH = (H - 1) S - 2P + D (FH - 1) + output_padding + 1 and OW likewise;
    weight (C, K/groups, FH, FW), bias (K).
    """

    rank = 2


class Conv1x1(_Filters):
    """A linear layer over the channels of every place: y[n, k, p] = b[k] + sum over c of w[k, c] x[n, c, p].

    Shapes: input (N, C, L) or (N, C, H, W) -> K in place of C; weight (K, C), bias (K).
    `load_state_dict` also takes the weight (K, C, 1, 1) of a `Conv2d`, and (K, C, 1) of a `Conv1d`; for the way back
    there is `weight[:, :, None, None]`.
    Source: Lin, Chen and Yan, "Network in network", 2014.
    """

    def __init__(self, in_channels: int, out_channels: int, bias: bool = True, *, dtype: Any = None):
        super().__init__(in_channels, out_channels)
        check_kind(type(self).__name__, "bias", bool, bias)
        self._add((self.out_channels, self.in_channels), (self.out_channels,) if bias else None, None, dtype)

    def forward(self, input: Array) -> Array:
        return F.conv1x1(input, self.weight, self.bias)

    def _as_own(self, name: str, array: np.ndarray) -> np.ndarray:
        is_windows = name == "weight" and array.shape[2:] in ((1,), (1, 1))
        return array.reshape(array.shape[:2]) if is_windows else array


class _LocallyConnected(_Filters):
    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        input_size: Size,
        kernel_size: Size,
        stride: Size = 1,
        padding: Padding = 0,
        dilation: Size = 1,
        bias: bool = True,
        *,
        dtype: Any = None,
    ):
        super().__init__(in_channels, out_channels)
        name = type(self).__name__
        self.input_size = per_axis(name, "input_size", input_size, self.rank, 1)
        self.kernel_size, self.stride, self.padding, self.dilation = window(
            name, self.rank, kernel_size, stride, padding, dilation
        )
        axes = window_axes(name, self.input_size, self.kernel_size, self.stride, self.padding, self.dilation)
        self.output_size = tuple(axis.out for axis in axes)
        terms = (self.in_channels, *self.kernel_size)
        weight = (*self.output_size, self.out_channels, *terms)
        check_kind(type(self).__name__, "bias", bool, bias)
        self._add(weight, (self.out_channels, *self.output_size) if bias else None, math.prod(terms), dtype)

    def forward(self, input: Array) -> Array:
        settings = self.stride, self.padding, self.dilation
        return _LOCALLY_CONNECTED[self.rank](input, self.weight, self.bias, *settings)

    def _settings_repr(self) -> list[str]:
        names = ("input_size", "kernel_size", "stride", "padding", "dilation")
        return [f"{name}={getattr(self, name)}" for name in names]


class LocallyConnected1d(_LocallyConnected):
    """`Conv1d` with filters of their own for each place: local connectivity without shared weights.

    y[n, k, o] = b[k, o] + sum over c, f of w[o, k, c, f] x[n, c, o S - P + f D]

    Shapes: input (N, C, L) with L = input_size -> (N, K, OL); weight (OL, K, C, F), bias (K, OL).
    """

    rank = 1


class LocallyConnected2d(_LocallyConnected):
    """`Conv2d` with filters of their own for each place: local connectivity without shared weights.

    y[n, k, oh, ow] = b[k, oh, ow] + sum over c, fh, fw of w[oh, ow, k, c, fh, fw] x[n, c, oh S - P + fh D,
    ow S - P + fw D]

    Shapes: input (N, C, H, W) with (H, W) = input_size -> (N, K, OH, OW); weight (OH, OW, K, C, FH, FW),
    bias (K, OH, OW).
    """

    rank = 2
