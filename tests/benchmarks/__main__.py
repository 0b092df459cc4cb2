"""Training steps of minigrad beside PyTorch's, in one process: `python -m tests.benchmarks`.

Both take turns at the same number of threads, with a rest before each turn, because the idle workers of one thread pool
slow the other. Medians, and the ratio of PyTorch's time to ours.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

import minigrad as mg


def lenet5(nn: Any) -> Any:
    """LeNet-5 with ReLU and max pooling; the same words build it in both libraries."""
    return nn.Sequential(
        nn.Conv2d(1, 6, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
        nn.Linear(400, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU(), nn.Linear(84, 10),
    )  # fmt: skip


def cnn(nn: Any) -> Any:
    """Four 3x3 convolutions, a 1x1 convolution to the classes, global average pooling."""
    return nn.Sequential(
        nn.Conv2d(1, 32, 3, padding=1), nn.ReLU(), nn.Conv2d(32, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(32, 64, 3, padding=1), nn.ReLU(), nn.Conv2d(64, 64, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(64, 10, 1), nn.AvgPool2d(7), nn.Flatten(),
    )  # fmt: skip


def step_of(library: Any, build: Callable[[Any], Any], images: Any, labels: Any) -> Callable[[], None]:
    """One training step with Adam, on one batch."""
    model = build(library.nn)
    optimiser = library.optim.Adam(model.parameters())
    loss_of = library.nn.CrossEntropyLoss()

    def step() -> None:
        optimiser.zero_grad()
        loss_of(model(images), labels).backward()
        optimiser.step()

    return step


def alternate(steps: dict[str, Callable[[], None]], turns: int, calls: int) -> dict[str, float]:
    """The median time of a call of each, in seconds, taken in turns."""
    times: dict[str, list[float]] = {name: [] for name in steps}
    for step in steps.values():
        step()
    for _ in range(turns):
        for name, step in steps.items():
            time.sleep(0.02)
            start = time.perf_counter()
            for _ in range(calls):
                step()
            times[name].append((time.perf_counter() - start) / calls)
    return {name: statistics.median(seconds) for name, seconds in times.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--threads", type=int, default=mg.get_num_threads())
    parser.add_argument("--turns", type=int, default=15)
    options = parser.parse_args()
    mg.set_num_threads(options.threads)
    torch.set_num_threads(options.threads)
    rng = np.random.default_rng(0)
    images = rng.standard_normal((options.batch_size, 1, 28, 28), dtype=np.float32)
    labels = rng.integers(0, 10, options.batch_size)
    print(f"training step, batch {options.batch_size}, Adam, {options.threads} threads")
    print("| model | minigrad ms | PyTorch ms | ratio |\n|---|---|---|---|")
    for build, calls in ((lenet5, 10), (cnn, 2)):
        steps = {
            "minigrad": step_of(mg, build, mg.tensor(images), labels),
            "torch": step_of(torch, build, torch.from_numpy(images), torch.from_numpy(labels)),
        }
        found = alternate(steps, options.turns, calls)
        ours, theirs = found["minigrad"] * 1e3, found["torch"] * 1e3
        print(f"| {build.__name__} | {ours:.2f} | {theirs:.2f} | {theirs / ours:.2f} |")


if __name__ == "__main__":
    main()
