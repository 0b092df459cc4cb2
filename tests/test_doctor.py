"""`minigrad doctor` finds what is wrong, says how to mend it, and ends with status 1 for it alone."""

import contextlib
import importlib.metadata
import io
import os
import subprocess
import sys
import tempfile
from types import SimpleNamespace

import numpy as np
import pytest
from fences import launchers

import minigrad as mg
from minigrad import cli, doctor
from minigrad.cli.doctor import main
from minigrad.doctor import installed, kernels, machine, selftest
from minigrad.kernels import jit
from minigrad.kernels.threads import Launcher


def findings(title):
    return {finding.name: finding for finding in dict(doctor.sections())[title]}


@pytest.fixture(scope="module")
def sound():
    """What the doctor ends with and prints here, and into how many parts each kernel was cut at most."""
    names, most, call, out = launchers(), {}, Launcher.__call__, io.StringIO()

    def counted(launcher, parts, n, *args):
        name = names[id(launcher)]
        most[name] = max(parts, most.get(name, 0))
        call(launcher, parts, n, *args)

    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(out):
        patch.setattr(Launcher, "__call__", counted)
        status = cli.main(["doctor", "--kernels"])
    return status, out.getvalue(), most


def test_a_sound_installation_is_all_well_and_every_pair_of_kernels_is_tried(sound):
    status, out, _ = sound
    assert status == 0
    assert "wrong" not in out.replace("nothing is wrong", "")
    for name in [*selftest.PAIRS, *selftest.STEPS, "numba", "threading layer", "width", "folder"]:
        assert f"  ok     {name} " in out
    assert " s  " in out.partition("\nkernels\n")[2]  # the list of kernels with their seconds


def test_the_self_test_launches_every_kernel_and_on_several_threads(sound):
    *_, most = sound
    assert set(most) == set(launchers().values())
    if mg.get_num_threads() > 1:
        assert [name for name, parts in most.items() if parts == 1] == ["norm.merge_moments"]  # it never takes more


def only(monkeypatch, *names):
    """Let the self-test try no more than these pairs."""
    monkeypatch.setattr(selftest, "PAIRS", {name: selftest.PAIRS[name] for name in names})
    monkeypatch.setattr(selftest, "STEPS", {})


def plant(monkeypatch, name, wrong):
    rule = mg.OPS[name].rule
    monkeypatch.setattr(mg.OPS[name], "rule", lambda *a, **k: wrong(rule(*a, **k)))


def test_a_wrong_gradient_is_found_and_named(monkeypatch, capsys):
    only(monkeypatch, "relu", "silu")
    plant(monkeypatch, "silu", lambda dx: dx * 1.01)
    assert main([], "minigrad doctor") == 1
    out = capsys.readouterr().out
    assert "ok     relu" in out
    assert "wrong  silu  gradcheck: " in out
    assert "please report it" in out
    assert "\n1 wrong" in out


@pytest.mark.parametrize(
    ("op", "pair"),
    [("linear", "linear"), ("conv2d", "convolution over images"), ("locally_connected2d", "locally connected")],
)
def test_a_gradient_that_is_wrong_by_the_weight_alone_is_found(monkeypatch, op, pair):
    plant(monkeypatch, op, lambda found: (found[0], found[1] * 1.1, *found[2:]))
    finding = dict(doctor.tests())[pair]()
    assert finding.verdict == "wrong"
    assert finding.value.startswith("gradcheck: by weight[")


def test_a_float32_kernel_of_its_own_mind_and_a_thread_of_its_own_bits_are_found(monkeypatch):
    def off(values):
        return values + (np.float32(1e-3) if values.dtype == np.float32 else 0)

    def by_threads(values):
        is_alone = mg.get_num_threads() == 1 or values.dtype == np.float64
        return values * (1 if is_alone else np.float32(1 + 1e-6))

    only(monkeypatch, "silu")
    by_count = f"other bits on {mg.get_num_threads()} threads"
    for wrong, expected in ((off, "in float32 is not that in float64"), (by_threads, by_count)):
        with pytest.MonkeyPatch.context() as patch:
            plant(patch, "silu", wrong)
            (finding,) = [test() for _, test in doctor.tests()]
            assert finding.verdict == "wrong"
            assert expected in finding.value


def test_a_kernel_that_fails_is_a_finding_too(monkeypatch):
    def failing(x):
        raise OSError("no such luck\nand more")

    monkeypatch.setitem(selftest.PAIRS, "failing", (lambda: failing, (2, 3)))
    finding = dict(doctor.tests())["failing"]()
    assert finding.value == "AttributeError: 'function' object has no attribute 'double'"


