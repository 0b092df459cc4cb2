"""Global average pooling, and what comes with it for nothing: maps that show where a class was seen.

    python examples/lecture/09_class_activation.py

A network that ends in the mean of each feature map and a linear layer has scores

    score[k] = bias[k] + sum over c of weight[k, c] mean of features[c]
             = bias[k] + mean of (sum over c of weight[k, c] features[c]),

since sum and mean can change places. In brackets stands an image: the class activation map, which tells how much each
place speaks for class k (Zhou and others, "Learning deep features for discriminative localization", 2016). And since
any number of pixels has a mean, a network trained on single digits also takes an image with two of them.
"""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from shared import BLUE, ORANGE, framed, image, parser, save, train

import minigrad as mg
from minigrad import nn

PAIR, OTHERS = (3, 7), (6, 9)


def network() -> nn.Sequential:
    """Maps as large as the image all the way to the mean. Shapes: (N, 1, H, W) -> (N, 10)."""
    return nn.Sequential(
        nn.Conv2d(1, 8, 5, padding=2),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.Conv2d(8, 16, 3, padding=1),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.Conv2d(16, 32, 3, padding=2, dilation=2),
        nn.BatchNorm2d(32),
        nn.ReLU(),
        nn.GlobalAvgPool2d(),
        nn.Flatten(),
        nn.Linear(32, 10),
    )


def draw_map(axes: Axes, pixels: np.ndarray, activation: np.ndarray, most: float) -> AxesImage:
    """The map, the brighter the more it speaks for the class (in print too), and the outlines of the digits."""
    axes.contour(pixels, levels=[0.5], colors="white", linewidths=1.2)
    axes.set(xticks=(), yticks=())
    return axes.imshow(activation, cmap="viridis", vmin=-most, vmax=most)


def main(arguments: list[str] | None = None) -> None:
    command_line = parser(__file__, __doc__)
    command_line.add_argument("--epochs", type=int, default=8)
    options = command_line.parse_args(arguments)
    mg.manual_seed(0)
    data, model = mg.data.load("digits"), network()
    digits, test = framed(data.train), framed(data.test)
    train(model, digits, options.epochs)
    pair = np.concatenate([test.images[test.labels == digit][:1] for digit in PAIR], axis=3)
    with mg.no_grad():
        predicted = model(mg.tensor(test.images)).argmax(1).numpy()
        scores = model(mg.tensor(pair)).numpy()[0]
    maps = mg.interpret.class_activation_maps(model, pair)[0]
    means, bias = maps.mean(axis=(1, 2)), model[-1].bias.detach().numpy()
    highest = sorted(np.argsort(scores)[-2:].tolist())
    print(f"single digits: {np.mean(predicted == test.labels):.1%} of the test set recognised")
    print(f"the digits {PAIR} side by side: the two highest scores are those of {highest}")
    print(f"score against mean of the map + bias, largest difference: {np.abs(scores - means - bias).max():.1e}")

    figure = Figure(figsize=(13, 5), layout="constrained")
    axes = figure.subplot_mosaic([["image", *PAIR], ["scores", *OTHERS]])
    image(axes["image"], pair[0, 0], "one image, two digits")
    for k in (*PAIR, *OTHERS):
        drawn = draw_map(axes[k], pair[0, 0], maps[k], np.abs(maps).max())
        axes[k].set_title(f"class {k}: mean {means[k]:.2f}, bias {bias[k]:.2f}".replace("-", "\N{MINUS SIGN}"))
    figure.colorbar(drawn, ax=[axes[k] for k in (*PAIR, *OTHERS)], label="speaks against (-) or for the class (+)")
    axes["scores"].bar(range(10), scores, color=[ORANGE if k in PAIR else BLUE for k in range(10)])
    axes["scores"].set(title="scores: mean of the map + bias", xlabel="class", xticks=range(10))
    save(figure, options.out)


if __name__ == "__main__":
    main()
