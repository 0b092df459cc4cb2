"""A convolution is a matrix: sparse, and with few numbers that it uses again and again.

    python examples/lecture/05_matrix.py

Every linear layer is a matrix times the pixels: one row per output, one column per pixel. In a dense layer each entry
is a weight of its own. If an output sees only a 3 x 3 window, its row has nine entries and zeros: a locally connected
layer. If all windows share their nine weights, it is a convolution, and the matrix has nine stripes.

The matrix of any linear layer is its Jacobian, which automatic differentiation computes. Its transpose is what brings
gradients back to the image, and as a layer is called transposed convolution.
"""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from shared import grid, parser, save

import minigrad as mg
from minigrad import functional as F, nn

SIZE, WINDOW = 6, 3
OUT = SIZE - WINDOW + 1


def layers() -> dict[str, nn.Module]:
    """Three layers from 6 x 6 pixels to 4 x 4 outputs, with weights between 0.1 and 1."""
    result = {
        "dense": nn.Sequential(nn.Flatten(), nn.Linear(SIZE**2, OUT**2, bias=False)),
        "locally connected": nn.LocallyConnected2d(1, 1, SIZE, WINDOW, bias=False),
        "convolution": nn.Conv2d(1, 1, WINDOW, bias=False),
    }
    rng = np.random.default_rng(0)
    for layer in result.values():
        for weight in layer.double().parameters():
            with mg.no_grad():
                weight[:] = rng.permutation(np.linspace(0.1, 1, weight.numel())).reshape(weight.shape)
    return result


def matrix(layer: nn.Module, x: mg.Tensor) -> np.ndarray:
    """The layer as a matrix: how much each of its outputs changes with each pixel."""
    return mg.jacobian(layer, x).numpy().reshape(-1, x.numel())


def draw(axes: Axes, values: np.ndarray, title: str) -> None:
    """A matrix with its zeros left white, as a spy plot does."""
    axes.imshow(np.where(values == 0, np.nan, values), cmap="viridis", vmin=0, vmax=1)
    axes.set(title=title, xticks=(), yticks=())


def letters(axes: Axes, values: np.ndarray, weights: np.ndarray, size: int) -> None:
    """Name each entry by the weight it is, from a to i."""
    for (row, column), value in np.ndenumerate(values):
        if value:
            letter = "abcdefghi"[np.flatnonzero(weights.ravel() == value)[0]]
            colour = "white" if value < 0.6 else "black"
            axes.text(column, row, letter, ha="center", va="center_baseline", size=size, color=colour)


def main(arguments: list[str] | None = None) -> None:
    out = parser(__file__, __doc__).parse_args(arguments).out
    rng = np.random.default_rng(1)
    x, dy = mg.tensor(rng.normal(size=(1, 1, SIZE, SIZE))), rng.normal(size=(1, 1, OUT, OUT))
    figure = Figure(figsize=(12, 6.2), layout="constrained")
    axes = figure.subplot_mosaic([["dense", "locally connected"], ["convolution", "filter"]])
    for name, layer in layers().items():
        values = matrix(layer, x)
        difference = np.abs(values @ x.numpy().ravel() - layer(x).detach().numpy().ravel()).max()
        weights, entries = sum(w.numel() for w in layer.parameters()), np.count_nonzero(values)
        print(f"{name:18}{weights:4} weights in{entries:4} entries; matrix @ pixels against layer: {difference:.1e}")
        draw(axes[name], values, f"{name}: {weights} weights, {entries} entries")
        grid(axes[name], *values.shape, step=(OUT, SIZE), color="#bbbbbb")
        axes[name].set(xlabel="36 pixels, row by row", ylabel="16 outputs")
    transposed = F.conv_transpose2d(mg.tensor(dy), layer.weight.detach())
    difference = np.abs(values.T @ dy.ravel() - transposed.numpy().ravel()).max()
    print(f"transposed matrix against transposed convolution: {difference:.1e}")
    weights = layer.weight.detach().numpy()[0, 0]
    draw(axes["filter"], weights, "the convolution's 9 weights")
    letters(axes["filter"], weights, weights, size=14)
    letters(axes["convolution"], values, weights, size=7)
    save(figure, out)


if __name__ == "__main__":
    main()
