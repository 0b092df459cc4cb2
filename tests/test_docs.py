"""The documentation keeps its word: its programs print what it shows, and the reference leaves no module out."""

import doctest
import re
import runpy
from pathlib import Path
from types import ModuleType

import pytest

import minigrad as mg

DOCS = Path(__file__).resolve().parent.parent / "docs"


@pytest.mark.parametrize(("page", "examples"), [("index.md", 5), ("from_pytorch.md", 70)])
def test_the_programs_print_what_the_page_shows(page, examples):
    result = doctest.testfile(str(DOCS / page), module_relative=False, optionflags=doctest.ELLIPSIS)
    assert result.attempted >= examples
    assert result.failed == 0


def public_modules(module):
    """A module and those that it exports, or imports on first use."""
    yield module.__name__
    names = (*module.__all__, *getattr(module, "_NEED_AN_EXTRA", ()))
    for value in (getattr(module, name) for name in names):
        if isinstance(value, ModuleType):
            yield from public_modules(value)


def test_the_reference_has_every_public_module():
    assert sorted(runpy.run_path(str(DOCS / "conf.py"))["public_modules"]) == sorted(public_modules(mg))


def test_the_table_of_lines_names_what_exists():
    rows = re.findall(r"^\| .* \| (.*) \|$", (DOCS / "from_pytorch.md").read_text(), re.M)
    names = re.findall(r"\b(mg|F|nn)((?:\.\w+)+)", " ".join(rows))
    assert len(names) > 15
    for module, path in names:
        value = {"mg": mg, "F": mg.functional, "nn": mg.nn}[module]
        for name in path[1:].split("."):
            value = getattr(value, name)
