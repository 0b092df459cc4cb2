"""The kernels' compiler, cache and launcher, each in processes of their own on a small package of kernels."""

import hashlib
import importlib.metadata
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

KERNELS = Path(__file__).parents[1] / "kernels"

HELPER = """
from .jit import kernel

@kernel
def twelve():
    return 12

@kernel
def beyond(x, i):
    return x[i + 1000]
"""

CASES = """
import numpy as np
from .helper import beyond, twelve
from .jit import kernel
from .threads import Launcher

@kernel
def plus(x):
    return x + twelve()

@kernel
def inverse(x):
    return 1 / x

@kernel
def largest(x):
    best = x[0]
    for value in x:
        best = value if value > best or np.isnan(value) else best
    return best

@kernel(reassociate=True)
def is_nan_sum(x):
    total = 0.0
    for value in x:
        total += value
    return np.isnan(total)

def scaling(factor):
    @kernel
    def scale(x):
        return factor * x
    return scale

double, triple = scaling(2), scaling(3)

def calling(function):
    @kernel
    def call(x):
        return function(x)
    return call

@kernel
def read_beyond(x):
    return beyond(x, 0)

@kernel
def dots_range(start, stop, part, x, y, scratch):
    for i in range(start, stop):
        scratch[part] = 0
        for j in range(x.shape[1]):
            scratch[part] += x[i, j] * x[i, j] - x[i, 0]
        y[i] = scratch[part]

dots = Launcher(dots_range)
"""

PROBE = """
import gc, json
import numpy as np
from cases import cases, jit
from cases.jit import cache_folder

def raised(function, *args):
    try:
        function(*args)
    except (IndexError, ZeroDivisionError) as error:
        return type(error).__name__

x = np.arange(77.0, dtype=np.float32).reshape(11, 7)
broken = np.array([1, np.nan, 2])
y = np.empty(11, np.float32)
answers = dict(
    plus=cases.plus(0),
    collects=gc.isenabled(),
    plus_float=cases.plus(0.5),
    inverse=raised(cases.inverse, 0),
    scaled=[cases.double(1), cases.triple(1)],
    nan=[bool(np.isnan(cases.largest(broken))), bool(cases.is_nan_sum(broken))],
    overrun=raised(cases.read_beyond, np.zeros(1001)[:1]),
    overrun_in_part=raised(cases.dots, 2, 11, x, y, np.zeros(2, np.float32)[:1]),
)
kernels = [k for k in vars(cases).values() if hasattr(k, "stats")]
count = lambda which: sum(sum(getattr(k.stats, which).values()) for k in kernels)
print(json.dumps(dict(answers, hits=count("cache_hits"), misses=count("cache_misses"), folder=str(cache_folder()))))
"""

ANSWERS = {
    "plus": 12,
    "collects": True,
    "plus_float": 12.5,
    "inverse": None,
    "scaled": [2, 3],
    "nan": [True, True],
    "overrun": None,
    "overrun_in_part": None,
}


def start(folder: Path, code: str, **environment: str) -> subprocess.Popen[str]:
    """A process that runs `code` beside the package; its bytecode files would hide an edit within the same second."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("NUMBA_", "MINIGRAD_", "XDG_"))}
    environment = kept | {"PYTHONDONTWRITEBYTECODE": "1", "PYTHONPATH": str(folder)} | environment
    command = [sys.executable, "-c", code]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def finish(process: subprocess.Popen[str]) -> Any:
    """The last line that the process printed, read as JSON."""
    try:
        out, errors = process.communicate(timeout=120)
    finally:
        process.kill()
    assert process.returncode == 0, errors
    return json.loads(out.splitlines()[-1])


def run(folder: Path, code: str = PROBE, **environment: str) -> Any:
    return finish(start(folder, code, **environment))


def answers(result: dict[str, Any]) -> dict[str, Any]:
    return {name: result[name] for name in ANSWERS}


def entries(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.nbc"))


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def package(folder: Path) -> Path:
    """`folder`, with a package of kernels in it that nothing has compiled."""
    (folder / "cases").mkdir()
    for name in ("compiler.py", "jit.py", "parallel.py", "simd.py", "threads.py"):
        shutil.copy(KERNELS / name, folder / "cases")
    for name, text in (("__init__.py", ""), ("helper.py", HELPER), ("cases.py", CASES)):
        (folder / "cases" / name).write_text(text)
    return folder


@pytest.fixture
def cold(tmp_path: Path) -> Path:
    return package(tmp_path)


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package after one process has run it; never to be changed."""
    folder = package(tmp_path_factory.mktemp("compiled"))
    result = run(folder)
    assert answers(result) == ANSWERS
    assert result["hits"] == 0
    return folder


