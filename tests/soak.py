"""`python -m tests.soak --minutes 60`: work for long; memory stays flat, and every run gives the same bits.

Each round trains, evaluates, saves, loads, looks at and checks the gradients of a model; the rounds are all alike.
"""

import argparse
import os
import resource
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

import minigrad as mg
from minigrad import nn, training

PAGE = resource.getpagesize()
WARM_UP = 5  # rounds until caches are full
ALLOWED = 8 << 20  # bytes that a process may grow by: what allocators keep now and then, and no leak in an hour


def one_round(folder: Path) -> str:
    """Everything once; the fingerprint of what came out."""
    images = np.random.default_rng(0).random((96, 1, 28, 28), np.float32)
    labels = np.arange(96) % 10
    with mg.random.seeded(1):
        model = nn.Sequential(
            nn.Conv2d(1, 8, 5), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(8, 16, 3, padding=1), nn.ReLU(), nn.GlobalAvgPool2d(), nn.Flatten(),
            nn.Dropout(0.1), nn.Linear(16, 10),
        )  # fmt: skip
        batches = mg.data.Batches((images, labels), 32, augment=mg.data.Augment(shift=1))
        path = folder / "checkpoint.safetensors"
        training.fit(model, batches, epochs=2, validation=(images, labels), checkpoint=path, progress=False)
    mg.save(model.state_dict(), folder / "model.safetensors")
    model.load_state_dict(mg.load(folder / "model.safetensors"))
    mg.summary(model, (1, 28, 28))
    with mg.profile():
        training.predict(model, images)
    checked = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2)).double()
    mg.gradcheck(checked, mg.tensor(np.linspace(-1, 1, 6).reshape(2, 3), requires_grad=True))
    try:
        model(images[:, :, :3])
    except ValueError:
        path.unlink()
        return training.fingerprint(model)
    raise AssertionError("an image that is too small was taken")


def resident() -> int:
    """Bytes of memory that are in use now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE


def handles() -> int:
    """How many files are open."""
    return len(os.listdir("/proc/self/fd"))


def main(arguments: list[str] | None = None) -> int:
    """Rounds until the time is over; 1 if memory or open files grew, or bits changed."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=60.0)
    options = parser.parse_args(arguments)
    begun, rounds, told = time.monotonic(), 0, 0
    fingerprints, memory = set[str](), list[int]()
    with tempfile.TemporaryDirectory() as folder:
        while rounds < 2 * WARM_UP or time.monotonic() - begun < 60 * options.minutes:
            fingerprints.add(one_round(Path(folder)))
            rounds += 1
            if rounds == WARM_UP:
                files = handles()
            if rounds >= WARM_UP:
                memory.append(resident())
            if time.monotonic() - begun >= 60 * told:
                told += 1
                print(f"{told - 1} min: {rounds} rounds, {resident() / 2**20:.1f} MiB, {handles()} files", flush=True)
    half = len(memory) // 2
    growth = max(memory[half:]) - max(memory[:half])
    print(f"{rounds} rounds, {len(fingerprints)} fingerprint, grown by {growth / 2**20:.1f} MiB in the second half")
    is_well = len(fingerprints) == 1 and growth <= ALLOWED and handles() <= files
    print("steady" if is_well else "NOT steady")
    return 0 if is_well else 1


if __name__ == "__main__":
    sys.exit(main())
