"""What a check found: the verdict, every wrong element, and what they have in common."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from minigrad.extras import require

_SHOWN = 5  # elements in a table


def subscript(name: str, index: tuple[int, ...]) -> str:
    """An element as one writes it."""
    return f"{name}[{', '.join(map(str, index))}]" if index else name


class Element(NamedTuple):
    """One element of a Jacobian: d output[output_index] / d input[input_index]."""

    output: str
    output_index: tuple[int, ...]
    input: str
    input_index: tuple[int, ...]
    analytic: float
    numerical: float
    noise: float  # what the numerical value may be off by

    @property
    def relative_error(self) -> float:
        """|analytic - numerical| / |numerical|."""
        difference = abs(self.analytic - self.numerical)
        return difference / abs(self.numerical) if self.numerical else float("inf") if difference else 0.0

    def cells(self) -> tuple[str, ...]:
        """A row of a table."""
        return (
            subscript(self.output, self.output_index),
            subscript(self.input, self.input_index),
            f"{self.analytic:.9g}",
            f"{self.numerical:.9g}",
            f"{self.relative_error:.1e}",
            f"{self.noise:.0e}",
        )


class Cause(NamedTuple):
    """What probably went wrong: a kind to test for, and words to read."""

    kind: str
    words: str


@dataclass(repr=False)
class Report:
    """What a gradient check found; true where everything passed.

    `verdict` is "pass", "fail" or "undecided": the last where nothing is known to be wrong, but the differences of some
    elements (`undecided`) are too noisy to tell.
    """

    subject: str
    checked: int  # elements of the Jacobian
    wrong: list[Element] = field(default_factory=list)  # worst first
    undecided: list[Element] = field(default_factory=list)
    causes: list[Cause] = field(default_factory=list)
    kinks: list[tuple[str, tuple[int, ...]]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    shapes: dict[str, tuple[int, ...]] = field(default_factory=dict)  # of the inputs

    @property
    def verdict(self) -> str:
        """One of "pass", "fail", "undecided"."""
        return "fail" if self.wrong or self.causes else "undecided" if self.undecided else "pass"

    def __bool__(self) -> bool:
        return self.verdict == "pass"

    def __repr__(self) -> str:
        lines = [f"{self.subject}: {self._headline()}"]
        lines += [f"  likely cause: {cause.words}" for cause in self.causes]
        shown = self.wrong or self.undecided
        if shown:
            lines += _table(shown)
        lines += [f"  {note}" for note in self.notes]
        if self.kinks:
            places = ", ".join(subscript(*kink) for kink in self.kinks[:_SHOWN])
            more = f" and {len(self.kinks) - _SHOWN} more" if len(self.kinks) > _SHOWN else ""
            lines.append(f"  at a kink, where any value between the one-sided derivatives is right: {places}{more}")
        return "\n".join(lines)

    def _headline(self) -> str:
        if self.wrong:
            many = f"{len(self.wrong):,} of {self.checked:,} elements"
            return f"{many} is wrong" if len(self.wrong) == 1 else f"{many} are wrong, worst first"
        if self.causes:
            return "wrong"
        if self.undecided:
            rest = "no other is known to be wrong" if self.notes else "the others are right"
            return f"{len(self.undecided):,} of {self.checked:,} elements are undecided, {rest}"
        if self.notes:
            return f"no wrong one among {self.checked:,} elements"
        return f"all {self.checked:,} elements are right"

    def error_map(self, name: str) -> np.ndarray:
        """The largest relative error by each element of an input, in its shape; 0 where all is right."""
        if name not in self.shapes:
            raise ValueError(f"error_map: need one of {', '.join(map(repr, self.shapes))}, got {name!r}")
        errors = np.zeros(self.shapes[name])
        for element in self.wrong:
            if element.input == name:
                errors[element.input_index] = np.fmax(errors[element.input_index], element.relative_error)
        return errors

    def plot(self, name: str | None = None) -> Any:
        """Draw the error map of an input (the one with most errors, unless named): a panel per image. The figure.

        Raises: ModuleNotFoundError without matplotlib; ValueError for an unknown or empty input.
        """
        if name is None:
            names = [element.input for element in self.wrong]
            name = max(self.shapes, key=names.count)
        errors = self.error_map(name)
        if not errors.size:
            raise ValueError(f"plot: {name} has no elements")
        plt = require("matplotlib.pyplot", purpose="plot")
        images = np.atleast_2d(errors)
        images = images.reshape(-1, *images.shape[-2:])
        labels = list(np.ndindex(errors.shape[:-2]))
        wide = min(len(images), 8)
        high = -(-len(images) // wide)
        figure, axes = plt.subplots(
            high, wide, squeeze=False, figsize=(1 + 2 * wide, 0.6 + 2 * high), layout="constrained"
        )
        largest = float(np.max(errors, initial=0.0, where=np.isfinite(errors))) or 1.0
        for axis in axes.flat:
            axis.set_axis_off()
        for axis, image, label in zip(axes.flat, images, labels, strict=False):
            axis.set_axis_on()
            drawn = axis.imshow(np.where(np.isfinite(image), image, largest), vmin=0, vmax=largest, cmap="magma_r")
            axis.set_title(subscript(name, label), fontsize=9)
            axis.tick_params(labelsize=7)
        figure.colorbar(drawn, ax=axes, label="relative error")
        return figure


def _table(elements: Sequence[Element]) -> list[str]:
    rows: list[tuple[str, ...]] = [("output", "by input", "gradient", "differences", "rel. error", "noise")]
    rows += [element.cells() for element in elements[:_SHOWN]]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        names = [cell.ljust(width) for cell, width in zip(row[:2], widths[:2], strict=True)]
        numbers = [cell.rjust(width) for cell, width in zip(row[2:], widths[2:], strict=True)]
        lines.append("  " + "  ".join(names + numbers))
    if len(elements) > _SHOWN:
        lines.append(f"  and {len(elements) - _SHOWN:,} more")
    return lines


class GradcheckError(AssertionError):
    """A gradient is wrong; the message names the worst elements and the likely cause, `report` has everything."""

    __module__ = "minigrad"  # where users find it

    def __init__(self, report: Report):
        super().__init__(repr(report))
        self.report = report

    def __reduce__(self) -> tuple[Any, ...]:
        return GradcheckError, (self.report,)
