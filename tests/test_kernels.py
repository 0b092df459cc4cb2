"""Kernels below the ops: the same bits in any number of parts, nothing unwritten or read too early, layering."""

import ast
import itertools
import sys
from pathlib import Path

import numpy as np
import pytest

import minigrad as mg
from minigrad import functional as F
from minigrad.functional.fused import conv2d_relu, linear_relu
from minigrad.kernels.simd import VECTOR_BYTES
from minigrad.kernels.threads import Launcher
from minigrad.ops import memory

FOLDER = Path(__file__).resolve().parent.parent / "kernels"
OPS = [m for name, m in sys.modules.items() if name.startswith("minigrad.ops.") and name != "minigrad.ops.memory"]


def having(name):
    """The modules of ops that look a name up."""
    return [module for module in OPS if hasattr(module, name)]


def launchers():
    """Every kernel that ops launch, by id: `module.name`; test_optim_kernels.py and test_augment.py have the others."""
    found = {}
    for path in FOLDER.glob("*.py"):
        if path.stem in ("optimizers", "augment"):
            continue
        module = __import__(f"minigrad.kernels.{path.stem}", fromlist=["x"])
        found |= {id(v): f"{path.stem}.{n}" for n, v in vars(module).items() if isinstance(v, Launcher)}
    return found


def run(function, *shapes, dtype):
    """Values and gradients of a function, as one list of arrays."""
    rng = np.random.default_rng(10)
    xs = [mg.tensor(rng.standard_normal(s).astype(dtype), requires_grad=True) for s in shapes]
    y = function(*xs)
    dy = rng.standard_normal(y.shape).astype(dtype)
    plain = mg.grad(y, xs, dy, retain_graph=True)  # by arrays, for which a rule may have kernels of its own
    gradients = mg.grad(y, xs, dy, create_graph=True)
    again = [g for g in gradients if g.requires_grad]
    second = mg.grad(again, xs, [rng.standard_normal(g.shape).astype(dtype) for g in again], allow_unused=True)
    return [a.detach().numpy() for a in (y, *plain, *gradients, *second) if a is not None]


CLASSES = np.random.default_rng(11).integers(0, 3, (37, 4))


def seeded(function, x):
    mg.manual_seed(4)
    return function(x)


def images(like):
    """Images that need no gradient."""
    return np.random.default_rng(12).standard_normal((19, 2, 9, 8)).astype(like.dtype)


MORE_THAN_HALF = VECTOR_BYTES // 8 + 1  # of a vector's float32 values

