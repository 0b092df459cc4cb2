"""LeNet-5 and a small CNN, and the batch they are trained on: the same layers and weights in every library."""

from typing import Any

import numpy as np


def lenet5(nn: Any, size: int = 28) -> Any:
    """LeNet-5 with ReLU and max pooling; the same words build it in minigrad and in PyTorch."""
    return nn.Sequential(
        nn.Conv2d(1, 6, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
        nn.Linear(16 * lenet5_side(size) ** 2, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU(), nn.Linear(84, 10),
    )  # fmt: skip


def cnn(nn: Any, size: int = 28) -> Any:
    """Four 3x3 convolutions, a 1x1 convolution to the classes, global average pooling."""
    return nn.Sequential(
        nn.Conv2d(1, 32, 3, padding=1), nn.ReLU(), nn.Conv2d(32, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(32, 64, 3, padding=1), nn.ReLU(), nn.Conv2d(64, 64, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(64, 10, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
    )  # fmt: skip


MODELS = {"lenet5": lenet5, "cnn": cnn}


def lenet5_side(size: int) -> int:
    """The height and width of LeNet-5's last feature map."""
    return (size // 2 - 4) // 2


def shapes(model: str, size: int = 28) -> list[tuple[int, ...]]:
    """The shapes of a model's parameters, in order: weight and bias of each layer."""
    layers = {
        "lenet5": [(6, 1, 5, 5), (16, 6, 5, 5), (120, 16 * lenet5_side(size) ** 2), (84, 120), (10, 84)],
        "cnn": [(32, 1, 3, 3), (32, 32, 3, 3), (64, 32, 3, 3), (64, 64, 3, 3), (10, 64, 1, 1)],
    }
    return [shape for weight in layers[model] for shape in (weight, weight[:1])]


def weights(model: str, size: int = 28) -> list[np.ndarray]:
    """The parameters to start from: uniform within 1 / sqrt(fan-in), as both libraries draw them."""
    rng, drawn, bound = np.random.default_rng(0), [], 1.0
    for shape in shapes(model, size):
        if len(shape) > 1:
            bound = float(np.prod(shape[1:])) ** -0.5
        drawn.append(rng.uniform(-bound, bound, shape).astype(np.float32))
    return drawn


def batch(samples: int = 64, size: int = 28) -> tuple[np.ndarray, np.ndarray]:
    """Images (N, 1, H, W) in float32 and labels (N,)."""
    rng = np.random.default_rng(1)
    return rng.standard_normal((samples, 1, size, size), np.float32), rng.integers(0, 10, samples)
