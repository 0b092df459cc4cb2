"""The convolution layers that are compared."""

from typing import NamedTuple

import numpy as np


class Layer(NamedTuple):
    """One convolution of a batch: N images of C channels, H x W pixels, K filters of F x F."""

    samples: int
    channels: int
    height: int
    width: int
    filters: int
    window: int
    stride: int = 1
    padding: int = 0
    groups: int = 1
    dtype: str = "float32"

    def __str__(self) -> str:
        extras = [f"groups {self.groups}"] * (self.groups > 1) + [self.dtype] * (self.dtype != "float32")
        return " ".join([",".join(map(str, self[:8])), *extras])

    @property
    def x_shape(self) -> tuple[int, int, int, int]:
        return self.samples, self.channels, self.height, self.width

    @property
    def w_shape(self) -> tuple[int, int, int, int]:
        return self.filters, self.channels // self.groups, self.window, self.window

    @property
    def y_shape(self) -> tuple[int, int, int, int]:
        out = ((size + 2 * self.padding - self.window) // self.stride + 1 for size in (self.height, self.width))
        return self.samples, self.filters, *out

    @property
    def flops(self) -> int:
        """Of the forward pass, and of each gradient: a multiplication and an addition per weight and output pixel."""
        return 2 * int(np.prod(self.y_shape)) * int(np.prod(self.w_shape[1:]))

    @property
    def least_ratio(self) -> float:
        """How many times as fast as PyTorch the layer must be."""
        wide = min(self.channels, self.filters) >= 16 and self.groups == 1
        return 1.4 if wide and (self.window, self.stride) == (3, 1) else 1.0

    def operands(self) -> list[np.ndarray]:
        """x, w, b and dy, drawn at random."""
        rng = np.random.default_rng(0)
        fan_in = float(np.prod(self.w_shape[1:]))
        x, w = (rng.standard_normal(shape) for shape in (self.x_shape, self.w_shape))
        b, dy = (rng.standard_normal(shape) for shape in (self.w_shape[:1], self.y_shape))
        return [a.astype(self.dtype) for a in (x, w / fan_in**0.5, b, dy)]


MAIN = [
    Layer(64, 1, 28, 28, 6, 5, 1, 2),
    Layer(64, 6, 14, 14, 16, 5, 1, 0),
    Layer(64, 1, 28, 28, 32, 3, 1, 1),
    Layer(64, 32, 28, 28, 32, 3, 1, 1),
    Layer(64, 32, 14, 14, 64, 3, 1, 1),
    Layer(64, 64, 14, 14, 64, 3, 1, 1),
    Layer(64, 64, 14, 14, 128, 1, 1, 0),
    Layer(64, 128, 7, 7, 128, 3, 1, 1),
    Layer(64, 3, 32, 32, 64, 3, 1, 1),
    Layer(64, 64, 32, 32, 64, 3, 2, 1),
]

OTHER = [
    Layer(64, 32, 27, 31, 32, 3, 1, 1),  # odd sizes
    Layer(64, 17, 15, 15, 33, 3, 1, 1),
    Layer(64, 64, 13, 13, 64, 3, 2, 1),
    Layer(64, 32, 14, 14, 32, 5, 1, 2),  # 5x5
    Layer(64, 64, 14, 14, 64, 5, 2, 2),
    Layer(64, 24, 14, 14, 24, 3, 1, 1),  # 24 or 40 channels
    Layer(64, 40, 14, 14, 40, 3, 1, 1),
    Layer(64, 24, 14, 14, 40, 1, 1, 0),
    Layer(1, 32, 28, 28, 32, 3, 1, 1),  # small batches
    Layer(2, 32, 28, 28, 32, 3, 1, 1),
    Layer(4, 32, 28, 28, 32, 3, 1, 1),
    Layer(8, 32, 28, 28, 32, 3, 1, 1),
    Layer(1, 1, 28, 28, 6, 5, 1, 2),
    Layer(4, 6, 14, 14, 16, 5, 1, 0),
    Layer(16, 64, 56, 56, 64, 3, 1, 1),  # 56x56
    Layer(16, 64, 56, 56, 128, 1, 2, 0),
    Layer(64, 32, 28, 28, 32, 3, 1, 1, groups=32),  # depthwise
    Layer(64, 64, 28, 28, 64, 5, 2, 2, groups=64),
    Layer(64, 32, 14, 14, 64, 3, 1, 1, dtype="float64"),
    Layer(64, 6, 14, 14, 16, 5, 1, 0, dtype="float64"),
    Layer(64, 64, 14, 14, 128, 1, 1, 0, dtype="float64"),
]