# Odd sizes, and more samples than several chunks of the batch.
CASES = {
    "conv2d": (lambda *xs: F.conv2d(*xs, stride=(2, 1), padding=1, groups=2), (37, 4, 7, 5), (6, 2, 3, 2), (6,)),
    "conv1d": (lambda *xs: F.conv1d(*xs, padding="same", dilation=2), (37, 3, 9), (5, 3, 4), (5,)),
    "conv_transpose2d": (lambda *xs: F.conv_transpose2d(*xs, stride=2), (37, 3, 4, 3), (3, 2, 3, 2)),
    "conv2d of many filters": (lambda *xs: F.conv2d(*xs, padding=1), (19, 3, 5, 6), (17, 3, 3, 2), (17,)),
    "conv2d by Winograd": (lambda *xs: F.conv2d(*xs, padding=1), (11, 17, 6, 9), (18, 17, 3, 3), (18,)),
    "depthwise conv2d": (lambda *xs: F.conv2d(*xs, groups=5), (19, 5, 6, 4), (5, 1, 3, 3), (5,)),
    "rectified": (lambda *xs: conv2d_relu(*xs, 2, 1, 1, 1, False), (19, 3, 6, 7), (17, 3, 3, 3), (17,)),
    "pooled over images": (lambda *xs: conv2d_relu(*xs, 1, 2, 1, 1, True), (19, 2, 6, 7), (3, 2, 5, 5), (3,)),
    "pooled over channels": (lambda *xs: conv2d_relu(*xs, 1, 0, 1, 1, True), (19, 2, 6, 7), (17, 2, 3, 3), (17,)),
    "pooled by Winograd": (lambda *xs: conv2d_relu(*xs, 1, 1, 1, 1, True), (11, 17, 6, 9), (18, 17, 3, 3), (18,)),
    "pooled, by winners": (
        lambda *xs: conv2d_relu(*xs, 1, 1, 1, 2, True),
        *((19, 2 * MORE_THAN_HALF, 6, 7), (6, MORE_THAN_HALF, 3, 2), (6,)),
    ),
    "pooled, by winners of stride 2": (
        lambda *xs: conv2d_relu(*xs, 2, 1, 1, 1, True),
        *((9, MORE_THAN_HALF, 9, 8), (6, MORE_THAN_HALF, 3, 3), (6,)),
    ),
    "pooled, by winners of an image": (
        lambda *xs: conv2d_relu(images(xs[0]), *xs, 1, 2, 1, 1, True) ** 2,
        *((6, 2, 3, MORE_THAN_HALF), (6,)),
    ),
    "conv1x1": (F.conv1x1, (37, 3, 5, 3), (5, 3), (5,)),
    "conv1x1 of large images": (F.conv1x1, (13, 8, 9, 11), (13, 8), (13,)),
    "conv2d of a stride": (lambda *xs: F.conv2d(*xs, stride=2, padding=1), (13, 5, 19, 21), (17, 5, 3, 3), (17,)),
    "locally_connected2d": (lambda *xs: F.locally_connected2d(*xs, padding=1), (19, 3, 4, 3), (5, 4, 3, 3, 2, 2)),
    "locally_connected1d": (lambda *xs: F.locally_connected1d(*xs, stride=2), (19, 3, 7), (3, 5, 3, 3)),
    "max_pool2d": (lambda x: F.max_pool2d(x, 3, 2, 1, ceil_mode=True) ** 2, (7, 3, 9, 6)),
    "avg_pool2d": (lambda x: F.avg_pool2d(x, 3, 2, 1, ceil_mode=True) ** 2, (7, 3, 9, 6)),
    "adaptive_avg_pool1d": (lambda x: F.adaptive_avg_pool1d(x, 3) ** 2, (7, 3, 8)),
    "max_pool2d 2x2": (lambda x: F.max_pool2d(x, 2) ** 2, (7, 3, 18, 21)),
    "max_pool2d 2x2 of few": (lambda x: F.max_pool2d(x, 2, 3, ceil_mode=True) ** 2, (7, 3, 7, 11)),
    "max_pool1d": (lambda x: F.max_pool1d(x, 2) ** 2, (7, 3, 14)),
    "max_pool1d that begins outside": (lambda x: F.max_pool1d(x, 3, 1, ((2, 0),)) ** 2, (7, 3, 1)),
    "max_pool2d of large windows": (lambda x: F.max_pool2d(x, (17, 16), 1) ** 2, (2, 3, 19, 20)),
    "avg_pool2d 2x2": (lambda x: F.avg_pool2d(x, 2) ** 2, (7, 3, 18, 21)),
    "avg_pool2d 2x2 of narrow rows": (lambda x: F.avg_pool2d(x, 2) ** 2, (37, 16, 6, 6)),
    "avg_pool2d 2x2 of few": (lambda x: F.avg_pool2d(x, (3, 2), ceil_mode=True) ** 2, (7, 3, 7, 13)),
    "global_avg_pool2d": (lambda x: F.global_avg_pool2d(x) ** 2, (7, 3, 9, 6)),
    "gelu": (F.gelu, (9, 31)),
    "erf": (lambda x: mg.OPS["erf"](x), (9, 31)),
    "sigmoid": (F.sigmoid, (9, 31)),
    "silu": (F.silu, (9, 31)),
    "relu": (lambda x: F.relu(x) ** 2, (9, 31)),
    "leaky_relu": (lambda x: F.leaky_relu(x) ** 2, (9, 31)),
    "dropout": (lambda x: seeded(F.dropout, x) ** 2, (9, 31)),
    "dropout2d": (lambda x: seeded(F.dropout2d, x) ** 2, (9, 3, 5, 2)),
    "cross_entropy": (lambda x: F.cross_entropy(x, CLASSES[:, 0]), (37, 11)),
    "smoothed cross_entropy": (lambda x: F.cross_entropy(x, CLASSES[:, 0], label_smoothing=0.1), (37, 11)),
    "cross_entropy of pixels": (lambda x: F.cross_entropy(x, CLASSES, ignore_index=2), (37, 3, 4)),
    "batch_norm": (lambda *xs: F.batch_norm(xs[0], None, None, *xs[1:], training=True), (37, 3, 5, 7), (3,), (3,)),
    "batch_norm of columns": (lambda x: F.batch_norm(x, None, None, training=True), (37, 5)),
    "linear": (F.linear, (37, 5), (3, 5), (3,)),
    "linear of many": (F.linear, (203, 45), (33, 45), (33,)),
    "linear and rectified": (linear_relu, (75, 45), (19, 45), (19,)),
    "matmul": (mg.matmul, (3, 5, 7), (3, 7, 3)),
    "matmul of many terms": (mg.matmul, (2, 9, 300), (300, 19)),
}


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", list(CASES))
def test_any_number_of_parts_gives_the_same_bits(name, dtype, monkeypatch):
    results = []
    for count in (1, 2, 3, 5):
        for module in having("parts"):
            monkeypatch.setattr(module, "parts", lambda n, work, count=count: max(1, min(count, n)))
        results.append(run(*CASES[name], dtype=dtype))
    for other in results[1:]:
        for a, b in zip(results[0], other, strict=True):
            assert np.isfinite(a).all()
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", list(CASES))
def test_outputs_and_scratch_are_written_before_they_are_read_and_wholly(name, dtype, monkeypatch):
    clean = run(*CASES[name], dtype=dtype)
    fenced = []

    def poison(shape, dtype):
        size, margin = int(np.prod(shape)), 64
        wide = memory.allocate((size + 2 * margin,), dtype)
        wide.fill({"f": np.nan, "u": 255, "i": np.iinfo(np.int32).min}[wide.dtype.kind])
        fenced.append((wide[:margin], wide[margin + size :]))
        return wide[margin : margin + size].reshape(shape)

    for module in having("allocate"):
        monkeypatch.setattr(module, "allocate", poison)
    for a, b in zip(run(*CASES[name], dtype=dtype), clean, strict=True):
        np.testing.assert_array_equal(a, b)
    assert fenced
    for margin in itertools.chain(*fenced):  # nothing is written outside
        assert np.isnan(margin).all() if margin.dtype.kind == "f" else (margin == margin[0]).all()
        assert margin.dtype.kind == "f" or margin[0] in (255, np.iinfo(np.int32).min)


