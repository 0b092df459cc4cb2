"""Which neighbours in a row of modules are computed at once: a convolution, its ReLU, and pooling by 2 x 2; or a linear
layer and its ReLU.

Nothing a user sees changes: a chain is left as it is where a hook wants to see what is between its links, or a module
is of a class of the user's.
"""

import contextlib
from collections.abc import Callable, Sequence
from typing import Any

from minigrad import modes
from minigrad.functional.fused import conv2d_relu, linear_relu
from minigrad.nn.activation import ReLU
from minigrad.nn.conv import Conv2d
from minigrad.nn.linear import Linear
from minigrad.nn.module import Module
from minigrad.nn.pool import MaxPool2d
from minigrad.trail import begin, notes

_SQUARE: tuple[Any, ...] = (2, (2, 2))


def stages(modules: Sequence[Module]) -> list[Callable[[Any], Any]]:
    """The modules as what is to be called one after the other."""
    watch = modes.watching.get()
    if watch.anomaly or watch.tracer:  # they name modules
        return list(modules)
    calls: list[Callable[[Any], Any]] = []
    at = 0
    while at < len(modules):
        length = _chain(modules[at : at + 3])
        calls.append(modules[at] if length == 1 else _fused(modules[at : at + length]))
        at += length
    return calls


def _chain(modules: Sequence[Module]) -> int:
    """How many of the modules, from the first on, are computed at once."""
    first = modules[0]
    if type(first) not in (Conv2d, Linear) or _is_watched(first) or len(modules) < 2:
        return 1
    if type(modules[1]) is not ReLU or _is_watched(modules[1]):
        return 1
    return 3 if type(first) is Conv2d and len(modules) == 3 and _halves(modules[2]) else 2


def _is_watched(module: Module) -> bool:
    return bool(module._forward_hooks or module._forward_pre_hooks)


def _halves(module: Module) -> bool:
    """Whether it takes the largest of each 2 x 2, and nothing else."""
    return (
        type(module) is MaxPool2d
        and not _is_watched(module)
        and (module.kernel_size in _SQUARE and module.stride in _SQUARE)
        and module.padding in (0, (0, 0), "valid")
        and module.dilation in (1, (1, 1))
        and not (module.ceil_mode or module.return_indices)
    )


def _fused(modules: Sequence[Any]) -> Callable[[Any], Any]:
    module, pooled = modules[0], len(modules) == 3

    def call(input: Any) -> Any:
        with contextlib.nullcontext() if modes.watching.get() is modes.NOBODY else module._named_to_the_tape():
            if type(module) is Linear:
                output = linear_relu(input, module.weight, module.bias)
            else:
                settings = module.stride, module.padding, module.dilation, module.groups
                output = conv2d_relu(input, module.weight, module.bias, *settings, pooled)
        trail = notes.get() or begin()
        if pooled:
            trail.append((id(module), output.shape[:1]))  # what it gave has never been anywhere
        trail.append((id(modules[-1]), output.shape))
        return output

    return call
