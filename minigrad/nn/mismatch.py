"""Which two layers do not fit each other: the names and the number that an error between them should say."""

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from minigrad.nn.members import joined
from minigrad.trail import FeaturesError

if TYPE_CHECKING:
    from minigrad.nn.module import Module


class _Giver(NamedTuple):
    """The layer that decided how many values a linear layer got, and what they were."""

    name: str
    shape: tuple[int, ...]
    own: tuple[int, ...] | None  # what the layer itself gave, where functions after it changed that


class _Step(NamedTuple):
    """A note of this pass: a module of the model, or None for a change of form."""

    module: "Module | None"
    name: str
    shape: tuple[int, ...]


def tell(error: FeaturesError, root: "Module") -> None:
    """Put into the message what `root`, through which the error passes, knows: names are paths in it."""
    layer = _taker(error, root)
    if not layer or len(error.weight.shape) != 2:
        return
    features, shape = error.weight.shape[1], error.shape
    giver = _giver(error, root)
    got = f"got {shape[-1] if shape else 'one number'}"
    remark = ""
    if giver is not None:
        count = math.prod(giver.shape[1:])
        sizes = " x ".join(map(str, giver.shape[1:]))
        got = f"{giver.name} gives {sizes}" + (f" = {count}" if len(giver.shape) > 2 else "")
        if giver.own is not None:
            own = " x ".join(map(str, giver.own[1:]))
            remark = f"; functions after {giver.name}, which gives {own}, changed the size"
    told = f"{layer} expects {features} features, {got}: {_advice(features, shape, giver)}{remark}"
    error.args = (f"{told} ({error.rule})",)


def _advice(features: int, shape: tuple[int, ...], giver: _Giver | None) -> str:
    """What would fit."""
    if len(shape) == 1 and giver is not None:
        return "flatten(1) keeps the samples apart"
    if len(shape) > 2:
        count = math.prod(shape[1:])
        if count == features:
            return "call flatten(1) on the input, or put Flatten() before"
        return f"use Linear({shape[-1]}, ...) for the last dimension, or flatten(1) and Linear({count}, ...)"
    return f"use Linear({shape[-1]}, ...)" if shape else "need at least one dimension"


def _taker(error: FeaturesError, root: "Module") -> str:
    """The linear layer, or the parameter of another module; empty where the root is itself that layer."""
    for path, module in root.named_modules():
        for name, parameter in module._parameters.items():
            if parameter is error.weight:
                is_layer = hasattr(module, "in_features")
                return (path and _titled(path, module)) if is_layer else joined(path, name)
    return ""


def _titled(path: str, module: "Module") -> str:
    """A path that says what it leads to: numbers do not."""
    return f"{path} ({type(module).__name__})" if path.rpartition(".")[2].isdigit() else path


def _giver(error: FeaturesError, root: "Module") -> _Giver | None:
    """Who gave as many values per sample as came: from the last who did back to the one that decided it."""
    members = {id(module): (module, _titled(path, module)) for path, module in root.named_modules()}
    fits = _same_values(error.shape)
    steps: list[_Step] = []
    for key, shape in error.notes:  # a module that is no more may have had the number of one of these: then it must fit
        if key == id(root):
            steps = []  # it ran to its end: another pass
        elif key in members:
            steps.append(_Step(*members[key], shape))
        elif key is None and fits(shape):
            steps.append(_Step(None, "", shape))
    last = max((i for i, step in enumerate(steps) if step.module), default=0)
    at = max((i for i, step in enumerate(steps) if fits(step.shape)), default=last)
    while 0 < at < len(steps) and _hands_on(steps[at].module):
        step, before = steps[at], steps[at - 1].shape
        if step.module and before != step.shape and not (fits(before) and fits(step.shape)):
            break  # it decided the size itself
        at -= 1
    if not steps or not steps[at].module:
        return None
    own = steps[at].shape
    shape = next((step.shape for step in steps[at:] if fits(step.shape)), error.shape)
    return _Giver(_with_filters(at, steps), shape, own if own != shape else None)


def _same_values(given: tuple[int, ...]) -> Callable[[tuple[int, ...]], bool]:
    """Whether a shape holds what a linear layer got, in the same form or in another one."""
    if len(given) == 2:
        return lambda shape: shape[:1] == given[:1] and math.prod(shape[1:]) == given[1]
    if len(given) == 1:
        return lambda shape: len(shape) > 1 and math.prod(shape) == given[0]
    return lambda shape: shape == given


def _hands_on(module: "Module | None") -> bool:
    """Whether somebody before it may have decided the size: it is no layer of filters, or it is made of others."""
    return module is None or bool(module._modules) or not _has_filters(module)


def _has_filters(module: "Module") -> bool:
    return any(p is not None and len(p.shape) > 1 for p in module._parameters.values())


def _with_filters(at: int, steps: list[_Step]) -> str:
    """The name of a step; for one without filters, such as pooling, also the last that gave as many channels."""
    name, channels = steps[at].name, steps[at].shape[1:2]
    for step in reversed(steps[: at + 1]):
        if step.module and _has_filters(step.module) and step.shape[1:2] in ((), channels):
            return name if step is steps[at] else f"{name}, after {step.name},"
    return name