@pytest.mark.parametrize(
    ("version", "asked", "expected"),
    [
        ("0.68.1", ">=0.68,<0.69", True),
        ("0.69.0", ">=0.68,<0.69", False),
        ("0.68.0rc1", ">=0.68", True),
        ("2.0", ">=2.0.0", True),
        ("2023.2.0", ">=2021.6", True),
        ("1.9", ">=1.10", False),
        ("2.13.0+cpu", ">=2.6", True),
        ("1.0", "", True),
    ],
)
def test_versions_are_compared_by_their_numbers(version, asked, expected):
    assert installed.meets(version, asked) == expected


def test_a_missing_and_an_old_package_are_wrong_with_the_command_that_installs_them(monkeypatch):
    real = importlib.metadata.version

    def version(name):
        if name == "tbb":
            raise importlib.metadata.PackageNotFoundError(name)
        return "0.60.1" if name == "numba" else real(name)

    monkeypatch.setattr(importlib.metadata, "version", version)
    found = findings("versions")
    assert (found["numba"].verdict, found["numba"].value[:13]) == ("wrong", "0.60.1, needs")
    assert found["numba"].mend.startswith('python -m pip install "numba')
    if "tbb" in found:  # where it has wheels
        assert (found["tbb"].verdict, found["tbb"].value) == ("wrong", "not installed")
    monkeypatch.setattr(installed, "DISTRIBUTION", "no-such-distribution")
    assert findings("versions")["minigrad"].verdict == "wrong"
    assert findings("extras") == {}


def test_tbb_is_asked_for_where_it_has_wheels_only(monkeypatch):
    for machine_name, system, is_asked in (
        ("x86_64", "linux", True),
        ("AMD64", "win32", True),
        ("x86_64", "darwin", False),
        ("arm64", "darwin", False),
        ("aarch64", "linux", False),
    ):
        monkeypatch.setattr(installed.platform, "machine", lambda name=machine_name: name)
        monkeypatch.setattr(installed, "sys", SimpleNamespace(platform=system))
        assert ("tbb" in findings("versions")) == is_asked, (machine_name, system)


def test_a_python_that_is_too_old_is_wrong(monkeypatch):
    monkeypatch.setattr(installed.platform, "python_version", lambda: "3.10.14")
    found = findings("versions")["Python"]
    assert (found.verdict, found.value.partition("needs ")[2]) == ("wrong", ">=3.11")
    assert found.mend == "install minigrad in an environment of Python >=3.11"


def test_an_extra_that_is_absent_is_a_note(monkeypatch):
    real = importlib.metadata.version

    def version(name):
        if name == "onnxruntime":
            raise importlib.metadata.PackageNotFoundError(name)
        return real(name)

    monkeypatch.setattr(importlib.metadata, "version", version)
    found = findings("extras")["onnx"]
    assert (found.verdict, found.value) == ("note", "without onnxruntime")
    assert found.mend == 'if you need it: python -m pip install "onnxruntime"'


def test_older_and_damaged_entries_are_counted(tmp_path, monkeypatch):
    for path in list(jit.cache_folder().glob("*.nbc"))[:3]:
        (tmp_path / path.name).write_bytes(path.read_bytes())
    first, second, third = sorted(tmp_path.iterdir())
    second.write_bytes(second.read_bytes()[:-1])
    third.rename(tmp_path / third.name.replace(jit.STAMP, "0" * 16))
    for module in (jit, kernels):
        monkeypatch.setattr(module, "cache_folder", lambda: tmp_path)
    found = findings("kernel cache")
    assert found["kernels"].value.startswith("1 compiled")
    assert found["of older sources"].value.startswith("1, ")
    assert found["damaged"].verdict == "note"
    assert [entry.state for entry in jit.entries()].count("ready") == 1
    first.unlink()
    second.unlink()
    assert findings("kernel cache")["slowest"].mend.endswith("minigrad warmup")
    monkeypatch.setattr(kernels, "cache_folder", lambda: None)
    assert findings("kernel cache")["folder"].verdict == "wrong"


