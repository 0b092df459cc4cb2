"""The table of a model: sizes with their formulas, costs, receptive fields."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from minigrad import nn
from minigrad.geometry import formulas
from minigrad.geometry.formulas import Cost
from minigrad.geometry.trace import Step, trace


@dataclass(frozen=True)
class Row:
    """One call of a layer, or of a function in a model's own `forward`. Everything is per sample, without the batch.

    Units: parameters and multiply-adds are counts, memory is in bytes.
    """

    path: str  # of the module, such as `features.0`; of a function, of the module that called it
    kind: str  # the layer's class, or the function's name
    input_shape: tuple[int, ...]
    output_shape: tuple[int, ...]
    formula: str  # of the output size, with its numbers
    parameters: int  # all it uses, those of earlier rows too
    new_parameters: int  # without those of earlier rows
    multiply_adds: int  # of convolutions and linear layers, and of functions that say how much they compute
    memory: int  # of the output; 0 where that is the input's memory
    dtype: str  # of the output
    receptive_field: tuple[int, ...] | None  # cells of the model's input, along each axis; None where there is none
    jump: tuple[int | None, ...] | None  # from an output's cells to its neighbour's; None where that is not even
    sees_all: bool  # each value of the output sees all of the model's input
    dense: Cost | None  # of a convolution, what a layer that connects everything would cost
    locally_connected: Cost | None  # of a convolution, what a layer without shared weights would cost


@dataclass(frozen=True)
class Totals:
    """Sums over a model, per sample. Units as in `Row`."""

    parameters: int  # each once
    trainable: int  # those that require grad
    unused: int  # those that no row used
    multiply_adds: int
    activation_memory: int
    parameter_memory: int


@dataclass(frozen=True, repr=False)
class Summary:
    """What `summary` found: `rows` in the order of execution, and `totals`; printed, a table."""

    model: str
    input_shape: tuple[int, ...]
    dtype: str
    rows: tuple[Row, ...]
    totals: Totals

    def __repr__(self) -> str:
        lines = [_HEADING, *(_cells(row) for row in self.rows)]
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        table = [
            "  ".join(
                cell.rjust(w) if i in _NUMBERS else cell.ljust(w)
                for i, (cell, w) in enumerate(zip(cells, widths, strict=True))
            ).rstrip()
            for cells in lines
        ]
        rule = "-" * max(map(len, table))
        title = f"{self.model} on {formulas.sizes(self.input_shape)}, {self.dtype}, per sample"
        return "\n".join([title, table[0], rule, *table[1:], rule, *self._total_lines()])

    def _total_lines(self) -> list[str]:
        t = self.totals
        frozen = f", {t.parameters - t.trainable:,} of them frozen" if t.trainable < t.parameters else ""
        unused = f", {t.unused:,} of them not used in this pass" if t.unused else ""
        lines = [
            f"parameters: {t.parameters:,} ({_bytes(t.parameter_memory)}){frozen}{unused}",
            f"multiply-adds: {t.multiply_adds:,}",
            f"memory of activations: {_bytes(t.activation_memory)}",
        ]
        found = [row for row in self.rows if row.dense and row.locally_connected and row.new_parameters]
        if found:
            own = sum(row.new_parameters for row in found)
            local = sum(row.locally_connected.parameters for row in found if row.locally_connected)
            dense = sum(row.dense.parameters for row in found if row.dense)
            lines.append(f"parameters of the convolutions: {own:,}; if locally connected {local:,}, if dense {dense:,}")
            lines.append("(beside each: the parameters / multiply-adds of such layers)")
        return lines


_HEADING = [
    "layer", "type", "output", "formula", "parameters", "multiply-adds", "memory", "sees", "jump",
    "if locally connected", "if dense",
]  # fmt: skip
_NUMBERS = {4, 5, 6, 7, 8, 9, 10}


def _cells(row: Row) -> list[str]:
    count = f"{row.new_parameters:,}"
    if row.parameters > row.new_parameters:
        count = f"{count} (shared)" if row.new_parameters else "shared"
    local, dense = (_cost(cost) for cost in (row.locally_connected, row.dense))
    return [
        row.path or "(model)", row.kind, formulas.sizes(row.output_shape), row.formula, count if row.parameters else "",
        f"{row.multiply_adds:,}" if row.multiply_adds else "", _bytes(row.memory) if row.memory else "",
        _field(row), _jump(row.jump), local, dense,
    ]  # fmt: skip


def _field(row: Row) -> str:
    if row.receptive_field is None:
        return ""
    return "whole input" if row.sees_all else formulas.sizes(row.receptive_field)


def _jump(jump: tuple[int | None, ...] | None) -> str:
    known = [str(step) for step in jump or () if step is not None]
    return " x ".join(dict.fromkeys(known)) if jump and len(known) == len(jump) else ""


def _cost(cost: Cost | None) -> str:
    """Parameters / multiply-adds."""
    return f"{_short(cost.parameters)} / {_short(cost.multiply_adds)}" if cost else ""


def _short(number: int) -> str:
    """A count in three digits: 3.69M."""
    value, unit = float(number), ""
    for unit in ("", "k", "M", "G", "T"):
        if value < 999.5 or unit == "T":
            break
        value /= 1000
    return f"{value:.3g}{unit}" if unit else str(number)


def _bytes(number: int) -> str:
    """Bytes, kibibytes or mebibytes."""
    kib = number / 1024
    if kib < 1:
        return f"{number} B"
    return f"{kib:.1f} KiB" if kib < 1000 else f"{kib / 1024:,.1f} MiB"


def summary(model: nn.Module, input_shape: Sequence[int], dtype: Any = None) -> Summary:
    """What happens to a sample on its way through a model, layer by layer, with the formulas and the costs.

    `input_shape` is that of one sample, without the batch: (1, 28, 28). `dtype` is the input's, by default that of the
    parameters; for a model that begins with an embedding give an integer one. The model runs once, in evaluation mode
    and under `no_grad`, on noise (or zeros, for integers), and is afterwards as it was. Every call of a layer has its
    row, and so has every convolution, pooling, linear map and matrix product in a model's own `forward`.

    Receptive fields are counted along the input's axes, (H, W) or (L), or all of an integer input, from the first cell
    seen to the last, through the ops and whichever paths they came by: as r + D (F - 1) j, j S through windows (so that
    they may be larger than the input), and otherwise as the most cells of the input that any value sees. After an op
    that is not known, values are taken to see all that its inputs see; what leaves the ops as an array is lost.
    Multiply-adds are those of convolutions (cells of the padding too), linear maps and matrix products.

    Returns: a `Summary`: printed, the table; `rows` and `totals` have the numbers.
    Raises: TypeError for what is no module or no shape, and whatever the model raises.
    Source: Araujo, Norris and Sim, "Computing receptive fields of convolutional neural networks", 2019.

    >>> mg.summary(nn.Sequential(nn.Conv2d(1, 6, 5, padding=2), nn.MaxPool2d(2)), (1, 28, 28)).rows[0].formula
    '(28 + 2*2 - 5)/1 + 1 = 28'
    """
    steps = trace("summary", model, input_shape, dtype)
    rows, seen = [], set[int]()
    for step in steps:
        rows.append(_row(step, [p for p in step.parameters if id(p) not in seen]))
        seen.update(map(id, step.parameters))
    parameters = list(model.parameters())
    totals = Totals(
        parameters=sum(p.data.size for p in parameters),
        trainable=sum(p.data.size for p in parameters if p.requires_grad),
        unused=sum(p.data.size for p in parameters if id(p) not in seen),
        multiply_adds=sum(row.multiply_adds for row in rows),
        activation_memory=sum(row.memory for row in rows),
        parameter_memory=sum(p.data.nbytes for p in parameters),
    )
    dtypes = dict.fromkeys(row.dtype for row in rows)
    return Summary(type(model).__name__, tuple(input_shape), ", ".join(dtypes), tuple(rows), totals)


def _row(step: Step, new: list[nn.Parameter]) -> Row:
    return Row(
        path=step.path,
        kind=step.kind,
        input_shape=step.inputs[0][1:] if step.inputs else (),
        output_shape=step.output[1:],
        formula=formulas.formula(step),
        parameters=sum(p.data.size for p in step.parameters),
        new_parameters=sum(p.data.size for p in new),
        multiply_adds=sum(call.flops for call in step.calls) // 2 // step.batch,
        memory=step.memory // step.batch,
        dtype=step.dtype,
        receptive_field=step.view.size,
        jump=step.view.jump,
        sees_all=step.view.whole,
        dense=formulas.dense(step),
        locally_connected=formulas.locally_connected(step),
    )
