"""minigrad: a tape-based reverse-mode autograd engine on NumPy arrays, with convolutions as pairs of Numba kernels."""

try:
    import minigrad.kernels
except ModuleNotFoundError as error:
    if error.name != "minigrad.kernels":
        raise
    raise ModuleNotFoundError(
        "minigrad is not installed: run `python -m pip install -e .` in its checkout", name="minigrad.kernels"
    ) from None

from minigrad import data, functional, nn, optim
from minigrad.autograd import grad, hessian, jacobian, jvp, vjp
from minigrad.gradcheck import GradcheckError, gradcheck, gradgradcheck
from minigrad.kernels.threads import get_num_threads, set_num_threads
from minigrad.op import OPS, Op, constant, op
from minigrad.ops import (
    absolute, acos, acosh, asin, asinh, atan, atanh, ceil, clip, concatenate, cos, cosh, einsum, equal, erf, exp, expm1,
    floor, greater, greater_equal, isfinite, isnan, less, less_equal, log, log1p, logical_and, logical_not, logical_or,
    matmul, maximum, minimum, not_equal, power, round, sign, sin, sinh, split, sqrt, stack, tan, tanh, where,
)  # fmt: skip
from minigrad.random import manual_seed
from minigrad.serialize import load, save
from minigrad.tape import (
    detect_anomaly, enable_grad, is_grad_enabled, no_grad, set_grad_enabled,
)  # fmt: skip
from minigrad.tensor import Tensor, as_tensor, from_dlpack, tensor

__version__ = "0.1.0"