@pytest.fixture
def anew(monkeypatch, tmp_path):
    """A choice of the cache folder anew, by an installation without one beside its sources; and a mere file."""
    file = tmp_path / "file"
    file.touch()
    choose = jit.cache_folder.__wrapped__
    for module in (jit, kernels):
        monkeypatch.setattr(module, "cache_folder", choose)
        monkeypatch.setattr(module, "FOLDER", file / "kernels")
    for name in ("HOME", "XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.setenv(name, str(file))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return file


def test_a_cache_in_another_place_than_it_should_be_is_noted_with_its_reason(anew, monkeypatch, tmp_path):
    found = findings("kernel cache")["folder"]
    assert (found.verdict, found.mend) == ("note", "to keep it: set NUMBA_CACHE_DIR to a lasting folder")
    assert f"{tmp_path}{os.sep}minigrad-" in found.value
    monkeypatch.setattr(jit.core.config, "CACHE_DIR", str(anew))
    found = findings("kernel cache")["folder"]
    assert (found.verdict, f"as NUMBA_CACHE_DIR={anew} cannot" in found.value) == ("note", True)
    monkeypatch.setattr(jit.core.config, "CACHE_DIR", str(tmp_path))
    found = findings("kernel cache")["folder"]
    assert (found.verdict, found.value.partition(", ")[2]) == ("ok", "as NUMBA_CACHE_DIR says")


def test_no_folder_that_can_be_written_to_is_wrong(anew, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(anew))
    (found,) = findings("kernel cache").values()
    assert (found.verdict, found.mend) == ("wrong", "set NUMBA_CACHE_DIR to a folder that you may write to")


def test_an_entry_that_cannot_be_read_is_damaged_and_named(anew, monkeypatch, tmp_path):
    monkeypatch.setattr(jit.core.config, "CACHE_DIR", str(tmp_path))
    (jit.cache_folder() / "relu-0-0.nbc").mkdir()
    found = findings("kernel cache")["damaged"]
    assert (found.verdict, "relu" in found.value) == ("note", True)


def test_long_values_are_wrapped_and_commands_are_not(monkeypatch, capsys):
    command = 'python -m pip install "' + 20 * "package " + '"'
    row = doctor.Finding("name", 30 * "value ", "note", command)
    monkeypatch.setattr(doctor, "sections", lambda: [("title", [row])])
    monkeypatch.setattr(doctor, "tests", list)
    monkeypatch.setenv("COLUMNS", "80")
    assert main([], "minigrad doctor") == 0
    lines = capsys.readouterr().out.splitlines()
    assert f"               > {command}" in lines
    values = [line for line in lines if "value" in line]
    assert max(map(len, values)) <= 80
    assert [line.index("value") for line in values] == [15] * len(values)


def test_more_threads_than_cores_are_a_note(tmp_path, monkeypatch):
    monkeypatch.setattr(machine, "QUOTA", tmp_path / "cpu.max")
    cores = machine.usable_cores()
    (tmp_path / "cpu.max").write_text("max 100000\n")
    assert machine.usable_cores() == cores
    (tmp_path / "cpu.max").write_text("50000 100000\n")
    assert machine.usable_cores() == 0.5
    monkeypatch.setattr(machine.config, "NUMBA_NUM_THREADS", 3)
    assert findings("threads")["threads"].mend.endswith("set NUMBA_NUM_THREADS=1")


PROCESS = """
import sys
from minigrad import cli
from minigrad.doctor import selftest
selftest.PAIRS, selftest.STEPS = {"relu": selftest.PAIRS["relu"]}, {}
sys.exit(cli.main(["doctor"]))
"""


@pytest.mark.parametrize(
    ("setting", "status", "told"),
    [
        ({"NUMBA_THREADING_LAYER": "workqueue"}, 0, "> unset NUMBA_THREADING_LAYER"),
        ({"NUMBA_THREADING_LAYER": "none such"}, 1, "> unset NUMBA_THREADING_LAYER"),
        ({"NUMBA_DISABLE_JIT": "1"}, 1, "> unset NUMBA_DISABLE_JIT"),
    ],
)
def test_settings_that_hurt_are_named_with_their_mend(setting, status, told):
    done = subprocess.run([sys.executable, "-c", PROCESS], capture_output=True, text=True, env=os.environ | setting)
    assert (done.returncode, told in done.stdout) == (status, True), done.stdout + done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("name", ["MINIGRAD_VECTOR_BYTES", "NUMBA_CPU_NAME", "NUMBA_OPT", "NUMBA_BOUNDSCHECK"])
def test_settings_of_the_compiler_are_noted(monkeypatch, name):
    monkeypatch.setenv(name, "1")
    found = findings("vectors")[name]
    assert (found.verdict, found.mend) == ("note", f"unset {name}")


HIDING = """
from importlib.machinery import PathFinder
find = PathFinder.find_distributions
PathFinder.find_distributions = lambda context: [] if context.name == "tbb" else find(context)
"""


@pytest.mark.skipif("tbb" not in findings("versions"), reason="there is no wheel of tbb for this machine")
def test_a_missing_tbb_is_wrong_with_the_command_that_installs_it():
    done = subprocess.run([sys.executable, "-c", HIDING + PROCESS], capture_output=True, text=True)
    assert (done.returncode, done.stderr.count("Traceback")) == (1, 0), done.stdout + done.stderr
    assert "not installed" in done.stdout
    assert '> python -m pip install "tbb>=' in done.stdout
    assert "ok     threading layer  tbb" not in done.stdout or "tbb of the system" in done.stdout
