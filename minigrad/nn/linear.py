"""Layers that are matrix products or look-ups, and two that only pass on."""

from typing import Any

from minigrad import functional as F, ops
from minigrad.kinds import check_kind
from minigrad.nn import init
from minigrad.nn.module import Module
from minigrad.nn.parameter import Parameter, blank
from minigrad.op import Array
from minigrad.ops.geometry import integer


class Identity(Module):
    """Gives its input back; takes and ignores any settings."""

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__()

    def forward(self, input: Array) -> Array:
        return input


class Flatten(Module):
    """Joins the dimensions from `start_dim` to `end_dim`. Shapes: input (N, C, H, W) -> (N, C H W)."""

    def __init__(self, start_dim: int = 1, end_dim: int = -1):
        super().__init__()
        self.start_dim, self.end_dim = start_dim, end_dim

    def forward(self, input: Array) -> Array:
        return ops.flatten(input, self.start_dim, self.end_dim)

    def extra_repr(self) -> str:
        return f"start_dim={self.start_dim}, end_dim={self.end_dim}"


class Linear(Module):
    """A linear layer: y = x w^T + b.

    Weight and bias are drawn at first from U(-c, c), c = 1 / sqrt(in_features).
    Shapes: input (..., in_features) -> (..., out_features); weight (out_features, in_features), bias (out_features).
    """

    weight: Parameter
    bias: Parameter | None

    def __init__(self, in_features: int, out_features: int, bias: bool = True, *, dtype: Any = None):
        super().__init__()
        self.in_features = integer("Linear", "in_features", in_features, 1)
        self.out_features = integer("Linear", "out_features", out_features, 1)
        self.weight = blank((self.out_features, self.in_features), dtype)
        check_kind("Linear", "bias", bool, bias)
        self.register_parameter("bias", blank((self.out_features,), dtype) if bias else None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw weight and bias anew."""
        init.by_fan_in_(self.in_features, self.weight, self.bias)

    def forward(self, input: Array) -> Array:
        return F.linear(input, self.weight, self.bias)

    def extra_repr(self) -> str:
        return f"in_features={self.in_features}, out_features={self.out_features}, bias={self.bias is not None}"


class Embedding(Module):
    """The rows of a table by number, drawn at first from N(0, 1); the row `padding_idx` is zero and does not learn.

    Shapes: input (...) of integers -> (..., embedding_dim); weight (num_embeddings, embedding_dim).
    Raises: ValueError for a `padding_idx` outside the table.
    """

    weight: Parameter

    def __init__(self, num_embeddings: int, embedding_dim: int, padding_idx: int | None = None, *, dtype: Any = None):
        super().__init__()
        self.num_embeddings = integer("Embedding", "num_embeddings", num_embeddings, 1)
        self.embedding_dim = integer("Embedding", "embedding_dim", embedding_dim, 1)
        check_kind("Embedding", "padding_idx", int | None, padding_idx)
        if padding_idx is not None and not -num_embeddings <= padding_idx < num_embeddings:
            raise ValueError(f"Embedding: need padding_idx within {num_embeddings} rows, got {padding_idx}")
        self.padding_idx = None if padding_idx is None else padding_idx % num_embeddings
        self.weight = blank((self.num_embeddings, self.embedding_dim), dtype)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the table anew."""
        init.normal_(self.weight)
        if self.padding_idx is not None:
            self.weight.detach()[self.padding_idx] = 0

    def forward(self, input: Array) -> Array:
        return F.embedding(input, self.weight, self.padding_idx)

    def extra_repr(self) -> str:
        padding = "" if self.padding_idx is None else f", padding_idx={self.padding_idx}"
        return f"{self.num_embeddings}, {self.embedding_dim}{padding}"
