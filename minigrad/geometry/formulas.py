"""Sizes as formulas with their numbers, and what a convolution costs without shared weights or local windows."""

import math
from typing import NamedTuple

from minigrad.geometry.trace import OpCall, Step
from minigrad.ops.geometry import Axis


def sizes(shape: tuple[int, ...]) -> str:
    """A shape as one writes it: 16 x 5 x 5."""
    return " x ".join(map(str, shape)) if shape else "1"


def output_size(axis: Axis) -> str:
    """The output size along an axis: `floor((28 + 2*1 - 3)/2) + 1 = 14`.

    Without the floor where nothing is left over, with ceil where a window overhangs, and with the dilated window's span
    as D*(F - 1) + 1 where D is not 1.
    """
    room = f"{axis.size}{_padding(axis)} - {_span(axis, '- ')}"
    left = (axis.size + axis.before + axis.after - axis.span) % axis.stride
    fitting = (axis.size + axis.before + axis.after - axis.span) // axis.stride + 1
    rounding = "ceil" if axis.out > fitting else "floor" if left else ""
    quotient = f"({room})/{axis.stride}"
    return f"{rounding}({quotient}) + 1 = {axis.out}" if rounding else f"{quotient} + 1 = {axis.out}"


def transposed_size(axis: Axis) -> str:
    """The size that a transposed convolution gives: `(14 - 1)*2 - 2*1 + 3 + 1 = 28`, the last term output padding."""
    around = _padding(axis).replace("+", "-")
    extra = axis.size - ((axis.out - 1) * axis.stride - axis.before - axis.after + axis.span)
    terms = f"({axis.out} - 1)*{axis.stride}{around} + {_span(axis, '+ ')}" + (f" + {extra}" if extra else "")
    return f"{terms} = {axis.size}"


def _padding(axis: Axis) -> str:
    if axis.before == axis.after:
        return f" + 2*{axis.before}" if axis.before else ""
    return f" + {axis.before} + {axis.after}"


def _span(axis: Axis, sign: str) -> str:
    """The cells from a window's first to its last."""
    return str(axis.window) if axis.dilation == 1 else f"{axis.dilation}*({axis.window} - 1) {sign}1"


def formula(step: Step) -> str:
    """How the output size of a step comes about, an axis after the other where they differ; may be empty."""
    for call in step.calls:
        found = of_call(call)
        if found:
            return "; ".join(dict.fromkeys(found))
    given = step.inputs[0][1:] if step.inputs else ()
    made = step.output[1:]
    if len(made) < len(given) and math.prod(made) == math.prod(given):
        return f"{'*'.join(map(str, given))} = {math.prod(made)}"
    if len(made) == len(given) and made != given:
        return "; ".join(dict.fromkeys(_scaled(a, b) for a, b in zip(given[1:], made[1:], strict=True)))
    return ""


def _scaled(size: int, out: int) -> str:
    return f"{size}*{out // size} = {out}" if out % size == 0 else f"{size} to {out}"


def of_call(call: OpCall) -> list[str]:
    """The formulas of a call's output sizes, one for each axis that has one."""
    if call.axes is not None:
        is_transposed = call.name.startswith("conv_transpose")
        return [transposed_size(axis) if is_transposed else output_size(axis) for axis in call.axes]
    if "spans" in call.settings:  # adaptive
        spans = call.settings["spans"]
        if math.prod(call.output[2:]) == 1:
            return [f"mean of {sizes(tuple(span.size for span in spans))}"] * len(spans)
        return [f"{span.size} cells in {len(span.starts)} means" for span in spans]
    shape = call.inputs[0] or () if call.inputs else ()
    if call.name == "linear":
        return [f"{shape[1]} to {call.output[1]}"]
    if call.name == "pad":
        pairs = zip(shape, call.settings["widths"], call.output, strict=True)
        return [f"{size} + {before} + {after} = {out}" for size, (before, after), out in pairs if before or after]
    return []


class Cost(NamedTuple):
    """Parameters, and multiply-adds per sample."""

    parameters: int
    multiply_adds: int


_SHARED = ("conv1d", "conv2d", "conv1x1", "conv_transpose1d", "conv_transpose2d")


def dense(step: Step) -> Cost | None:
    """The layer that connects each value of a convolution's input with each of its output; None for other steps."""
    found = _convolution(step)
    if found is None:
        return None
    given, _, made, bias = found
    weights = math.prod(given) * math.prod(made)
    return Cost(weights + math.prod(made) * bias, weights)


def locally_connected(step: Step) -> Cost | None:
    """The layer with a convolution's windows, but filters of its own for each (of a transposed one, at each input)."""
    found = _convolution(step)
    if found is None:
        return None
    given, window, made, bias = found
    places = given if "transpose" in step.calls[0].name else made
    weights = math.prod(places) * math.prod(window)
    return Cost(weights + math.prod(made) * bias, weights)


def _convolution(step: Step) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...], bool] | None:
    """Of a convolution: a sample's shape, what a filter sees at once, the output's shape, whether there are biases."""
    call = next((call for call in step.calls if call.name in _SHARED), None)
    if call is None or call.output[0] != step.batch:  # then samples and something else were made one
        return None
    x, w = call.inputs[:2]
    assert x is not None
    assert w is not None
    return x[1:], w[1:], call.output[1:], len(step.parameters) > 1