@pytest.fixture
def warm(compiled: Path, tmp_path: Path) -> Path:
    """A copy of the compiled package with its cache."""
    return Path(shutil.copytree(compiled, tmp_path, dirs_exist_ok=True))


def test_a_second_process_compiles_nothing(warm: Path) -> None:
    before = entries(warm)
    result = run(warm)
    assert answers(result) == ANSWERS
    assert result["misses"] == 0
    assert result["hits"] >= len(ANSWERS)
    assert entries(warm) == before


def test_an_edit_in_an_imported_helper_is_seen_and_its_old_code_removed(warm: Path) -> None:
    before = entries(warm)
    edit(warm / "cases" / "helper.py", "12", "13")
    assert answers(run(warm)) == ANSWERS | {"plus": 13, "plus_float": 13.5}
    assert len(entries(warm)) == len(before)
    assert not set(entries(warm)) & set(before)


def test_a_changed_compile_option_is_seen(warm: Path) -> None:
    edit(warm / "cases" / "jit.py", '"error_model": "numpy"', '"error_model": "python"')
    assert answers(run(warm)) == ANSWERS | {"inverse": "ZeroDivisionError"}


def test_another_version_of_numba_compiles_anew(warm: Path) -> None:
    assert run(warm, "import numba; numba.__version__ = '99.0'" + PROBE)["hits"] == 0


def test_a_checked_run_raises_from_helpers_and_parts_and_shares_no_code(warm: Path) -> None:
    checked = run(warm, MINIGRAD_SANITIZE="1")
    assert answers(checked) == ANSWERS | {"overrun": "IndexError", "overrun_in_part": "IndexError"}
    assert checked["hits"] == 0


@pytest.mark.slow
def test_an_unchecked_run_loads_no_checked_code(cold: Path) -> None:
    assert run(cold, MINIGRAD_SANITIZE="1")["overrun"] == "IndexError"
    unchecked = run(cold)
    assert unchecked["overrun"] is None
    assert unchecked["hits"] == 0
    assert run(cold, MINIGRAD_SANITIZE="1")["misses"] == 0


@pytest.mark.slow
def test_processes_that_start_at_once_lose_no_entry(cold: Path) -> None:
    racers = [start(cold, PROBE) for _ in range(2)]
    for racer in racers:
        assert answers(finish(racer)) == ANSWERS
    assert run(cold)["misses"] == 0


