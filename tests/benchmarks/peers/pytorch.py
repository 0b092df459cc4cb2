"""PyTorch, in its default setting or with channels last and the fused Adam."""

from typing import Any

import numpy as np
import torch

from ..layers import Layer
from ..timing import Call
from .eager import Eager


class Peer(Eager):
    library = torch
    functional = torch.nn.functional

    def __init__(self, channels_last: bool = False, fused: bool = False, compiled: bool = False):
        self.channels_last = channels_last
        self.fused = fused
        self.compiled = compiled
        settings = ("channels_last", channels_last), ("fused", fused), ("compiled", compiled)
        self.name = " ".join(["torch", *(name for name, wanted in settings if wanted)])

    def set_num_threads(self, count: int) -> None:
        torch.set_num_threads(count)

    def tensor(self, array: np.ndarray) -> Any:
        layout = torch.channels_last if self.channels_last and array.ndim == 4 else torch.contiguous_format
        return torch.tensor(array).contiguous(memory_format=layout)

    def labels(self, array: np.ndarray) -> Any:
        return torch.from_numpy(array)

    def skips(self, *operands: np.ndarray) -> bool:
        return self.fused or (self.channels_last and all(a.ndim != 4 for a in operands))

    def arranged(self, model: Any) -> Any:
        if self.channels_last:
            model = model.to(memory_format=torch.channels_last)
        return torch.compile(model) if self.compiled else model

    def convolution(self, layer: Layer, part: str) -> Call | None:
        if self.fused or part not in ("dx", "dw"):
            return super().convolution(layer, part)
        x, w, _, dy = map(self.tensor, layer.operands())
        stride, padding, wanted = [layer.stride] * 2, [layer.padding] * 2, ["dx", "dw"].index(part)
        mask = [part == "dx", part == "dw", False]
        settings = None, stride, padding, [1, 1], False, [0, 0], layer.groups, mask
        return lambda: torch.ops.aten.convolution_backward(dy, x, w, *settings)[wanted]

    def adam(self, values: list[np.ndarray], gradients: list[np.ndarray]) -> Call | None:
        return None if self.channels_last else super().adam(values, gradients)

    def gradcheck(self, x: np.ndarray, w: np.ndarray) -> Call | None:
        operands = self.leaf(x), self.leaf(w)
        return (
            None
            if self.skips(x) or self.channels_last
            else lambda: torch.autograd.gradcheck(torch.nn.functional.conv2d, operands)
        )

    def gradcheck_model(self, name: str, images: np.ndarray) -> Call | None:
        if self.fused or self.channels_last:
            return None
        model, x = self.model(name).double(), self.tensor(images)
        names = [name for name, _ in model.named_parameters()]

        def call(*parameters: Any) -> Any:
            return torch.func.functional_call(model, dict(zip(names, parameters, strict=True)), x)

        return lambda: torch.autograd.gradcheck(call, tuple(model.parameters()), fast_mode=True)
