"""Files that are damaged, or made to do harm, are refused by name or read rightly."""

import gzip
import json
import re
import tracemalloc

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given, settings, strategies as st

import minigrad as mg
from minigrad import nn, training
from minigrad.classifier import Classifier
from minigrad.data import read_idx, write_idx
from minigrad.training import CheckpointError, History
from minigrad.training.checkpoint import packed, read

EXAMPLES = settings().max_examples
MOST = 64 << 20  # bytes that reading a file of some kilobytes may take
IMAGES, LABELS = np.arange(60, dtype=np.uint8).reshape(3, 4, 5), np.arange(16) % 10
HOSTILE = [
    None, True, -1, 0, 2**31, 2**63, 10**30, 0.5, float("nan"), float("inf"), "", "x", "é" * 500, [],
    [[[]]], [1, 2], {}, {"$tensor": "model.0.weight"}, {"$tensor": "none such"}, {"$tensor": 3}, {"a": 1}, [10**9] * 3,
]  # fmt: skip


def damaged(content):
    """The content with some bytes changed, cut off, repeated or added; never as it was."""
    place, byte = st.integers(0, len(content) - 1), st.binary(min_size=1, max_size=1)
    found = (
        st.tuples(place, byte).map(lambda at: content[: at[0]] + at[1] + content[at[0] + 1 :])
        | place.map(lambda at: content[:at])
        | st.binary(min_size=1, max_size=30).map(lambda more: content + more)
        | st.tuples(place, st.binary(max_size=9)).map(lambda at: content[: at[0]] + at[1] + content[at[0] :])
    )
    return found.filter(lambda changed: changed != content)


def attempt(load, path, allowed):
    """What a reader makes of a file; a refusal names it, and neither takes much memory."""
    tracemalloc.start()
    try:
        return load(path)
    except allowed as error:
        if str(path) not in str(error):
            raise
        return None
    finally:
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert most < MOST


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("hostile")


@settings(max_examples=8 * EXAMPLES)
@given(st.data())
def test_damaged_idx_files_are_refused_or_read_as_they_are(folder, data):
    path = folder / "images"
    write_idx(path, IMAGES)
    content, is_packed = path.read_bytes(), data.draw(st.booleans())
    found = data.draw(damaged(gzip.compress(content, mtime=0) if is_packed else content))
    path.write_bytes(found)
    array = attempt(read_idx, path, ValueError)
    if array is not None and not is_packed:
        assert array.nbytes + 4 + 4 * array.ndim == len(found)


@settings(max_examples=5 * EXAMPLES)
@given(st.data())
def test_damaged_safetensors_are_refused(folder, data):
    path = folder / "model.safetensors"
    mg.save({"a": IMAGES, "b": np.ones((2, 2), np.float32)}, path)
    path.write_bytes(data.draw(damaged(path.read_bytes())))
    found = attempt(mg.load, path, (ValueError, TypeError))
    assert found is None or sum(tensor.data.nbytes for tensor in found.values()) <= path.stat().st_size


CLASSIFIER = {"name": "mlp", "shape": [1, 8, 8], "classes": list("0123456789"), "data": "digits"}


@settings(max_examples=3 * EXAMPLES)
@given(st.sampled_from([*CLASSIFIER, None]), st.sampled_from([*HOSTILE, [1, 10**5, 10**5], "9" * 300_000]))
def test_a_classifier_whose_metadata_claim_anything_is_refused(folder, field, value):
    path = folder / "classifier.safetensors"
    model = Classifier("mlp", (1, 8, 8), tuple("0123456789"), "digits").model
    weights = {name: tensor.numpy() for name, tensor in model.state_dict().items()}
    about = CLASSIFIER | {field: value} if field else value
    path.write_bytes(safetensors.numpy.save(weights, {"minigrad": json.dumps(about)}))
    assert attempt(Classifier.load, path, ValueError) is None or field == "data"


def test_json_that_nests_without_end_is_refused(folder):
    path = folder / "deep.safetensors"
    path.write_bytes(safetensors.numpy.save({"a": IMAGES}, {"minigrad": "[" * 100_000 + "]" * 100_000}))
    assert attempt(Classifier.load, path, ValueError) is None


def fit(path, **about):
    with mg.random.seeded(0):
        model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 10))
    data = np.ones((16, 3), np.float32), LABELS
    training.fit(model, data, epochs=2, batch_size=8, checkpoint=path, progress=False, **about)


def places_in(tree, place=()):
    """Where something stands in a state."""
    yield place
    if isinstance(tree, dict | list):
        for key, value in tree.items() if isinstance(tree, dict) else enumerate(tree):
            yield from places_in(value, (*place, key))


def replaced(tree, place, value):
    if not place:
        return value
    tree = dict(tree) if isinstance(tree, dict) else list(tree)
    tree[place[0]] = replaced(tree[place[0]], place[1:], value)
    return tree


@settings(max_examples=4 * EXAMPLES)
@given(st.data())
def test_a_checkpoint_with_anything_anywhere_is_refused_or_goes_on(folder, data):
    """Signed as a whole one is: what is in it is not to be trusted for that."""
    whole, path = folder / "whole.safetensors", folder / "run.safetensors"
    if not whole.exists():
        fit(whole)
    state = read(whole)
    place = data.draw(st.sampled_from(list(places_in(state))))
    path.write_bytes(packed(replaced(state, place, data.draw(st.sampled_from(HOSTILE)))))
    try:
        fit(path, resume=True)
    except (TypeError, ValueError, FloatingPointError) as error:
        if not (isinstance(error, CheckpointError) or re.match(r"\w+(\.\w+)*: ", str(error))):
            raise


@pytest.mark.parametrize(
    "place", [("sums", "seconds"), ("sums", "samples"), ("epoch",), ("stopped",), ("history", 0, "loss")]
)
def test_a_checkpoint_whose_counts_are_none_is_refused(folder, place):
    whole, path = folder / "counts.safetensors", folder / "other.safetensors"
    if not whole.exists():
        fit(whole)
    path.write_bytes(packed(replaced(read(whole), place, {"a": 1})))
    with pytest.raises(CheckpointError, match="no checkpoint to go on from: it "):
        fit(path, resume=True)


@settings(max_examples=4 * EXAMPLES)
@given(st.data())
def test_damaged_checkpoints_and_histories_are_refused(folder, data):
    whole, broken, table = folder / "sound.safetensors", folder / "broken.safetensors", folder / "history.json"
    if not whole.exists():
        fit(whole)
    broken.write_bytes(data.draw(damaged(whole.read_bytes())))
    with pytest.raises(ValueError, match=r"safetensors|metadata|damaged|state"):
        read(broken)
    History([{"epoch": 1, "loss": 0.5}]).to_json(table)
    table.write_bytes(data.draw(damaged(table.read_bytes())))
    attempt(History.from_json, table, ValueError)