def test_the_cases_above_launch_every_kernel(monkeypatch):
    reached = set()
    call = Launcher.__call__
    monkeypatch.setattr(Launcher, "__call__", lambda self, *args: reached.add(id(self)) or call(self, *args))
    for case in CASES.values():
        run(*case, dtype=np.float32)
    missing = {name for key, name in launchers().items() if key not in reached}
    assert not missing


def test_a_result_that_no_memory_holds_is_a_memory_error_and_no_overflow():
    x, w = np.ones((1, 1, 2, 2)), np.ones((4, 1, 2, 2))
    with pytest.raises(MemoryError, match=r"shape \(1, 4, 1073741825, 1073741825\)"):
        F.conv2d(x, w, padding=2**29)


def test_kernels_know_numpy_numba_and_themselves_only():
    allowed = {"numpy", "numba", "llvmlite", *(p.stem for p in FOLDER.glob("*.py"))}
    for path in FOLDER.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom):
                names = [node.module or ""] if node.level == 0 else []
                assert node.level <= 1, path
            else:
                names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            for name in names:
                top = name.split(".")[0]
                assert top in allowed or top in sys.stdlib_module_names, f"{path.name} imports {name}"


def test_no_kernel_allocates():
    """No NumPy function that makes an array is called in a kernel; scratch comes from the op."""
    for path in FOLDER.glob("*.py"):
        for function in ast.walk(ast.parse(path.read_text())):
            if isinstance(function, ast.FunctionDef) and any("kernel" in ast.dump(d) for d in function.decorator_list):
                called = {
                    n.func.attr for n in ast.walk(function) if isinstance(n, ast.Call) and hasattr(n.func, "attr")
                }
                assert called <= NUMBERS, f"{path.name}: {function.name} calls {called}"


NUMBERS = {"type", "isnan", "erf", "exp", "log", "cos", "sin", "uint64", "int64", "int32"}
