"""Normalisation layers, with their learned scale and shift."""

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from minigrad import functional as F
from minigrad.kinds import check_kind, checks_kinds, several
from minigrad.nn.module import Module
from minigrad.nn.parameter import Parameter, blank
from minigrad.op import Array
from minigrad.ops.checks import check_arrays
from minigrad.ops.geometry import integer
from minigrad.tensor import Tensor, tensor


class _Norm(Module):
    """Weight (at first 1) and bias (at first 0), where there are any."""

    weight: Parameter | None
    bias: Parameter | None

    def _add(self, shape: tuple[int, ...], weight: bool, bias: bool, dtype: Any) -> None:
        check_kind(type(self).__name__, "affine", bool, weight)
        check_kind(type(self).__name__, "bias", bool, bias)
        self.register_parameter("weight", blank(shape, dtype, 1.0) if weight else None)
        self.register_parameter("bias", blank(shape, dtype) if bias else None)

    def _affine_repr(self) -> str:
        return f"affine={self.weight is not None}, bias={self.bias is not None}"


class _BatchNorm(_Norm):
    dims: ClassVar[dict[int, str]]
    running_mean: Tensor | None
    running_var: Tensor | None
    num_batches_tracked: Tensor | None

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        *,
        dtype: Any = None,
        bias: bool = True,
    ):
        super().__init__()
        self.num_features = integer(type(self).__name__, "num_features", num_features, 1)
        self.eps, self.momentum, self.affine, self.track_running_stats = eps, momentum, affine, track_running_stats
        check_kind(type(self).__name__, "track_running_stats", bool, track_running_stats)
        check_kind(type(self).__name__, "affine", bool, affine)
        check_kind(type(self).__name__, "momentum", float | None, momentum)
        check_kind(type(self).__name__, "eps", float, eps)
        self._add((self.num_features,), affine, affine and bias, dtype)
        for name, value in (("running_mean", 0.0), ("running_var", 1.0)):
            running = blank((self.num_features,), dtype, value).detach()
            self.register_buffer(name, running if track_running_stats else None)
        self.register_buffer("num_batches_tracked", tensor(np.int64(0)) if track_running_stats else None)

    def forward(self, input: Array) -> Array:
        check_arrays(type(self).__name__, input)
        if len(input.shape) not in self.dims or input.shape[1] != self.num_features:
            need = " or ".join(self.dims.values())
            raise ValueError(
                f"{type(self).__name__}: need input {need} with C = {self.num_features}, got {tuple(input.shape)}"
            )
        momentum = self.momentum
        if self.training and self.num_batches_tracked is not None:
            self.num_batches_tracked.add_(1)
            if momentum is None:  # the mean over all batches so far
                momentum = 1 / self.num_batches_tracked.item()
        by_batch = self.training or not self.track_running_stats
        return F.batch_norm(
            input, self.running_mean, self.running_var, self.weight, self.bias, by_batch, momentum or 0.0, self.eps
        )

    def extra_repr(self) -> str:
        shown = f"{self.num_features}, eps={self.eps}, momentum={self.momentum}, {self._affine_repr()}"
        return f"{shown}, track_running_stats={self.track_running_stats}"


class BatchNorm1d(_BatchNorm):
    """weight (x - mean) / sqrt(var + eps) + bias, per channel.

    In training mean and var are the batch's, in evaluation the running ones, which follow the batches:
    running <- (1 - momentum) running + momentum batch; `momentum=None` averages over all batches.
    Shapes: input (N, C) or (N, C, L); weight and bias (C).
    Source: Ioffe and Szegedy, "Batch normalization", 2015.
    """

    dims: ClassVar[dict[int, str]] = {2: "(N, C)", 3: "(N, C, L)"}


class BatchNorm2d(_BatchNorm):
    """`BatchNorm1d` for images. Shapes: input (N, C, H, W); weight and bias (C)."""

    dims: ClassVar[dict[int, str]] = {4: "(N, C, H, W)"}


class LayerNorm(_Norm):
    """weight (x - mean) / sqrt(var + eps) + bias, over the last dimensions of each sample.

    Shapes: input (..., *normalized_shape); weight and bias normalized_shape.
    Source: Ba, Kiros and Hinton, "Layer normalization", 2016.
    """

    @checks_kinds
    def __init__(
        self,
        normalized_shape: int | Sequence[int],
        eps: float = 1e-5,
        elementwise_affine: bool = True,
        bias: bool = True,
        *,
        dtype: Any = None,
    ):
        super().__init__()
        sizes = several("LayerNorm", "normalized_shape", normalized_shape)
        self.normalized_shape = tuple(integer("LayerNorm", "normalized_shape", size, 1) for size in sizes)
        self.eps, self.elementwise_affine = eps, elementwise_affine
        self._add(self.normalized_shape, elementwise_affine, elementwise_affine and bias, dtype)

    def forward(self, input: Array) -> Array:
        return F.layer_norm(input, self.normalized_shape, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        return f"{self.normalized_shape}, eps={self.eps}, elementwise_{self._affine_repr()}"


class GroupNorm(_Norm):
    """weight (x - mean) / sqrt(var + eps) + bias, over each group of channels of each sample.

    Shapes: input (N, C, ...); weight and bias (C). Raises: ValueError unless num_groups divides num_channels.
    Source: Wu and He, "Group normalization", 2018.
    """

    @checks_kinds
    def __init__(
        self,
        num_groups: int,
        num_channels: int,
        eps: float = 1e-5,
        affine: bool = True,
        *,
        dtype: Any = None,
        bias: bool = True,
    ):
        super().__init__()
        self.num_groups = integer("GroupNorm", "num_groups", num_groups, 1)
        self.num_channels = integer("GroupNorm", "num_channels", num_channels, 1)
        if num_channels % num_groups:
            raise ValueError(f"GroupNorm: need num_groups that divides {num_channels} channels, got {num_groups}")
        self.eps, self.affine = eps, affine
        self._add((self.num_channels,), affine, affine and bias, dtype)

    def forward(self, input: Array) -> Array:
        return F.group_norm(input, self.num_groups, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        return f"{self.num_groups}, {self.num_channels}, eps={self.eps}, {self._affine_repr()}"
