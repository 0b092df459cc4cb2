"""No kernel reads or writes outside its arrays: every op runs in a child whose arrays lie between unreadable pages."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from fences import launchers
from hypothesis import settings

pytestmark = pytest.mark.skipif(os.name != "posix", reason="needs mprotect")

CHILD = Path(__file__).with_name("fenced_ops.py")
PATIENCE = 48 * settings().max_examples  # in seconds, which is several times what they take


def run(folder: Path, *arguments: str) -> tuple[subprocess.CompletedProcess[str], str]:
    """The child, and what it was doing last."""
    progress = folder / "progress"
    command = [sys.executable, "-W", "error", str(CHILD), arguments[0], str(progress), *arguments[1:]]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)
    return done, progress.read_text() if progress.exists() else ""


# Serially, arrays ending at a fence; in three parts, arrays beginning at one. Either way the other side is marked.
@pytest.mark.slow
@pytest.mark.parametrize("placement", ["end", "start"])
def test_every_op_stays_within_its_arrays_in_every_kernel(placement, tmp_path):
    done, progress = run(tmp_path, placement)
    assert done.returncode == 0, f"exit {done.returncode} after\n{progress}\n{done.stderr}"
    assert set(json.loads(done.stdout)) == set(launchers().values())


@pytest.mark.parametrize(("placement", "mistake"), [("end", "behind"), ("start", "before")])
def test_a_kernel_that_reads_one_vector_too_far_ends_the_child_and_is_named(placement, mistake, tmp_path):
    done, progress = run(tmp_path, placement, mistake)
    assert done.returncode in (-signal.SIGSEGV, -signal.SIGBUS), done.stderr
    assert progress.startswith("planted(float32[21]")
    assert f"{mistake}_range(1, 21, float32[21], float32[21])" in progress


def test_a_kernel_that_writes_on_the_side_without_a_fence_is_found_by_its_marks(tmp_path):
    done, _ = run(tmp_path, "end", "beside")
    assert done.returncode == 1
    assert "planted(float32[21], {}): something was written beside an array of (21,)" in done.stderr
