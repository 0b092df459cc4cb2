"""Initial values, in place, drawn by the seed of `mg.manual_seed`: the same seed gives the same weights."""

import math
from collections.abc import Callable

import numpy as np

from minigrad import random
from minigrad.kinds import checks_kinds
from minigrad.tensor import Tensor

__all__ = [
    "calculate_gain",
    "constant_",
    "fan_in_and_fan_out",
    "kaiming_normal_",
    "kaiming_uniform_",
    "normal_",
    "ones_",
    "orthogonal_",
    "trunc_normal_",
    "uniform_",
    "xavier_normal_",
    "xavier_uniform_",
    "zeros_",
]

_GAINS: dict[str, float] = {"sigmoid": 1.0, "tanh": 5 / 3, "relu": math.sqrt(2), "selu": 3 / 4} | dict.fromkeys(
    ("linear", "conv1d", "conv2d", "conv_transpose1d", "conv_transpose2d"), 1.0
)


def _fill(name: str, tensor: Tensor, values: Callable[[tuple[int, ...]], np.ndarray | float]) -> Tensor:
    if not isinstance(tensor, Tensor) or tensor.dtype.kind != "f":
        given = tensor.dtype if isinstance(tensor, Tensor) else type(tensor).__name__
        raise TypeError(f"{name}: need a floating tensor, got {given}")
    tensor.detach().copy_(values(tensor.shape))  # what is detached shares memory, and may be written to
    return tensor


@checks_kinds
def uniform_(tensor: Tensor, a: float = 0.0, b: float = 1.0) -> Tensor:
    """Draw from the uniform distribution on [a, b). Raises: ValueError unless a <= b, finite."""
    a, b = a + 0.0, b + 0.0  # -0.0 is less than 0 to NumPy
    if not 0 <= b - a < math.inf:
        raise ValueError(f"uniform_: need finite a <= b, got {a} and {b}")
    return _fill("uniform_", tensor, lambda shape: random.generator().uniform(a, b, shape))


@checks_kinds
def normal_(tensor: Tensor, mean: float = 0.0, std: float = 1.0) -> Tensor:
    """Draw from the normal distribution. Raises: ValueError unless std >= 0."""
    if not std >= 0:
        raise ValueError(f"normal_: need std >= 0, got {std}")
    scale = abs(std)  # to NumPy, -0.0 is none
    return _fill("normal_", tensor, lambda shape: random.generator().normal(mean, scale, shape))


@checks_kinds
def constant_(tensor: Tensor, val: float) -> Tensor:
    """Set every value to `val`."""
    return _fill("constant_", tensor, lambda shape: val)


def zeros_(tensor: Tensor) -> Tensor:
    """Set every value to 0."""
    return constant_(tensor, 0.0)


def ones_(tensor: Tensor) -> Tensor:
    """Set every value to 1."""
    return constant_(tensor, 1.0)


@checks_kinds
def trunc_normal_(tensor: Tensor, mean: float = 0.0, std: float = 1.0, a: float = -2.0, b: float = 2.0) -> Tensor:
    """Draw from the normal distribution cut off outside [a, b]; the bounds are values, not multiples of std.

    Raises: ValueError unless a < b, std > 0, and mean and std are finite. Source: von Neumann, "Various techniques used
    in connection with random digits", 1951 (rejection).
    """
    mean, std, a, b = map(float, (mean, std, a, b))
    if not (a < b and 0 < std < math.inf and math.isfinite(mean)):
        raise ValueError(
            f"trunc_normal_: need a < b, std > 0 and a finite mean and std, got a = {a}, b = {b}, mean = {mean}, "
            f"std = {std}"
        )
    # In multiples of std from the likeliest value, which lies `off` from the mean. The density there falls by
    # e^(-u (u + 2 off) / 2): beyond `far`, by e^-40.5, lies less than a double can tell.
    mode = min(max(mean, a), b)
    off = (mode - mean) / std
    far = 81 / (math.sqrt(off * off + 81) + abs(off))
    low, high = max((a - mode) / std, -far), min((b - mode) / std, far)

    def draw(shape: tuple[int, ...]) -> np.ndarray:
        rng, count = random.generator(), math.prod(shape)
        found = np.empty(0)
        while found.size < count:
            u = rng.uniform(low, high, 2 * (count - found.size))
            found = np.concatenate([found, u[rng.random(u.size) < np.exp(-u * (u / 2 + off))]])
        return mode + std * found[:count].reshape(shape)

    return _fill("trunc_normal_", tensor, draw)


def fan_in_and_fan_out(tensor: Tensor) -> tuple[int, int]:
    """The inputs that meet in one output, and the outputs that one input reaches: (C FH FW, K FH FW).

    Raises: ValueError for fewer than 2 dimensions.
    """
    if tensor.ndim < 2:
        raise ValueError(f"fan_in_and_fan_out: need a weight of 2 or more dimensions, got {tensor.shape}")
    window = math.prod(tensor.shape[2:])
    return tensor.shape[1] * window, tensor.shape[0] * window


