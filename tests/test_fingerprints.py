"""A training run has the same bits at any number of threads, of ours and of the BLAS that NumPy brings along."""

import os
import re
import subprocess
import sys

import pytest

# A line for each model and batch size: the hash of all weights and gradients after each of a few steps. The last batch
# of an epoch is smaller, so that there are steps of two sizes.
TRAIN = """
import hashlib, sys
import numpy as np
import minigrad as mg
from minigrad import functional as F, optim
from minigrad.models import MODELS

assert mg.get_num_threads() == int(sys.argv[1])
rng = np.random.default_rng(8)
images = rng.standard_normal((100, 1, 28, 28)).astype(np.float32)
labels = rng.integers(0, 10, 100)
for name, recipe in MODELS.items():
    for size in (24, 100):
        mg.manual_seed(int(sys.argv[2]))
        model, digest = recipe.make(1, 28, 28, 10), hashlib.sha256()
        optimiser = optim.Adam(model.parameters(), 2e-3)
        for samples in (size, size - 5, size):
            optimiser.zero_grad()
            F.cross_entropy(model(mg.tensor(images[:samples])), labels[:samples]).backward()
            optim.clip_grad_norm_(model.parameters(), 1.0)
            optimiser.step()
            for p in model.parameters():
                digest.update(p.grad.numpy().tobytes() + p.detach().numpy().tobytes())
        print(name, size, digest.hexdigest())
"""


def fingerprints(threads: int, blas_threads: int = 1, seed: int = 1) -> list[str]:
    kept = {k: v for k, v in os.environ.items() if not re.search("_NUM_THREADS$", k)}
    counts = {"NUMBA_NUM_THREADS": str(threads), "OPENBLAS_NUM_THREADS": str(blas_threads)}
    done = subprocess.run(
        [sys.executable, "-c", TRAIN, str(threads), str(seed)],
        env=kept | counts,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.fixture(scope="module")
def alone() -> list[str]:
    """What one thread computes: of every model, two batch sizes each."""
    lines = fingerprints(1)
    assert {"mlp", "lenet5", "cnn"} <= {line.split()[0] for line in lines}
    return lines


@pytest.mark.parametrize(("threads", "blas_threads"), [(2, 1), (2, 2), (3, 1), (8, 1)])
def test_weights_and_gradients_have_the_same_bits_at_any_number_of_threads(threads, blas_threads, alone):
    assert fingerprints(threads, blas_threads) == alone


def test_fingerprints_tell_runs_apart(alone):
    lines = alone + fingerprints(1, seed=2)
    assert len({line.split()[2] for line in lines}) == len(lines)
