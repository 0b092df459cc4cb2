"""The wheel: built, installed in an environment of its own, and run from outside the checkout."""

import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

USE = """
import numpy as np
import minigrad as mg
x = mg.tensor(np.arange(16.0).reshape(1, 1, 4, 4), requires_grad=True)
mg.functional.max_pool2d(x, 2).backward(np.ones((1, 1, 2, 2)))
assert x.grad.tolist()[0][0][3] == [0.0, 1.0, 0.0, 1.0]
print(mg.__file__)
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    source = tmp_path_factory.mktemp("source")
    for name in ("minigrad", "kernels", "pyproject.toml", "README.md", "LICENSE"):
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, source / name)
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
    out = tmp_path_factory.mktemp("wheel")
    subprocess.run([*pip, "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", out, source], check=True)
    return next(out.glob("*.whl"))


def test_the_wheel_holds_minigrad_and_nothing_else_at_its_top_level(wheel):
    names = {Path(name).parts[0] for name in zipfile.ZipFile(wheel).namelist()}
    assert {name for name in names if not name.endswith(".dist-info")} == {"minigrad"}
    files = set(zipfile.ZipFile(wheel).namelist())
    sources = {p.relative_to(ROOT).as_posix() for p in ROOT.glob("minigrad/**/*.py")}
    kernels = {f"minigrad/kernels/{p.name}" for p in ROOT.glob("kernels/*.py")}
    assert sources | kernels | {"minigrad/py.typed"} <= files


def test_the_installed_wheel_trains_from_outside_the_checkout(wheel, tmp_path):
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "env"], check=True)
    python = tmp_path / "env" / ("Scripts" if sys.platform == "win32" else "bin") / "python"
    paths = subprocess.run(
        [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"],
        capture_output=True,
        text=True,
        check=True,
    )
    site = Path(paths.stdout.strip())
    zipfile.ZipFile(wheel).extractall(site)
    # What minigrad needs is taken from here; a folder named in a .pth file does not bring its own .pth files along, so
    # the checkout that is installed there stays out.
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib"))
    result = subprocess.run([python, "-I", "-c", USE], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert Path(result.stdout.strip()).is_relative_to(site)


def test_an_uninstalled_checkout_says_how_to_install_it(tmp_path):
    shutil.copytree(ROOT / "minigrad", tmp_path / "minigrad")
    command = [sys.executable, "-S", "-c", "import minigrad"]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert result.returncode != 0
    assert "python -m pip install -e ." in result.stderr
    assert "pip install minigrad" not in result.stderr
