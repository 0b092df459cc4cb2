"""Convolution is equivariant to shifts: where the digit moves, its map moves along. Pooling breaks that, in part.

    python examples/lecture/06_equivariance.py

A convolution does the same at every place, so conv(shifted x) = shifted conv(x), exactly. Pooling by two looks at every
second place: a shift by two pixels moves its map by one, but after a shift by one, other pixels meet in a window, and
the map is none that was there before. After two such poolings only every fourth shift is exact. The maximum over the
whole map does not change at all: it is invariant, it knows that something is there but not where.
"""

import numpy as np
from matplotlib.figure import Figure
from shared import image, numbers, parser, save

import minigrad as mg
from minigrad import functional as F

EDGES = mg.tensor([[[[-1.0, 0.0, 1.0], [-2.0, 0.0, 2.0], [-1.0, 0.0, 1.0]]]])
SHIFTS = range(9)
REMARKS = "the same map,\n1 place on", "another map", "the same map,\n2 places on", "the same map,\n1 place on"


def conv(x: mg.Tensor) -> mg.Tensor:
    return F.relu(F.conv2d(x, EDGES, padding=1))


def pooled(x: mg.Tensor) -> mg.Tensor:
    return F.max_pool2d(conv(x), 2)


STAGES = {
    "convolution": conv,
    "convolution, pooling": pooled,
    "the two, twice": lambda x: pooled(pooled(x)),
    "convolution, global pooling": lambda x: F.max_pool2d(conv(x), x.shape[2:]),
}


def moved_digits() -> list[mg.Tensor]:
    """A digit in a wide empty field, moved to the right by each of the shifts."""
    pixels = np.pad(mg.data.load("digits").test.images[:1], ((0, 0), (0, 0), (0, 0), (4, 12)))
    return [mg.tensor(np.roll(pixels, shift, axis=3)) for shift in SHIFTS]


def unlike(moved: np.ndarray, still: np.ndarray) -> float:
    """The largest difference from the other map, moved by whole places to where it fits best; a part of its maximum."""
    return min(np.abs(moved - np.roll(still, k, axis=3)).max() for k in range(still.shape[3])) / np.abs(still).max()


def differences(digits: list[mg.Tensor]) -> np.ndarray:
    """How far each stage is from equivariance at each shift: (stages, shifts)."""
    maps = [[stage(x).numpy() for x in digits] for stage in STAGES.values()]
    return np.array([[unlike(moved, row[0]) for moved in row] for row in maps])


def main(arguments: list[str] | None = None) -> None:
    out = parser(__file__, __doc__).parse_args(arguments).out
    digits = moved_digits()
    found = differences(digits)
    print(f"{'shift':28}" + "".join(f"{shift:6}" for shift in SHIFTS))
    for name, row in zip(STAGES, found, strict=True):
        print(f"{name:28}" + "".join(f"{difference:6.2g}" for difference in row))
    figure = Figure(figsize=(11, 7), layout="constrained")
    above, below = figure.subfigures(2, 1, height_ratios=(1.5, 1))
    rows = above.subplots(3, 3)
    for shift, (row, x) in enumerate(zip(rows, digits, strict=False)):
        for axes, pixels in zip(row, (x, conv(x), pooled(x)), strict=True):
            image(axes, pixels.numpy()[0, 0])
        row[0].set_ylabel(f"shift {shift}")
    for axes, title in zip(rows[0], ("digit", "convolution", "convolution, pooling"), strict=True):
        axes.set_title(title)
    for axes, remark in zip(rows[1:, 1:].flat, REMARKS, strict=True):
        axes.text(0.97, 0.5, remark, transform=axes.transAxes, ha="right", va="center", color="white")
    table = below.subplots()
    numbers(table, found.round(2))
    table.set_xticks(SHIFTS, SHIFTS)
    table.set_yticks(range(len(STAGES)), STAGES)
    table.tick_params(length=0)
    table.set(xlabel="shift (pixels)", aspect="auto", title="largest difference from the unshifted map, moved along")
    save(figure, out)


if __name__ == "__main__":
    main()
