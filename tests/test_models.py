"""The models that the package brings, and their files."""

import json
import pickle

import numpy as np
import pytest
import safetensors.numpy

import minigrad as mg
from minigrad.classifier import Classifier
from minigrad.cli.train import enlarged
from minigrad.models import MODELS


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("shape", [(1, 8, 8), (1, 28, 28), (3, 2, 40), (2, 33, 30)])
def test_every_model_takes_images_of_every_size(name, shape):
    images = np.random.default_rng(0).random((6, *shape), np.float32)
    data = enlarged(mg.data.arrays(images, np.arange(6) % 2, (images[:2], np.arange(2))), MODELS[name].smallest)
    model = MODELS[name].make(*data.train.images.shape[1:], 2)
    assert model(data.train.images).shape == (6, 2)
    if min(shape[1:]) >= 28:
        assert data.train.images.shape[1:] == shape


@pytest.fixture
def classifier():
    return Classifier("mlp", (1, 5, 4), ("zero", "one", "two"), "bars")


@pytest.mark.parametrize("count", [0, 1, 7])
def test_a_classifier_comes_back_from_its_file_with_all_that_is_needed_to_use_it(classifier, tmp_path, count):
    classifier.save(tmp_path / "c.safetensors")
    other = Classifier.load(tmp_path / "c.safetensors")
    assert (other.name, other.shape, other.classes, other.data) == ("mlp", (1, 5, 4), ("zero", "one", "two"), "bars")
    images = np.random.default_rng(1).random((count, 1, 5, 4), np.float32)
    assert np.array_equal(other.scores(images), classifier.scores(images))
    assert other.scores(images).shape == (count, 3)
    np.testing.assert_allclose(other.probabilities(images).sum(axis=1), 1, rtol=1e-6)
    assert mg.load(tmp_path / "c.safetensors").keys() == classifier.model.state_dict().keys()


def test_images_of_another_size_are_refused(classifier):
    with pytest.raises(ValueError, match=r"need images \(N, 1, 5, 4\), got \(2, 1, 4, 5\)"):
        classifier.scores(np.zeros((2, 1, 4, 5), np.float32))


def test_another_model_is_refused():
    with pytest.raises(ValueError, match="need one of lenet5bn, lenet5, cnn, mlp, got 'vgg'"):
        Classifier("vgg", (1, 5, 4), ("a",), "bars")


def about(**changed):
    return {"minigrad": json.dumps({"name": "mlp", "shape": [1, 5, 4], "classes": ["a"], "data": "x"} | changed)}


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "is not a whole safetensors file"),
        (pickle.dumps([1]), "is not a whole safetensors file"),
        (safetensors.numpy.save({"a": np.ones(3)}), "holds no classifier"),
        (safetensors.numpy.save({"a": np.ones(3)}, about()), "holds no classifier .*missing: 1.weight"),
        (safetensors.numpy.save({"a": np.ones(3)}, about(name="vgg")), "holds no classifier .*'vgg'"),
        (safetensors.numpy.save({"a": np.ones(3)}, about(shape=[5, 4])), "holds no classifier"),
        (safetensors.numpy.save({"a": np.ones(3)}, about(shape=[1, -5, 4])), "holds no classifier"),
        (safetensors.numpy.save({"a": np.ones(3)}, about(classes=[])), "holds no classifier"),
        (safetensors.numpy.save({"a": np.ones(3)}, {"minigrad": "{"}), "holds no classifier"),
    ],
)
def test_other_files_are_refused_by_name(tmp_path, content, reason):
    path = tmp_path / "c.safetensors"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=rf"c\.safetensors {reason}"):
        Classifier.load(path)
    with pytest.raises(FileNotFoundError):
        Classifier.load(tmp_path / "nowhere")
