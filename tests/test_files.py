"""Files appear whole or not at all."""

import errno
import os
import re

import numpy as np
import pytest

import minigrad as mg
from minigrad.data import load, read_idx, write_idx
from minigrad.files import write_whole
from minigrad.training import History


def save(array, path):
    mg.save({"a": array}, path)


@pytest.mark.parametrize("step", ["replace", "fsync"])
@pytest.mark.parametrize(
    ("write", "read"),
    [
        (save, lambda path: mg.load(path)["a"].numpy()),
        (lambda array, path: write_idx(path, array), read_idx),
        (lambda array, path: write_whole(path, array.tobytes()), lambda path: np.frombuffer(path.read_bytes())),
    ],
    ids=["safetensors", "idx", "bytes"],
)
def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch, write, read, step):
    path = tmp_path / "file"
    write(np.arange(3.0), path)

    def fails(*_):
        raise OSError(errno.ENOSPC, "disk full")

    with monkeypatch.context() as patch:
        patch.setattr(os, step, fails)
        with pytest.raises(OSError, match=f"disk full: '{re.escape(str(path))}'"):
            write(np.zeros(9), path)
    assert os.listdir(tmp_path) == ["file"]
    np.testing.assert_array_equal(read(path), [0, 1, 2])


def test_the_content_is_on_the_disk_before_the_name(tmp_path, monkeypatch):
    calls = []
    for name in ("fsync", "replace"):
        real = getattr(os, name)
        monkeypatch.setattr(os, name, lambda *a, name=name, real=real: (calls.append(name), real(*a))[1])
    write_whole(tmp_path / "file", b"x")
    assert calls == ["fsync", "replace", "fsync"]  # the file, its name, the folder that holds the name


@pytest.mark.parametrize("use", [read_idx, mg.load, History.from_json, load, lambda path: mg.save({}, path)])
def test_what_is_no_path_is_refused_and_an_open_file_stays_open(use, tmp_path):
    with open(tmp_path / "somebodys", "wb") as file:
        for path, error in ((file.fileno(), TypeError), (True, TypeError), (None, TypeError), ("", ValueError)):
            with pytest.raises(error, match="need a path, got"):
                use(path)
        with pytest.raises(ValueError, match=r"need a path, got 'a\\x00b'"):
            use("a\0b")
        file.write(b"still")


def test_a_folder_in_place_of_a_file_is_called_one(tmp_path):
    with pytest.raises(IsADirectoryError, match=re.escape(str(tmp_path))):
        mg.load(tmp_path)
