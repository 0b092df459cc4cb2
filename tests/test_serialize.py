"""Saving and loading: a round trip, files that are damaged, writes that fail half way."""

import os

import numpy as np
import pytest
from hypothesis import given, strategies as st
from hypothesis.extra import numpy as hnp

import minigrad as mg
from minigrad.dtypes import SUPPORTED

ARRAYS = st.sampled_from(sorted(SUPPORTED, key=str)).flatmap(
    lambda dtype: hnp.arrays(dtype, hnp.array_shapes(min_dims=0, min_side=0, max_side=4))
)


@given(st.dictionaries(st.text(max_size=8).filter(lambda name: name != "__metadata__"), ARRAYS, max_size=3))
def test_what_was_saved_is_loaded(tmp_path_factory, arrays):
    path = tmp_path_factory.mktemp("round") / "model.safetensors"
    mg.save({name: mg.tensor(array) for name, array in arrays.items()}, path)
    loaded = mg.load(path)
    assert loaded.keys() == arrays.keys()
    for name, array in arrays.items():
        assert (loaded[name].dtype, loaded[name].shape) == (array.dtype, array.shape)
        np.testing.assert_array_equal(loaded[name], array)


def test_tensors_arrays_and_any_layout_can_be_saved(tmp_path):
    base = np.arange(12.0).reshape(3, 4)
    given = {"t": base.T, "step": base[::2, ::-1], "big": base.astype(">f4"), "w": mg.tensor(base, requires_grad=True)}
    mg.save(given, str(tmp_path / "x.safetensors"), metadata={"epoch": "3"})
    loaded = mg.load(str(tmp_path / "x.safetensors"))
    for name, value in given.items():
        np.testing.assert_array_equal(loaded[name], np.asarray(getattr(value, "data", value)))
    loaded["t"][0, 0] = 5.0  # memory of its own
    assert not loaded["w"].requires_grad


def test_others_can_read_the_file(tmp_path):
    numpy_reader = pytest.importorskip("safetensors.numpy")
    mg.save({"a": np.ones(3)}, tmp_path / "x")
    np.testing.assert_array_equal(numpy_reader.load_file(tmp_path / "x")["a"], np.ones(3))


@pytest.mark.parametrize("keep", [0, 1, 7, 8, 40, -1])
def test_a_truncated_file_is_a_clear_error(tmp_path, keep):
    path = tmp_path / "x.safetensors"
    mg.save({"a": np.ones(30)}, path)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(ValueError, match=r"load: .*x\.safetensors is not a whole safetensors file"):
        mg.load(path)


@pytest.mark.parametrize(
    "content", [b"PK\x03\x04 no safetensors", b"\x80\x04.", b"\xff" * 100, b"\x02" + b"\0" * 7 + b"{}x"]
)
def test_a_file_of_another_kind_is_a_clear_error(tmp_path, content):
    path = tmp_path / "x.npz"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"x\.npz is not a whole safetensors file"):
        mg.load(path)


def test_a_file_that_is_not_there_is_not_found(tmp_path):
    with pytest.raises(FileNotFoundError):
        mg.load(tmp_path / "nowhere")


def test_a_directory_that_is_not_there_is_not_found(tmp_path):
    with pytest.raises(FileNotFoundError):
        mg.save({"a": np.ones(3)}, tmp_path / "nowhere" / "x")


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        ({"a": [1.0]}, "need tensors or arrays by name, got list as 'a'"),
        ({3: np.ones(2)}, "got ndarray as 3"),
        ({"a": np.ones(2, np.float16)}, "float16"),
        ({"a": np.ones(2, complex)}, "complex128"),
    ],
)
def test_what_cannot_be_saved_is_a_type_error_and_leaves_no_file(tmp_path, tensors, message):
    with pytest.raises(TypeError, match=message):
        mg.save(tensors, tmp_path / "x")
    assert not os.listdir(tmp_path)


def test_dtypes_that_minigrad_does_not_have_are_named_with_the_tensors_that_have_them(tmp_path):
    writer = pytest.importorskip("safetensors.numpy")
    writer.save_file({"a": np.ones(2, np.float16), "b": np.ones(2), "c": np.ones(2, np.float16)}, tmp_path / "x")
    with pytest.raises(TypeError, match=r"load: .*x: need booleans, integers, F32 or F64, got a \(F16\), c \(F16\)"):
        mg.load(tmp_path / "x")
