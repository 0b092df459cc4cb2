"""Activations, softmax and dropout: layers that keep the shape."""

from minigrad import functional as F
from minigrad.kinds import check_kind
from minigrad.nn.module import Module
from minigrad.op import Array


class ReLU(Module):
    """max(x, 0)"""

    def forward(self, input: Array) -> Array:
        return F.relu(input)


class LeakyReLU(Module):
    """x where x > 0, negative_slope x elsewhere"""

    def __init__(self, negative_slope: float = 0.01):
        super().__init__()
        self.negative_slope = negative_slope

    def forward(self, input: Array) -> Array:
        return F.leaky_relu(input, self.negative_slope)

    def extra_repr(self) -> str:
        return f"negative_slope={self.negative_slope}"


class ELU(Module):
    """x where x > 0, alpha (exp(x) - 1) elsewhere. Source: Clevert, Unterthiner and Hochreiter, 2016."""

    def __init__(self, alpha: float = 1.0):
        super().__init__()
        self.alpha = alpha

    def forward(self, input: Array) -> Array:
        return F.elu(input, self.alpha)

    def extra_repr(self) -> str:
        return f"alpha={self.alpha}"


class GELU(Module):
    """x times the normal distribution function of x, or its approximation by 'tanh'.

    Source: Hendrycks and Gimpel, "Gaussian error linear units", 2016.
    """

    def __init__(self, approximate: str = "none"):
        super().__init__()
        self.approximate = approximate

    def forward(self, input: Array) -> Array:
        return F.gelu(input, self.approximate)

    def extra_repr(self) -> str:
        return f"approximate={self.approximate!r}"


class SiLU(Module):
    """x sigmoid(x). Source: Elfwing, Uchibe and Doya, 2017."""

    def forward(self, input: Array) -> Array:
        return F.silu(input)


class Softplus(Module):
    """log(1 + exp(beta x)) / beta; x itself where beta x > threshold"""

    def __init__(self, beta: float = 1.0, threshold: float = 20.0):
        super().__init__()
        self.beta, self.threshold = beta, threshold

    def forward(self, input: Array) -> Array:
        return F.softplus(input, self.beta, self.threshold)

    def extra_repr(self) -> str:
        return f"beta={self.beta}, threshold={self.threshold}"


class Tanh(Module):
    """tanh(x)"""

    def forward(self, input: Array) -> Array:
        return F.tanh(input)


class Sigmoid(Module):
    """1 / (1 + exp(-x))"""

    def forward(self, input: Array) -> Array:
        return F.sigmoid(input)


class Softmax(Module):
    """exp(x) / the sum of exp(x) along `dim`"""

    def __init__(self, dim: int):
        super().__init__()
        self.dim = dim

    def forward(self, input: Array) -> Array:
        return F.softmax(input, self.dim)

    def extra_repr(self) -> str:
        return f"dim={self.dim}"


class LogSoftmax(Softmax):
    """x - log of the sum of exp(x) along `dim`"""

    def forward(self, input: Array) -> Array:
        return F.log_softmax(input, self.dim)


class Dropout(Module):
    """In training, each value is 0 with probability p and divided by 1 - p otherwise; in evaluation nothing happens.

    Raises: ValueError unless 0 <= p <= 1. Source: Srivastava and others, "Dropout", 2014.
    """

    def __init__(self, p: float = 0.5):
        super().__init__()
        check_kind(type(self).__name__, "p", float, p)
        if not 0 <= p <= 1:
            raise ValueError(f"{type(self).__name__}: need 0 <= p <= 1, got {p}")
        self.p = p

    def forward(self, input: Array) -> Array:
        return F.dropout(input, self.p, self.training)

    def extra_repr(self) -> str:
        return f"p={self.p}"


class Dropout2d(Dropout):
    """`Dropout` of whole channels of a sample. Shapes: input (N, C, H, W). Source: Tompson and others, 2015."""

    def forward(self, input: Array) -> Array:
        return F.dropout2d(input, self.p, self.training)
