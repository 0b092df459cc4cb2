"""Backpropagation through convolution and pooling: which cell gets what.

    python examples/lecture/07_backward.py

Three layers that make 2 x 2 outputs y of the same 4 x 4 image x, and the gradient dy of some loss by y. Each cell of x
gets the sum over the outputs that it was part of, times how much it counted there:

- convolution: w, laid over each window and multiplied by its dy; so dx is the full convolution of dy with w, and since
  w[u, v] meets x[i + u, j + v] in output (i, j), dw is the correlation of x with dy
- max pooling: the largest cell of a window gets all of its dy, the others nothing
- average pooling: each cell of a window gets the same share, a quarter of its dy
"""

from collections.abc import Callable

import numpy as np
from matplotlib.figure import Figure, SubFigure
from shared import BLUE, ORANGE, frame, numbers, parser, save

import minigrad as mg
from minigrad import functional as F

X = [[1.0, 0, 2, 1], [0, 3, 1, 0], [2, 1, 0, 2], [1, 0, 1, 4]]
W = [[1.0, 0, -1], [2, 1, 0], [0, -1, 1]]
DY = [[4.0, 8], [0, -4]]


def leaf(values: list[list[float]]) -> mg.Tensor:
    """A matrix as an image with one channel, whose gradient is wanted."""
    return mg.tensor(np.array(values)[None, None], requires_grad=True)


def max_pool(x: mg.Tensor) -> mg.Tensor:
    return F.max_pool2d(x, 2)


def avg_pool(x: mg.Tensor) -> mg.Tensor:
    return F.avg_pool2d(x, 2)


def backward(layer: Callable[..., mg.Tensor], *inputs: mg.Tensor) -> dict[str, np.ndarray]:
    """What the layer makes of its inputs, and the gradient by each of them where DY is that by the output."""
    y = layer(*inputs)
    gradients = mg.grad(y, inputs, np.array(DY)[None, None])
    matrices = {"y": y.detach()} | dict(zip(("dx", "dw"), gradients, strict=False))
    return {name: matrix.numpy()[0, 0] for name, matrix in matrices.items()}


def draw(figure: SubFigure, title: str, matrices: dict[str, np.ndarray], window: int) -> None:
    """A row of matrices with cells of one size; framed are the first window with its output, and one cell in it."""
    figure.suptitle(title, size=12)
    for axes, name in zip(figure.subplots(1, 6), ("x", "w", "y", "dy", "dx", "dw"), strict=True):
        if name not in matrices:
            axes.set_axis_off()
            continue
        numbers(axes, matrices[name], name)
        middle = (len(matrices[name]) - 1) / 2
        axes.set(xlim=(middle - 2.1, middle + 2.1), ylim=(middle + 2.1, middle - 2.1))
        if name in ("x", "y", "dy", "dx"):
            frame(axes, 0, 0, BLUE, size=window if "x" in name else 1, inset=0.04)
        if name in ("x", "dx"):
            frame(axes, 1, 1, ORANGE, inset=0.12)


def main(arguments: list[str] | None = None) -> None:
    out = parser(__file__, __doc__).parse_args(arguments).out
    x, w, dy = leaf(X), leaf(W), mg.tensor(np.array(DY))
    conv = backward(F.conv2d, x, w)
    dx, dw = F.convolve2d(dy, w[0, 0], "full"), F.correlate2d(x[0, 0], dy, "valid")
    print(f"dx of conv2d against convolve2d(dy, w): {np.abs(conv['dx'] - dx.detach().numpy()).max():.1e}")
    print(f"dw of conv2d against correlate2d(x, dy): {np.abs(conv['dw'] - dw.detach().numpy()).max():.1e}")
    for name, layer, inputs in (("conv2d", F.conv2d, (x, w)), ("max_pool2d", max_pool, x), ("avg_pool2d", avg_pool, x)):
        print(f"{name}: {mg.gradcheck(layer, inputs)}")

    # The cell (1, 1) meets w[1 - i, 1 - j] in output (i, j).
    terms = " + ".join(f"{W[1 - i][1 - j]:g}·{DY[i][j]:g}" for i, j in np.ndindex(2, 2))
    terms = f"{terms} = {conv['dx'][1, 1]:g}".replace("-4", "(\N{MINUS SIGN}4)")
    rows = (
        (f"convolution: each window gets w times its dy, the orange cell {terms}", {"w": np.array(W)} | conv, 3),
        ("max pooling: the largest cell of each window gets all of its dy", backward(max_pool, x), 2),
        ("average pooling: each of a window's four cells gets a quarter of its dy", backward(avg_pool, x), 2),
    )
    figure = Figure(figsize=(12, 8), layout="constrained")
    for part, (title, matrices, window) in zip(figure.subfigures(3, 1, hspace=0.04), rows, strict=True):
        draw(part, title, {"x": np.array(X), "dy": np.array(DY)} | matrices, window)
    save(figure, out)


if __name__ == "__main__":
    main()
