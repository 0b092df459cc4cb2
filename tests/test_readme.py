"""The README keeps its word: its programs print what it shows, its commands and files exist."""

import doctest
import re
from pathlib import Path

import pytest

import minigrad as mg

ROOT = Path(__file__).resolve().parent.parent


def test_the_programs_print_what_the_readme_shows():
    result = doctest.testfile(str(ROOT / "README.md"), module_relative=False, optionflags=doctest.ELLIPSIS)
    assert result.attempted > 10
    assert result.failed == 0


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md"])
def test_documents_name_only_what_exists(name):
    text = (ROOT / name).read_text()
    for path in re.findall(r"`((?:examples|tests|minigrad|kernels)/[\w/.]*)", text):
        assert (ROOT / path.rstrip(".")).exists(), path
    for attribute in re.findall(r"`mg\.(\w+)", text):
        assert hasattr(mg, attribute), attribute
    assert "pip install minigrad" not in text


def test_each_command_makes_its_own_environment():
    commands = re.findall(r"^python3 -m venv .*$", (ROOT / "README.md").read_text(), re.M)
    assert [re.search(r"\.\[(\w+)\]", command)[1] for command in commands] == ["train", "test"]
