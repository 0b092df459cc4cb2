"""Geometries of convolutions and poolings: what a test draws, and what a failing test shows.

Letters as everywhere: N samples, C channels, K filters; along each axis size H, window F, stride S, padding P, dilation
D, and output size OH = floor((H + P before + P after - D (F - 1) - 1) / S) + 1.
"""

import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np

from minigrad.ops.geometry import Axis, pads, per_axis, window_axes
from minigrad.testing.values import distinct


@dataclass(frozen=True, kw_only=True, repr=False)
class Case:
    """A window over an input (N, C, *sizes); its repr leaves out what has its simplest value.

    Settings are numbers per axis; where the two sides of an axis are padded differently, `padding` is a pair (before,
    after) per axis. Raises: ValueError where no window fits.
    """

    batch: int = 1
    sizes: tuple[int, ...]
    kernel_size: tuple[int, ...]
    stride: tuple[int, ...] = ()
    padding: tuple[int, ...] | tuple[tuple[int, int], ...] = ()
    dilation: tuple[int, ...] = ()
    dtype: str = "float64"

    def __post_init__(self) -> None:
        name, rank = type(self).__name__, len(self.sizes)
        around = pads(name, self.padding or 0, rank)
        is_even = all(before == after for before, after in around)
        found = {
            "kernel_size": per_axis(name, "kernel_size", self.kernel_size, rank, 1),
            "stride": per_axis(name, "stride", self.stride or 1, rank, 1),
            "padding": tuple(before for before, _ in around) if is_even else around,
            "dilation": per_axis(name, "dilation", self.dilation or 1, rank, 1),
        }
        for field, value in found.items():
            object.__setattr__(self, field, value)  # the dataclass is frozen for everybody else
        _ = self.axes

    def __repr__(self) -> str:
        simple = {"stride": (1,) * self.rank, "padding": (0,) * self.rank, "dilation": (1,) * self.rank}
        values = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        defaults = {field.name: field.default for field in dataclasses.fields(self)} | simple
        shown = ", ".join(f"{name}={value!r}" for name, value in values.items() if value != defaults[name])
        return f"{type(self).__name__}({shown})"

    @property
    def rank(self) -> int:
        """1 for signals, 2 for images."""
        return len(self.sizes)

    @property
    def axes(self) -> tuple[Axis, ...]:
        """The windows along each axis, as minigrad's ops take them."""
        return window_axes(
            type(self).__name__, self.sizes, self.kernel_size, self.stride, self.padding, self.dilation, self._rounds_up
        )

    @property
    def input_shape(self) -> tuple[int, ...]:
        """(N, C, *sizes)"""
        return (self.batch, self._channels[0], *self.sizes)

    @property
    def output_shape(self) -> tuple[int, ...]:
        """(N, K, *output sizes), where K is C for pooling."""
        return (self.batch, self._channels[1], *(axis.out for axis in self.axes))

    def input(self, seed: int = 0, dtype: Any = None) -> np.ndarray:
        """An input of distinct values (no ties), the same for the same seed, in the case's dtype unless told."""
        return distinct(self.input_shape, seed).astype(self.dtype if dtype is None else dtype)

    @property
    def _channels(self) -> tuple[int, int]:
        raise NotImplementedError

    @property
    def _rounds_up(self) -> bool:
        return False


@dataclass(frozen=True, kw_only=True, repr=False)
class ConvCase(Case):
    """A convolution: C = in_channels, K = out_channels, both cut into `groups`."""

    in_channels: int = 1
    out_channels: int = 1
    groups: int = 1

    @property
    def settings(self) -> dict[str, Any]:
        """stride, padding, dilation and groups, by the names that `conv2d` and `Conv2d` have for them."""
        return {name: getattr(self, name) for name in ("stride", "padding", "dilation", "groups")}

    @property
    def weight_shape(self) -> tuple[int, ...]:
        """(K, C/groups, *kernel_size)"""
        return (self.out_channels, self.in_channels // self.groups, *self.kernel_size)

    @property
    def _channels(self) -> tuple[int, int]:
        return self.in_channels, self.out_channels


@dataclass(frozen=True, kw_only=True, repr=False)
class PoolCase(Case):
    """A pooling whose every window sees a cell of the input."""

    channels: int = 1
    ceil_mode: bool = False

    @property
    def settings(self) -> dict[str, Any]:
        """kernel_size, stride, padding, ceil_mode, and dilation where it is not 1, for average pooling has none."""
        names = ("kernel_size", "stride", "padding", "ceil_mode", *(["dilation"] if max(self.dilation) > 1 else []))
        return {name: getattr(self, name) for name in names}

    @property
    def _channels(self) -> tuple[int, int]:
        return self.channels, self.channels

    @property
    def _rounds_up(self) -> bool:
        return self.ceil_mode
