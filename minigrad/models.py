"""Classifiers of small images, each made by a function of the images' shape and the number of classes."""

from collections.abc import Callable
from dataclasses import dataclass

from minigrad import nn

__all__ = ["MODELS", "Recipe", "cnn", "lenet5", "lenet5bn", "mlp"]


@dataclass(frozen=True)
class Recipe:
    """How to make a model, and with what settings it was found to learn well (chosen on validation images)."""

    make: Callable[[int, int, int, int], nn.Sequential]
    smallest: int = 28  # pixels each way; smaller images are enlarged
    batch_size: int = 64
    # Labels spread over all classes by so much: to be never quite sure errs less on new images, but is learnt more
    # slowly. Source: C. Szegedy and others, "Rethinking the Inception architecture for computer vision", 2016.
    label_smoothing: float = 0.0


def mlp(channels: int, height: int, width: int, classes: int) -> nn.Sequential:
    """Two dense layers: every pixel is connected to every hidden unit, and its neighbours mean nothing."""
    return nn.Sequential(nn.Flatten(), nn.Linear(channels * height * width, 128), nn.ReLU(), nn.Linear(128, classes))


def lenet5(channels: int, height: int, width: int, classes: int) -> nn.Sequential:
    """Two convolutions with pooling, then dense layers; with ReLU and max pooling, as it is used today.

    Source: Y. LeCun and others, "Gradient-based learning applied to document recognition", 1998.
    """
    features = 16 * ((height // 2 - 4) // 2) * ((width // 2 - 4) // 2)
    return nn.Sequential(
        *(nn.Conv2d(channels, 6, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2)),  # 28 x 28 -> 14 x 14
        *(nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2)),  # -> 10 x 10 -> 5 x 5
        nn.Flatten(),
        *(nn.Linear(features, 120), nn.ReLU()),
        *(nn.Linear(120, 84), nn.ReLU()),
        nn.Linear(84, classes),
    )


def lenet5bn(channels: int, height: int, width: int, classes: int) -> nn.Sequential:
    """LeNet-5 with batch normalisation: layers whose inputs keep their mean and spread learn in fewer epochs.

    Normalised is what pooling left over, a quarter of what ReLU gave. Source: S. Ioffe and C. Szegedy, "Batch
    normalization: accelerating deep network training by reducing internal covariate shift", 2015.
    """
    features = 16 * ((height // 2 - 4) // 2) * ((width // 2 - 4) // 2)
    return nn.Sequential(
        *(nn.Conv2d(channels, 6, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2), nn.BatchNorm2d(6)),
        *(nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2), nn.BatchNorm2d(16)),
        nn.Flatten(),
        *(nn.Linear(features, 120), nn.ReLU()),
        *(nn.Linear(120, 84), nn.ReLU()),
        nn.Linear(84, classes),
    )


def cnn(channels: int, height: int, width: int, classes: int) -> nn.Sequential:
    """Convolutions all the way: the last one votes for a class at every place, and the votes are averaged.

    No layer depends on the size of the image. What pooling left over is normalised, as in `lenet5bn`. Source: M. Lin,
    Q. Chen and S. Yan, "Network in network", 2014.
    """
    return nn.Sequential(
        *(nn.Conv2d(channels, 32, 3, padding=1), nn.ReLU()),
        *(nn.Conv2d(32, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.BatchNorm2d(32)),
        *(nn.Conv2d(32, 64, 3, padding=1), nn.ReLU()),
        *(nn.Conv2d(64, 64, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.BatchNorm2d(64)),
        *(nn.Conv1x1(64, classes), nn.GlobalAvgPool2d(), nn.Flatten()),
    )


MODELS = {
    "lenet5bn": Recipe(lenet5bn, batch_size=128, label_smoothing=0.1),
    "lenet5": Recipe(lenet5),
    "cnn": Recipe(cnn, smallest=4),
    "mlp": Recipe(mlp),
}
"""The models that `minigrad train` offers, by name."""
