"""Losses as modules: each hands on to the function in `functional`. Units: nats for the logarithmic ones."""

from typing import Any

from minigrad import functional as F
from minigrad.kinds import check_kind
from minigrad.nn.module import Module
from minigrad.op import Array
from minigrad.tensor import as_tensor


class _Loss(Module):
    """A loss that is averaged ('mean'), added up ('sum') or left as it is ('none')."""

    def __init__(self, reduction: str = "mean"):
        super().__init__()
        check_kind(type(self).__name__, "reduction", str, reduction)
        if reduction not in ("mean", "sum", "none"):
            raise ValueError(f"{type(self).__name__}: need reduction 'mean', 'sum' or 'none', got {reduction!r}")
        self.reduction = reduction

    def _add_weight(self, name: str, weight: Any) -> None:
        self.register_buffer(name, None if weight is None else as_tensor(weight))


class CrossEntropyLoss(_Loss):
    """- log softmax(x)[target] in nats; a mean divides by the sum of the targets' weights.

    Shapes: input (N, C) or (N, C, ...), target (N) or (N, ...) of class numbers, or probabilities in input's shape;
    weight (C).
    """

    def __init__(
        self, weight: Any = None, ignore_index: int = -100, reduction: str = "mean", label_smoothing: float = 0.0
    ):
        super().__init__(reduction)
        self._add_weight("weight", weight)
        self.ignore_index, self.label_smoothing = ignore_index, label_smoothing

    def forward(self, input: Array, target: Array) -> Array:
        return F.cross_entropy(input, target, self.weight, self.ignore_index, self.reduction, self.label_smoothing)


class NLLLoss(_Loss):
    """- x[target] for log-probabilities x; otherwise as `CrossEntropyLoss`."""

    def __init__(self, weight: Any = None, ignore_index: int = -100, reduction: str = "mean"):
        super().__init__(reduction)
        self._add_weight("weight", weight)
        self.ignore_index = ignore_index

    def forward(self, input: Array, target: Array) -> Array:
        return F.nll_loss(input, target, self.weight, self.ignore_index, self.reduction)


class MSELoss(_Loss):
    """(x - target)^2. Shapes: input and target alike."""

    def forward(self, input: Array, target: Array) -> Array:
        return F.mse_loss(input, target, self.reduction)


class L1Loss(_Loss):
    """|x - target|. Shapes: input and target alike."""

    def forward(self, input: Array, target: Array) -> Array:
        return F.l1_loss(input, target, self.reduction)


class HuberLoss(_Loss):
    """(x - target)^2 / 2 where |x - target| < delta, delta (|x - target| - delta / 2) elsewhere.

    Shapes: input and target alike. Source: Huber, "Robust estimation of a location parameter", 1964.
    """

    def __init__(self, reduction: str = "mean", delta: float = 1.0):
        super().__init__(reduction)
        self.delta = delta

    def forward(self, input: Array, target: Array) -> Array:
        return F.huber_loss(input, target, self.reduction, self.delta)


class BCELoss(_Loss):
    """- weight (target log x + (1 - target) log(1 - x)) for probabilities x. Shapes: input and target alike."""

    def __init__(self, weight: Any = None, reduction: str = "mean"):
        super().__init__(reduction)
        self._add_weight("weight", weight)

    def forward(self, input: Array, target: Array) -> Array:
        return F.binary_cross_entropy(input, target, self.weight, self.reduction)


class BCEWithLogitsLoss(_Loss):
    """`BCELoss` of sigmoid(x), without its overflow; `pos_weight` multiplies the term of target 1."""

    def __init__(self, weight: Any = None, reduction: str = "mean", pos_weight: Any = None):
        super().__init__(reduction)
        self._add_weight("weight", weight)
        self._add_weight("pos_weight", pos_weight)

    def forward(self, input: Array, target: Array) -> Array:
        return F.binary_cross_entropy_with_logits(input, target, self.weight, self.reduction, self.pos_weight)
