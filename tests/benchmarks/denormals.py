"""Whether numbers near zero slow a kernel down."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from .bench import SCALES, Bench, Row, judged, section
from .layers import Layer
from .models import shapes
from .pointwise import drawn

FAINT = np.float32(1e-39)  # the smallest normal number of float32 is 1.2e-38
LIMIT = 1.25  # times as long: beyond it, more than a machine's noise


class Scaled(Layer):
    """A layer with very small activations."""

    def operands(self) -> list[np.ndarray]:
        x, *others = super().operands()
        return [x * FAINT, *others]


def by_name(scale: np.float32) -> dict[str, tuple[Any, ...]]:
    """The work and its operands: products with one faint operand, a step with faint gradients and states."""
    kind = Scaled if scale == FAINT else Layer
    values = [drawn(*shape) for shape in shapes("cnn")]
    return {
        "convolution 5x5, x": ("convolution", kind(64, 6, 14, 14, 16, 5), "forward"),
        "convolution 3x3, x": ("convolution", kind(64, 64, 14, 14, 64, 3, 1, 1), "forward"),
        "matmul 256 x 256 x 256, a": ("matmul", drawn(256, 256) * scale, drawn(256, 256)),
        "Adam on the CNN, gradients": ("adam", values, [value * scale for value in values]),
    }


@section("Denormal numbers")
def denormals(bench: Bench) -> Iterator[Row]:
    """How many times as long a kernel takes with one operand of denormal numbers, 1e-39 times the normal one."""
    normal, faint = by_name(np.float32(1)), by_name(FAINT)
    for work in normal:
        row: Row = {"work and its denormal operand": work}
        for peer in (peer for peer in bench.peers if peer.name in ("minigrad", "torch")):
            tasks = {"normal": peer.prepare(*normal[work]), "denormal": peer.prepare(*faint[work])}
            times = bench.medians(tasks, tolerance=None)  # the results are not to agree
            if peer.name == "minigrad":
                row |= {f"{name} us": seconds * SCALES["us"] for name, seconds in times.items()}
            row[f"{peer.name} slowdown"] = times["denormal"] / times["normal"]
        yield judged(row, at_most={"minigrad slowdown": LIMIT})