@checks_kinds
def calculate_gain(nonlinearity: str, param: float | None = None) -> float:
    """The factor by which weights make up for what a nonlinearity does to the variance.

    `param` is the negative slope of leaky_relu.
    Source: He and others, "Delving deep into rectifiers", 2015, for relu and leaky_relu; PyTorch's table for the rest.
    """
    if nonlinearity == "leaky_relu":
        slope = 0.01 if param is None else param
        return math.sqrt(2 / (1 + slope * slope))
    if nonlinearity not in _GAINS:
        raise ValueError(f"calculate_gain: need one of {', '.join([*_GAINS, 'leaky_relu'])}, got {nonlinearity!r}")
    return _GAINS[nonlinearity]


def _xavier_std(tensor: Tensor, gain: float) -> float:
    """gain sqrt(2 / (fan_in + fan_out))"""
    if not 0 <= gain < math.inf:
        raise ValueError(f"xavier: need a finite gain >= 0, got {gain}")
    return gain * math.sqrt(2 / sum(fan_in_and_fan_out(tensor)))


@checks_kinds
def xavier_uniform_(tensor: Tensor, gain: float = 1.0) -> Tensor:
    """Draw from U(-c, c), c = gain sqrt(6 / (fan_in + fan_out)).

    Source: Glorot and Bengio, "Understanding the difficulty of training deep feedforward neural networks", 2010.
    """
    bound = math.sqrt(3) * abs(_xavier_std(tensor, gain))
    return uniform_(tensor, -bound, bound)


@checks_kinds
def xavier_normal_(tensor: Tensor, gain: float = 1.0) -> Tensor:
    """Draw from N(0, std^2), std = gain sqrt(2 / (fan_in + fan_out)). Source: Glorot and Bengio, 2010."""
    return normal_(tensor, 0.0, _xavier_std(tensor, gain))


def _kaiming_std(tensor: Tensor, a: float, mode: str, nonlinearity: str) -> float:
    """gain / sqrt(fan)"""
    if mode not in ("fan_in", "fan_out"):
        raise ValueError(f"kaiming: need mode 'fan_in' or 'fan_out', got {mode!r}")
    fan = fan_in_and_fan_out(tensor)[mode == "fan_out"]
    return calculate_gain(nonlinearity, a) / math.sqrt(fan)


@checks_kinds
def kaiming_uniform_(tensor: Tensor, a: float = 0.0, mode: str = "fan_in", nonlinearity: str = "leaky_relu") -> Tensor:
    """Draw from U(-c, c), c = gain sqrt(3 / fan), with the gain of the nonlinearity (`a`: leaky_relu's slope).

    Source: He and others, "Delving deep into rectifiers", 2015.
    """
    bound = math.sqrt(3) * _kaiming_std(tensor, a, mode, nonlinearity)
    return uniform_(tensor, -bound, bound)


@checks_kinds
def kaiming_normal_(tensor: Tensor, a: float = 0.0, mode: str = "fan_in", nonlinearity: str = "leaky_relu") -> Tensor:
    """Draw from N(0, std^2), std = gain / sqrt(fan). Source: He and others, 2015."""
    return normal_(tensor, 0.0, _kaiming_std(tensor, a, mode, nonlinearity))


@checks_kinds
def orthogonal_(tensor: Tensor, gain: float = 1.0) -> Tensor:
    """Make the matrix (shape[0], the rest) gain times one with orthonormal rows or columns, whichever are fewer.

    Source: Saxe, McClelland and Ganguli, "Exact solutions to the nonlinear dynamics of learning", 2014.
    """
    if tensor.ndim < 2:
        raise ValueError(f"orthogonal_: need 2 or more dimensions, got {tensor.shape}")
    rows, columns = tensor.shape[0], math.prod(tensor.shape[1:])

    def draw(shape: tuple[int, ...]) -> np.ndarray:
        q, r = np.linalg.qr(random.generator().normal(size=(max(rows, columns), min(rows, columns))))
        q *= np.sign(np.diagonal(r))  # without it the distribution would not be uniform
        return gain * (q if rows >= columns else q.T).reshape(shape)

    return _fill("orthogonal_", tensor, draw)


def by_fan_in_(fan_in: int, *tensors: Tensor | None) -> None:
    """Draw from U(-c, c), c = 1 / sqrt(fan_in): how layers start, weight and bias alike.

    For weights that is `kaiming_uniform_(weight, a=sqrt(5))`. Source: LeCun and others, "Efficient backprop", 1998.
    """
    bound = 1 / math.sqrt(fan_in)
    for tensor in tensors:
        if tensor is not None:
            uniform_(tensor, -bound, bound)
