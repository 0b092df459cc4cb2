"""No sum is left to NumPy's BLAS: its results depend on its threads, which fight with ours for the cores."""

import os
import subprocess
import sys

import numpy as np
import pytest

import minigrad as mg
from minigrad import functional as F

STEP = """
import hashlib
import numpy as np
from test_blas import step

digest = hashlib.sha256()
for gradient in step(np.float32):
    digest.update(np.ascontiguousarray(gradient).tobytes())
print(digest.hexdigest())
"""


def step(dtype):
    """A loss of convolutions, matrix products and Einstein sums, and its gradients."""
    rng = np.random.default_rng(20)
    shapes = (40, 3, 12, 12), (20, 3, 3, 3), (16, 20, 3, 3), (90, 576), (90, 70), (70, 50), (50, 60), (60,)
    xs = [mg.tensor(rng.standard_normal(s).astype(dtype) * 0.1, requires_grad=True) for s in shapes]
    images, first, second, weight, a, b, c, bias = xs
    features = F.max_pool2d(F.relu(F.conv2d(F.relu(F.conv2d(images, first, padding=1)), second, padding=1)), 2)
    hidden = F.linear(features.reshape(40, 576), weight)
    y = mg.einsum("ni,ij,jk,kl->nl", hidden, a, b, c)
    y = mg.matmul(y + bias, mg.einsum("ij,jk,kl->li", a, b, c))
    loss = (y * y).mean() + mg.einsum("ij,ij->", hidden, hidden)
    return [loss.detach().numpy(), *(g.numpy() for g in mg.grad(loss, xs))]


def fingerprint(threads):
    here = os.path.dirname(__file__)
    names = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")
    env = dict(os.environ, PYTHONPATH=here) | dict.fromkeys(names, str(threads))
    result = subprocess.run([sys.executable, "-c", STEP], env=env, capture_output=True, text=True, check=True)
    return result.stdout


def test_a_step_has_the_same_bits_at_one_and_two_threads_of_blas():
    one, two = fingerprint(1), fingerprint(2)
    assert one == two
    assert len(one.strip()) == 64


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_step_calls_no_product_of_numpy(dtype, monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError("a product of NumPy was called")

    for name in ("matmul", "dot", "vdot", "inner", "tensordot"):
        monkeypatch.setattr(np, name, refuse)
    plain = np.einsum

    def of_one(equation, *operands, **settings):
        assert len(operands) == 1
        return plain(equation, *operands, **settings)

    monkeypatch.setattr(np, "einsum", of_one)
    assert all(np.isfinite(a).all() for a in step(dtype))