def test_damaged_entries_are_compiled_again(warm: Path) -> None:
    for number, path in enumerate(entries(warm)):
        whole = path.read_bytes()
        flipped = whole[:-100] + bytes([whole[-100] ^ 1]) + whole[-99:]
        signed = hashlib.sha256(b"garbage").digest() + b"garbage"
        path.write_bytes([b"", b"garbage" * 100, whole[: len(whole) // 2], flipped, signed][number % 5])
    result = run(warm)
    assert answers(result) == ANSWERS
    assert result["hits"] == 0
    assert run(warm)["misses"] == 0


def test_sources_edited_under_a_running_process_leave_no_entry(cold: Path) -> None:
    run(cold, f"import os, cases.cases; os.utime({str(cold / 'cases' / 'helper.py')!r}, (0, 0))" + PROBE)
    assert entries(cold) == []


UNCOVERED = """
import json, numba, warnings
from cases import cases, jit

@jit.kernel
def elsewhere(x):
    return x

@numba.njit
def foreign(x):
    return x

with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    elsewhere(cases.calling(cases.plus)(1))
    cases.calling(foreign)(1)
print(json.dumps([str(warning.message) for warning in caught]))
"""


def test_only_what_the_stamp_covers_is_cached(cold: Path) -> None:
    (warning,) = run(cold, UNCOVERED)
    assert warning.startswith("cases.calling.locals.call is not cached")
    assert {path.name.split("-")[0] for path in entries(cold)} == {"cases.calling.locals.call"}


@pytest.mark.slow
def test_a_kernel_that_closes_over_another_is_cached_and_goes_with_it(cold: Path) -> None:
    probe = """
import json
from cases import cases
calls = [cases.calling(k) for k in (cases.plus, cases.double)]
print(json.dumps([call(1) for call in calls] + [sum(sum(c.stats.cache_hits.values()) for c in calls)]))
"""
    assert run(cold, probe) == [13, 2, 0]
    assert run(cold, probe) == [13, 2, 2]
    edit(cold / "cases" / "cases.py", "return x + twelve()", "return x - twelve()")
    assert run(cold, probe) == [-11, 2, 0]


FOLDER = "import json; from cases.jit import cache_folder; print(json.dumps(str(cache_folder())))"


@pytest.mark.slow
def test_the_cache_moves_on_to_the_next_folder_it_may_write(cold: Path) -> None:
    home, chosen, temporary = (cold / name for name in ("home", "chosen", "temporary"))
    temporary.mkdir()
    environment = {"HOME": str(home), "TMPDIR": str(temporary)}
    assert run(cold, FOLDER, **environment) == str(cold / "cases" / "__pycache__")
    assert Path(run(cold, FOLDER, **environment, NUMBA_CACHE_DIR=str(chosen))).parent == chosen
    # Permissions do not stop root, but a file where a folder should be stops everyone.
    (cold / "cases" / "__pycache__").rmdir()
    (cold / "cases" / "__pycache__").touch()
    assert home in Path(run(cold, FOLDER, **environment)).parents
    shutil.rmtree(home)
    home.touch()
    private = Path(run(cold, FOLDER, **environment))
    assert private.parent == temporary
    private.chmod(0o777)
    assert run(cold, FOLDER, **environment) == "None", "a folder others may write to was trusted"
    assert answers(run(cold, **environment)) == ANSWERS


THREADS = """
import json, multiprocessing, os
from concurrent.futures import ThreadPoolExecutor
import numba
import numpy as np
from cases import cases, threads

x = np.random.default_rng(0).standard_normal((101, 33)).astype(np.float32)

def dots(parts):
    y = np.empty(101, np.float32)
    cases.dots(parts, 101, x, y, np.empty(max(1, parts), np.float32))
    return y.tobytes()

def same(parts):
    return dots(parts) == serial

try:
    numba.get_num_threads()
except ValueError:  # this machine has no such layer
    raise SystemExit(print("null"))
serial = dots(1)
big = 1 << 30
assert all(same(parts) for parts in (2, 3, 7, 101))
assert threads.parts(1000, big) == threads.get_num_threads() == 4
assert threads.parts(3, big) == 3
assert threads.parts(1, big) == threads.parts(0, big) == threads.parts(1000, 1000) == 1
with ThreadPoolExecutor(8) as pool:
    assert all(pool.map(same, [4] * 400))
    threads.set_num_threads(2)
    assert pool.submit(threads.parts, 1000, big).result() == 2
try:
    threads.set_num_threads(5)
except ValueError as error:
    assert "NUMBA_NUM_THREADS" in str(error)
else:
    raise AssertionError("five of four threads")
threads.set_num_threads(4)
forked = []
if hasattr(os, "fork"):
    with multiprocessing.get_context("fork").Pool(2) as pool:
        assert pool.map(same, [4] * 8, chunksize=1) == [True] * 8
        forked = pool.apply(threads.parts, (1000, big))
assert sum(cases.dots.kernel.stats.cache_misses.values()) == 0
print(json.dumps([numba.threading_layer(), forked]))
"""


@pytest.mark.parametrize("layer", ["default", "tbb", "omp", "workqueue"])
def test_launches_agree_in_parts_in_threads_and_in_forked_children(compiled: Path, layer: str) -> None:
    result = run(compiled, THREADS, NUMBA_THREADING_LAYER=layer, NUMBA_NUM_THREADS="4")
    if result is None:
        pytest.skip(f"no {layer} here")
    used, parts_in_a_forked_child = result
    assert layer in ("default", used)
    assert parts_in_a_forked_child == 4 or not hasattr(os, "fork")


LAYER = "import cases.threads, json, numba; numba.get_num_threads(); print(json.dumps(numba.threading_layer()))"


@pytest.mark.skipif(sys.platform not in ("linux", "win32"), reason="tbb has no wheels here")
def test_an_installed_tbb_is_found(cold: Path) -> None:
    try:
        importlib.metadata.distribution("tbb")
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("no tbb here")
    assert run(cold, LAYER) == "tbb"
