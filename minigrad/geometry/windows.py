"""Which cells the windows of a layer see, how often, and which they leave out."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from minigrad import nn
from minigrad.geometry import formulas
from minigrad.geometry.reach import cells_of
from minigrad.geometry.trace import OpCall, Step, trace
from minigrad.kinds import check_kind, several
from minigrad.ops.geometry import Axis, Padding, Size, integer, window_axes

_NAMES = {1: ("cells",), 2: ("rows", "columns")}
_SHOWN = 10  # numbers or ranges of them


@dataclass(frozen=True, eq=False)
class AxisWindows:
    """Windows along one axis of a layer's input; of a transposed convolution, along that of its output.

    Cells are numbered from 0; those below 0, and from `size` on, are padding.
    """

    name: str  # rows, columns, or cells of a signal
    size: int
    formula: str  # of the output size
    cells: tuple[tuple[int, ...], ...]  # that each window sees, those in the padding too
    padding: tuple[int, int] = (0, 0)
    is_transposed: bool = False

    @property
    def out(self) -> int:
        """How many windows there are: the output size, of a transposed convolution the input size."""
        return len(self.cells)

    @property
    def counts(self) -> np.ndarray:
        """How many windows see each of the `size` cells."""
        seen = np.array([cell for window in self.cells for cell in window], np.int64)
        return np.bincount(seen[(seen >= 0) & (seen < self.size)], minlength=self.size)

    @property
    def unseen(self) -> tuple[int, ...]:
        """The cells that no window sees."""
        return tuple(np.flatnonzero(self.counts == 0).tolist())

    @property
    def left_over(self) -> tuple[int, ...]:
        """Of the unseen cells those behind the last window: the division of the formula leaves them over."""
        end = max((window[-1] for window in self.cells), default=-1)
        return tuple(cell for cell in self.unseen if cell > end)

    @property
    def in_gaps(self) -> tuple[int, ...]:
        """Of the unseen cells those within windows, in the gaps of their dilation."""
        within = {cell for window in self.cells for cell in range(window[0], window[-1])}
        return tuple(cell for cell in self.unseen if cell in within)

    @property
    def between(self) -> tuple[int, ...]:
        """Of the unseen cells those between windows: the stride is larger than a window."""
        others = {*self.left_over, *self.in_gaps}
        return tuple(cell for cell in self.unseen if cell not in others)

    @property
    def padding_seen(self) -> tuple[int, ...]:
        """The cells of the padding that windows see, and those behind it where a window overhangs (`ceil_mode`)."""
        return tuple(sorted({cell for window in self.cells for cell in window if not 0 <= cell < self.size}))

    @property
    def padding_unseen(self) -> tuple[int, ...]:
        """The cells of the padding that no window sees."""
        before, after = self.padding
        seen = set(self.padding_seen)
        return tuple(c for c in (*range(-before, 0), *range(self.size, self.size + after)) if c not in seen)

    @property
    def only_padding(self) -> tuple[int, ...]:
        """The windows that see nothing but padding."""
        return tuple(i for i, window in enumerate(self.cells) if all(not 0 <= cell < self.size for cell in window))

    def _windows_at(self, cells: Sequence[int]) -> str:
        found = [i for i, window in enumerate(self.cells) if not set(cells).isdisjoint(window)]
        return _called("windows", found)

    def _told(self, name: str) -> list[str]:
        """In words, with the cells called `name`."""
        return self._told_of_outputs(name) if self.is_transposed else self._told_of_inputs(name)

    def _told_of_inputs(self, name: str) -> list[str]:
        reasons = {
            "behind the last window, left over by the division": self.left_over,
            "between windows, which are further apart than they are wide": self.between,
            "in the gaps of dilated windows": self.in_gaps,
        }
        lines = [f"no window sees {_called(name, cells)}: {reason}" for reason, cells in reasons.items() if cells]
        end = self.size + self.padding[1]
        padding, beyond = ([c for c in self.padding_seen if (c >= end) is is_beyond] for is_beyond in (False, True))
        if padding:
            lines.append(f"padding: {_called(name, padding)}, seen by {self._windows_at(padding)}")
        if self.padding_unseen:
            lines.append(f"padding that no window sees: {_called(name, self.padding_unseen)}")
        if beyond:
            lines.append(f"beyond the end: {_called(name, beyond)}, where {self._windows_at(beyond)} overhangs")
        if self.only_padding:
            lines.append(f"nothing but padding in {_called('windows', self.only_padding)}")
        return [*lines, self._how_often(name, "seen by", "windows")]

    def _told_of_outputs(self, name: str) -> list[str]:
        lines = [f"no input reaches {_called(name, self.unseen)}"] if self.unseen else []
        if self.padding_seen:
            lines.append(f"the padding cuts off {_called(name, self.padding_seen)}")
        return [*lines, self._how_often(name, "reached by", "inputs")]

    def _how_often(self, name: str, how: str, what: str) -> str:
        counts = self.counts
        groups = {int(count): np.flatnonzero(counts == count).tolist() for count in np.unique(counts[counts > 0])}
        if len(groups) == 1 and not self.unseen:
            return f"{how} {_counted(next(iter(groups)), what)}: all {name}"
        return f"{how} " + "; by ".join(f"{_counted(count, what)}: {listed(cells)}" for count, cells in groups.items())


def _counted(count: int, what: str) -> str:
    return f"{count} {what.removesuffix('s') if count == 1 else what}"


def _called(name: str, cells: Sequence[int]) -> str:
    """`rows 2, 5`, or `row 2`."""
    words = [word.removesuffix("s") if len(cells) == 1 else word for word in name.split()]
    return f"{' '.join(words)} {listed(cells)}"


@dataclass(frozen=True, repr=False)
class LayerWindows:
    """The windows of one layer, or of one function in a model's own `forward`."""

    path: str
    kind: str
    input_sizes: tuple[int, ...]
    output_sizes: tuple[int, ...]
    axes: tuple[AxisWindows, ...]

    @property
    def counts(self) -> np.ndarray:
        """How many windows see each cell: (H, W), or (L)."""
        counts = self.axes[0].counts
        for axis in self.axes[1:]:
            counts = np.multiply.outer(counts, axis.counts)
        return counts

    def __repr__(self) -> str:
        name = f"{self.path}: " if self.path else ""
        lines = [f"{name}{self.kind}, {formulas.sizes(self.input_sizes)} to {formulas.sizes(self.output_sizes)}"]
        names = [axis.name for axis in self.axes]
        if len({(axis.formula, axis.cells, axis.padding) for axis in self.axes}) == 1:
            names = [" and ".join(names)]
        for name, axis in zip(names, self.axes, strict=False):
            told = [f"output size {axis.formula}", *axis._told(name)]
            lines += [f"  {name}", *(f"    {line}" for line in told)]
        return "\n".join(lines)


