"""A batch and its aligned runs agree bit for bit: so processes can share one out and still learn the same weights.

A run starts at a multiple of 8 2^k samples and has no more than these. Each sample's results are those it has in the
whole batch, and the gradient of what all samples share is the pairwise tree over the runs' gradients.
"""

import numpy as np
import pytest
from batch_cases import CASES, LAYER_REASONS, LAYERS, OPS, REASONS, Case

import minigrad as mg
from minigrad import nn
from minigrad.kernels import threads
from minigrad.models import MODELS

BOTH = pytest.mark.parametrize("dtype", [np.float32, np.float64])
RUNS = [(17, 8), (19, 16), (24, 8), (40, 16), (64, 8), (64, 32), (100, 32)]  # how many samples, and in a run


def tree(terms):
    """The sum of a list by a balanced pairwise tree: neighbours first."""
    while len(terms) > 1:
        pairs = [a + b for a, b in zip(terms[::2], terms[1::2], strict=False)]
        terms = pairs + terms[len(pairs) * 2 :]
    return terms[0]


def assert_same_bits(found, wanted, what):
    assert (found.dtype, found.shape) == (wanted.dtype, wanted.shape), what
    if found.tobytes() != wanted.tobytes():
        pytest.fail(
            f"{what}: {np.sum(found != wanted)} of {found.size} differ, by at most {np.max(np.abs(found - wanted))}"
        )


def outputs_of(function, arrays):
    ys = function(*arrays)
    return list(ys) if isinstance(ys, tuple) else [ys]


def results(case, batch, shared, leaves, dys):
    """Outputs, gradients of the batch's arrays, and of what is shared: arrays, and leaves within the function."""
    xs, others = ([mg.tensor(a, requires_grad=a.dtype.kind == "f") for a in group] for group in (batch, shared))
    ys = outputs_of(case.function, [*xs, *others])
    pairs = [(y, dy) for y, dy in zip(ys, dys, strict=True) if y.requires_grad]
    xs, others = [x for x in xs if x.requires_grad], [*others, *leaves]
    found = mg.grad([y for y, _ in pairs], [*xs, *others], [dy for _, dy in pairs]) if pairs else []
    return [[a.detach().numpy() for a in group] for group in (ys, found[: len(xs)], found[len(xs) :])]


def assert_runs_agree(case, count, length, dtype, leaves=(), runs_on=None):
    """Compare a batch with its runs, these computed on `runs_on` threads."""
    batch, shared = case.drawn(count, dtype)
    rng = np.random.default_rng(6)
    ys = outputs_of(case.function, [*batch, *shared])
    dys = [rng.standard_normal(y.shape).astype(y.dtype) for y in ys]
    whole = results(case, batch, shared, leaves, dys)
    if runs_on:
        mg.set_num_threads(runs_on)
    runs = []
    for start in range(0, count, length):
        some = slice(start, start + length)
        rows = [dy if i in case.sums else dy[some] for i, dy in enumerate(dys)]
        runs.append(results(case, [a[some] for a in batch], shared, leaves, rows))
    for kind, found, parts in zip(("output", "dx", "dw"), whole, zip(*runs, strict=True), strict=True):
        for i, array in enumerate(found):
            of_runs = [part[i] for part in parts]
            is_sum = kind == "dw" or (kind == "output" and i in case.sums)
            wanted = tree(of_runs) if is_sum else np.concatenate(of_runs)
            assert_same_bits(array, wanted, f"{kind} {i} of {count} samples in runs of {length}")


@BOTH
@pytest.mark.parametrize("name", list(CASES))
def test_an_op_of_a_batch_is_that_of_its_runs(name, dtype):
    for case in CASES[name]:
        for count, length in RUNS:
            assert_runs_agree(case, count, length, dtype)


@pytest.fixture
def all_threads(monkeypatch):
    """How many there are, each with a share of the least work."""
    monkeypatch.setattr(threads, "LEAST_WORK", 0)
    monkeypatch.setattr(threads, "LEAST_WORK_OF_POOL", 0)
    count = mg.get_num_threads()
    yield count
    mg.set_num_threads(count)


@pytest.mark.parametrize("name", list(CASES))
def test_an_op_of_a_batch_on_all_threads_is_that_of_its_runs_on_one(name, all_threads):
    for case in CASES[name]:
        mg.set_num_threads(all_threads)
        assert_runs_agree(case, 43, 16, np.float32, runs_on=1)


def test_every_op_is_in_the_table_or_has_a_reason():
    ours = {name for name, op in OPS.items() if op.builtin}
    assert ours == CASES.keys() | REASONS.keys()
    assert not CASES.keys() & REASONS.keys()


@BOTH
@pytest.mark.parametrize("name", list(LAYERS))
def test_a_layer_of_a_batch_is_that_of_its_runs(name, dtype):
    make, samples = LAYERS[name]
    layer = make().to(dtype)
    for count, length in RUNS:
        case = Case(layer, samples, low=0.1)
        assert_runs_agree(case, count, length, dtype, list(layer.parameters()))


def test_every_layer_is_in_the_table_or_has_a_reason():
    layers = {name for name in nn.__all__ if isinstance(getattr(nn, name), type)} - {"Parameter"}
    assert layers == LAYERS.keys() | LAYER_REASONS.keys()
    assert not LAYERS.keys() & LAYER_REASONS.keys()


def learns_directly(name, module):
    """Whether a parameter meets the batch as it is: a batch norm's weight does not, where it does not train."""
    return not (isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d)) and name == "weight")


@BOTH
@pytest.mark.parametrize("name", list(MODELS))
def test_a_model_of_a_batch_on_all_threads_is_that_of_its_runs_on_one(name, dtype, all_threads):
    """Batch norm as it is in evaluation."""
    mg.manual_seed(3)
    model = MODELS[name].make(1, 28, 28, 10).to(dtype)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eval()
    leaves = [p for m in model.modules() for n, p in m.named_parameters(recurse=False) if learns_directly(n, m)]
    for count, length in ((25, 8), (40, 16)):
        mg.set_num_threads(all_threads)
        assert_runs_agree(Case(model, ((1, 28, 28),)), count, length, dtype, leaves, runs_on=1)
