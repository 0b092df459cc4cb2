"""Tests of layers of your own: what Hypothesis draws them from, every property of a layer in one line, and a process in
which a pair of kernels shows what it does to memory.

    @given(conv_cases(2))
    def test_my_convolution(case):
        check_layer(lambda case: MyConv2d(case.in_channels, case.out_channels, case.kernel_size, **case.settings), case)
"""

from minigrad.extras import require

require("hypothesis", purpose="minigrad.testing")

from minigrad.testing.cases import ConvCase, PoolCase  # noqa: E402
from minigrad.testing.layers import LayerError, LayerReport, check_layer  # noqa: E402
from minigrad.testing.sanitizer import Finding, SanitizeError, SanitizeReport, sanitize  # noqa: E402
from minigrad.testing.strategies import (  # noqa: E402
    arrays,
    broadcastable_shapes,
    conv_cases,
    pool_cases,
    shapes,
    tensors,
)  # fmt: skip
from minigrad.testing.values import LAYOUTS  # noqa: E402

__all__ = [
    "LAYOUTS",
    "ConvCase",
    "Finding",
    "LayerError",
    "LayerReport",
    "PoolCase",
    "SanitizeError",
    "SanitizeReport",
    "arrays",
    "broadcastable_shapes",
    "check_layer",
    "conv_cases",
    "pool_cases",
    "sanitize",
    "shapes",
    "tensors",
]
