"""minigrad."""

from typing import Any

import numpy as np

import minigrad as mg
from minigrad import functional as F
from minigrad.ops.geometry import window_axes

from ..layers import Layer
from ..timing import Call
from .eager import Eager


class Peer(Eager):
    name = "minigrad"
    library = mg
    functional = F

    def set_num_threads(self, count: int) -> None:
        mg.set_num_threads(count)

    def tensor(self, array: np.ndarray) -> mg.Tensor:
        return mg.tensor(array)

    def labels(self, array: np.ndarray) -> Any:
        return array

    def convolution(self, layer: Layer, part: str) -> Call | None:
        if part not in ("dx", "dw"):
            return super().convolution(layer, part)
        x, w, _, dy = layer.operands()
        if layer.window == layer.stride == 1 and not layer.padding and layer.groups == 1:  # another op
            matrix = np.ascontiguousarray(w.reshape(w.shape[:2]).T)
            return {
                "dx": lambda: mg.OPS["conv1x1"](dy, matrix),
                "dw": lambda: mg.OPS["conv1x1_weight_gradient"](dy, x).reshape(w.shape),
            }[part]
        around = (layer.padding,) * 2
        axes = window_axes("conv2d", x.shape[2:], w.shape[2:], layer.stride, around, 1)
        settings = {"axes": axes, "groups": layer.groups}
        return {
            "dx": lambda: mg.OPS["conv_transpose2d"](dy, w, **settings),
            "dw": lambda: mg.OPS["conv2d_weight_gradient"](dy, x, **settings),
        }[part]

    def gradcheck(self, x: np.ndarray, w: np.ndarray) -> Call:
        operands = self.leaf(x), self.leaf(w)
        return lambda: bool(mg.gradcheck(F.conv2d, operands))

    def gradcheck_model(self, name: str, images: np.ndarray) -> Call:
        model, x = self.model(name).double(), self.tensor(images)
        return lambda: bool(mg.gradcheck(model, x, fast_mode=True))
