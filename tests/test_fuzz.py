"""Whatever a public function is passed, it computes or refuses clearly; `python -m tests.fuzz` tries more."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from fuzz import judge
from fuzz.__main__ import MEMORY
from fuzz.calls import CALLS, FUNCTIONS, LAYERS, Call
from fuzz.judge import Case, cases, outcome
from fuzz.values import GUISES, LAYOUTS
from hypothesis import given, settings

import minigrad as mg
from minigrad import functional as F, nn

ROOT = Path(__file__).resolve().parent.parent
BUILT_OTHERWISE = {  # of parts, or with arrays that another layer gives
    "BCELoss", "BCEWithLogitsLoss", "CrossEntropyLoss", "HuberLoss", "L1Loss", "MSELoss", "MaxUnpool1d", "MaxUnpool2d",
    "Module", "ModuleDict", "ModuleList", "NLLLoss", "Parameter", "Sequential", "init",
}  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def limited_memory():
    """Some ask for layers that just fit into memory, and then fill it."""
    resource = pytest.importorskip("resource")
    limits = resource.getrlimit(resource.RLIMIT_AS)
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + MEMORY, limits[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, limits)


def test_every_function_and_every_layer_is_called():
    assert set(F.__all__) == set(FUNCTIONS)
    assert set(nn.__all__) - BUILT_OTHERWISE == set(LAYERS)


@pytest.mark.parametrize("target", sorted(CALLS))
def test_the_good_call_is_good_and_arrays_in_any_guise_give_the_same(target):
    assert outcome(Case(target)) == ("result", "")
    arrays = [name for name, value in CALLS[target].arguments.items() if judge._is_array(value)]
    for name in arrays[:2]:
        for guise in (*GUISES, *LAYOUTS):
            how, fault = outcome(Case(target, ((name, guise),)))
            assert not fault, f"{target} {name}={guise}: {how}: {fault}"


@settings(max_examples=600)
@given(cases(sorted(set(CALLS) - {"mg.set_num_threads"})))
def test_a_hostile_argument_gives_a_result_or_a_clear_refusal(case):
    how, fault = outcome(case)
    assert not fault, f"{case}: {how}: {fault}"


def planted(monkeypatch, function):
    monkeypatch.setitem(CALLS, "planted", Call(function, {"x": np.ones(3, np.float32)}, ("planted",)))


@pytest.mark.parametrize(
    ("function", "replaced", "fault"),
    [
        (lambda x: {}[1], "nan", "KeyError: 1"),
        (lambda x: np.float32(x.strides[0]), "reversed", "the result is another than that of plain arrays"),
        (lambda x: mg.as_tensor(x) * float(x.strides[0]), "strided", "the result is another than that of plain arrays"),
        (lambda x: [x][tuple(x)], "nan", "TypeError does not name the function"),
        (lambda x: x.fill(0), "negative", "it changed x"),
        (lambda x: (_ for _ in ()).throw(ValueError("planted: no")), "swapped", "ValueError for a good array"),
    ],
)
def test_a_planted_fault_is_found(monkeypatch, function, replaced, fault):
    planted(monkeypatch, function)
    assert fault in outcome(Case("planted", (("x", replaced),)))[1]


def test_a_case_is_a_line_of_text():
    case = Case("F.conv2d", (("input", "strided"), ("stride", "2**63")))
    assert Case.parse(str(case)) == case


DYING = """
import os, signal, sys
from tests.fuzz import __main__ as fuzz, judge
from tests.fuzz.calls import CALLS, Call
CALLS.clear()
CALLS["dies"] = Call(lambda x: os.kill(os.getpid(), signal.SIGSEGV) if repr(x) == "7" else x, {"x": 1}, ("dies",))
sys.exit(fuzz.main())
"""


def test_a_process_that_dies_is_a_fault_with_the_case_that_killed_it(tmp_path):
    script = tmp_path / "dying.py"
    script.write_text(DYING)
    block = [sys.executable, script, "--block", "0", "--cases", "200"]
    done = subprocess.run(block, capture_output=True, cwd=ROOT, env={"PYTHONPATH": str(ROOT)})
    assert done.returncode < 0
    out = tmp_path / "out"
    out.write_bytes(done.stdout)
    outcomes, faults = judge.collected(out, done.returncode)
    assert list(faults.values()) == ["dies x=7"]
    assert outcomes["died"] == 1
