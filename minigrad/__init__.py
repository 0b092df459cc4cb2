"""minigrad: a tape-based reverse-mode autograd engine on NumPy arrays, with convolutions as pairs of Numba kernels."""

import importlib
import importlib.util
from types import ModuleType

if importlib.util.find_spec("minigrad.kernels") is None:  # another folder, mapped here by the installation
    raise ModuleNotFoundError("minigrad is not installed: run `python -m pip install -e .` in its checkout")

from minigrad import data, distributed, functional, interpret, models, nn, optim, training
from minigrad.autograd import grad, hessian, jacobian, jvp, vjp
from minigrad.geometry import explain, summary
from minigrad.gradcheck import GradcheckError, gradcheck, gradgradcheck
from minigrad.kernels.threads import get_num_threads, set_num_threads
from minigrad.modes import (
    detect_anomaly,
    enable_grad,
    is_grad_enabled,
    no_grad,
    set_grad_enabled,
)
from minigrad.op import OPS, Op, constant, op
from minigrad.ops import (
    absolute,
    acos,
    acosh,
    asin,
    asinh,
    atan,
    atanh,
    ceil,
    clip,
    concatenate,
    cos,
    cosh,
    einsum,
    equal,
    erf,
    exp,
    expm1,
    floor,
    greater,
    greater_equal,
    isfinite,
    isnan,
    less,
    less_equal,
    log,
    log1p,
    logical_and,
    logical_not,
    logical_or,
    matmul,
    maximum,
    minimum,
    not_equal,
    power,
    round,
    sign,
    sin,
    sinh,
    split,
    sqrt,
    stack,
    tan,
    tanh,
    where,
)
from minigrad.ops.winograd import is_winograd_enabled, set_winograd_enabled
from minigrad.profiler import profile
from minigrad.random import manual_seed
from minigrad.serialize import load, save
from minigrad.tensor import Tensor, as_tensor, from_dlpack, tensor

__version__ = "0.1.0"

_NEED_AN_EXTRA = ("onnx", "plot", "testing")  # and so are imported on first use


def __getattr__(name: str) -> ModuleType:
    if name in _NEED_AN_EXTRA:
        return importlib.import_module(f"minigrad.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


__all__ = [
    "OPS",
    "GradcheckError",
    "Op",
    "Tensor",
    "absolute",
    "acos",
    "acosh",
    "as_tensor",
    "asin",
    "asinh",
    "atan",
    "atanh",
    "ceil",
    "clip",
    "concatenate",
    "constant",
    "cos",
    "cosh",
    "data",
    "detect_anomaly",
    "distributed",
    "einsum",
    "enable_grad",
    "equal",
    "erf",
    "exp",
    "explain",
    "expm1",
    "floor",
    "from_dlpack",
    "functional",
    "get_num_threads",
    "grad",
    "gradcheck",
    "gradgradcheck",
    "greater",
    "greater_equal",
    "hessian",
    "interpret",
    "is_grad_enabled",
    "is_winograd_enabled",
    "isfinite",
    "isnan",
    "jacobian",
    "jvp",
    "less",
    "less_equal",
    "load",
    "log",
    "log1p",
    "logical_and",
    "logical_not",
    "logical_or",
    "manual_seed",
    "matmul",
    "maximum",
    "minimum",
    "models",
    "nn",
    "no_grad",
    "not_equal",
    "op",
    "optim",
    "power",
    "profile",
    "round",
    "save",
    "set_grad_enabled",
    "set_num_threads",
    "set_winograd_enabled",
    "sign",
    "sin",
    "sinh",
    "split",
    "sqrt",
    "stack",
    "summary",
    "tan",
    "tanh",
    "tensor",
    "training",
    "vjp",
    "where",
]