@dataclass(frozen=True, repr=False)
class Explanation:
    """What `explain` found, for each layer with windows in the order of execution; printed, a text."""

    layers: tuple[LayerWindows, ...]

    def __repr__(self) -> str:
        return "\n".join(map(repr, self.layers)) if self.layers else "no layer has windows"


def listed(numbers: Iterable[int]) -> str:
    """Numbers in order, with even steps made short, `2 to 9`, `1, 3, ..., 27`, and of many the first and the last."""
    rest, parts = list(numbers), []
    while rest:
        step = rest[1] - rest[0] if len(rest) > 1 else 1
        length = 1
        while length < len(rest) and rest[length] - rest[length - 1] == step:
            length += 1
        if length >= 3 and step == 1:
            parts.append(f"{rest[0]} to {rest[length - 1]}")
        elif length >= 4:
            parts.append(f"{rest[0]}, {rest[1]}, ..., {rest[length - 1]}")
        else:
            length = 1
            parts.append(str(rest[0]))
        rest = rest[length:]
    if len(parts) > _SHOWN:
        parts = [*parts[: _SHOWN - 2], "...", parts[-1]]
    return ", ".join(parts)


def explain(
    layer: nn.Module | Size,
    input_shape: Size,
    *,
    stride: Size | None = None,
    padding: Padding = 0,
    dilation: Size = 1,
    ceil_mode: bool = False,
    dtype: Any = None,
) -> Explanation:
    """Where the windows of a layer stand: what the output size is and why, which rows and columns of the input no
    window sees, which are padding, and how often each is seen.

    `layer` is a layer, or a model, of which every convolution and pooling is explained, or a window's size. With a
    module, `input_shape` is that of one sample, without the batch, such as (1, 28, 28), and `dtype` the input's, as in
    `summary`; the model runs once and stays as it is. With a size, `input_shape` has the sizes alone, 28 or (28, 28),
    and `stride` (1 if not given), `padding`, `dilation` and `ceil_mode` are as in `max_pool2d` and `conv2d`. Of a
    transposed convolution it is told which of the output's rows and columns how many inputs reach.

    Returns: an `Explanation`: printed, a text; `layers[i].axes[j]` has the numbers.
    Raises: ValueError where no window fits; TypeError for a module with settings of its own.

    >>> mg.explain(3, 8, stride=2)
    window, 8 to 3
      cells
        output size floor((8 - 3)/2) + 1 = 3
        no window sees cell 7: behind the last window, left over by the division
        seen by 1 window: 0, 1, 3, 5, 6; by 2 windows: 2, 4
    """
    check_kind("explain", "ceil_mode", bool, ceil_mode)
    if not isinstance(layer, nn.Module):
        sizes = several("explain", "input_shape", input_shape)
        sizes = tuple(integer("explain", "input sizes", size, 1) for size in sizes)
        if len(sizes) not in _NAMES:
            raise ValueError(f"explain: need one or two input sizes for a window, got {sizes}")
        axes = window_axes("explain", sizes, layer, 1 if stride is None else stride, padding, dilation, ceil_mode)
        outs = tuple(axis.out for axis in axes)
        return Explanation((LayerWindows("", "window", sizes, outs, _windows(axes, False)),))
    if stride is not None or padding != 0 or dilation != 1 or ceil_mode:
        raise TypeError("explain: stride, padding, dilation and ceil_mode go with a window's size, not with a module")
    shape: Any = input_shape
    steps = trace("explain", layer, shape, dtype)
    return Explanation(tuple(_of_step(step, call) for step in steps for call in step.calls if _has_windows(call)))


def _has_windows(call: OpCall) -> bool:
    return call.axes is not None or "spans" in call.settings


def _of_step(step: Step, call: OpCall) -> LayerWindows:
    given = call.inputs[0]
    assert given is not None
    rank = len(call.output) - 2
    if call.axes is not None:
        axes = _windows(call.axes, call.name.startswith("conv_transpose"))
    else:
        spans = call.settings["spans"]
        axes = tuple(
            AxisWindows(
                name, span.size, told, tuple(tuple(range(*w)) for w in zip(span.starts, span.stops, strict=True))
            )
            for name, span, told in zip(_NAMES[rank], spans, formulas.of_call(call), strict=True)
        )
    return LayerWindows(step.path, step.kind, given[2:], call.output[2:], axes)


def _windows(axes: tuple[Axis, ...], is_transposed: bool) -> tuple[AxisWindows, ...]:
    told = formulas.transposed_size if is_transposed else formulas.output_size
    return tuple(
        AxisWindows(
            name,
            axis.size,
            told(axis),
            tuple(map(tuple, cells_of(axis).tolist())),
            (axis.before, axis.after),
            is_transposed,
        )
        for name, axis in zip(_NAMES[len(axes)], axes, strict=True)
    )
