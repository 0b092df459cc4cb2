"""What is installed, against what the distribution's metadata ask for."""

import importlib.metadata
import operator
import platform
import re
import sys
from collections.abc import Iterator
from typing import NamedTuple

from minigrad.doctor.finding import Finding

DISTRIBUTION = "minigrad-numba"
_COMPARISONS = {">=": operator.ge, "<": operator.lt, "==": operator.eq, ">": operator.gt, "<=": operator.le}


class Requirement(NamedTuple):
    """A package, the versions that are asked for (`>=0.68,<0.69`), and the extra that needs it."""

    package: str
    versions: str
    extra: str
    marker: str


def requirements() -> list[Requirement]:
    """What the distribution requires; PackageNotFoundError where it is not installed."""
    found = []
    for line in importlib.metadata.requires(DISTRIBUTION) or ():
        asked, _, marker = line.partition(";")
        match = re.fullmatch(r"([\w.-]+)(?:\[[\w,]*\])?\s*(.*)", asked.strip())
        assert match, line
        extra = re.search(r"""extra == ['"](\w+)['"]""", marker)
        found.append(Requirement(match[1], match[2], extra[1] if extra else "", marker.strip()))
    return found


def versions() -> Iterator[Finding]:
    """minigrad, Python and the packages that minigrad cannot do without."""
    system = f"{platform.python_implementation()} on {platform.system()} {platform.machine()}"
    try:
        needed = requirements()
    except importlib.metadata.PackageNotFoundError:
        yield Finding(
            "minigrad", "not installed as a distribution", "wrong", "in the checkout: python -m pip install -e ."
        )
        return
    yield Finding("minigrad", importlib.metadata.version(DISTRIBUTION))
    asked = importlib.metadata.metadata(DISTRIBUTION)["Requires-Python"] or ""
    if meets(platform.python_version(), asked):
        yield Finding("Python", f"{platform.python_version()}, {system}")
    else:
        mend = f"install minigrad in an environment of Python {asked}"
        yield Finding("Python", f"{platform.python_version()}, {system}, needs {asked}", "wrong", mend)
    for requirement in needed:
        if not requirement.extra and is_meant_for_here(requirement):
            yield _judged(requirement)
    yield Finding("llvmlite", importlib.metadata.version("llvmlite"))


def extras() -> Iterator[Finding]:
    """Of each extra whether its packages are there; one that is not is no fault."""
    try:
        needed = [each for each in requirements() if each.extra and each.package != DISTRIBUTION]
    except importlib.metadata.PackageNotFoundError:
        return
    for extra in dict.fromkeys(each.extra for each in needed):
        of_extra = [each for each in needed if each.extra == extra]
        judged = [_judged(each) for each in of_extra]
        absent = [each.package for each, finding in zip(of_extra, judged, strict=True) if finding.verdict != "ok"]
        if absent:
            mend = "if you need it: python -m pip install " + " ".join(f'"{name}"' for name in absent)
            yield Finding(extra, f"without {', '.join(absent)}", "note", mend)
        else:
            yield Finding(extra, ", ".join(f"{finding.name} {finding.value.split()[0]}" for finding in judged))


def _judged(requirement: Requirement) -> Finding:
    package, asked = requirement.package, requirement.versions
    mend = f'python -m pip install "{package}{asked}"'
    try:
        version = importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return Finding(package, "not installed", "wrong", mend)
    if not meets(version, asked):
        return Finding(package, f"{version}, needs {asked}", "wrong", mend)
    return Finding(package, version)


def meets(version: str, asked: str) -> bool:
    """Whether a version is among those asked for, by the numbers of its release."""
    for part in filter(None, asked.replace(" ", "").split(",")):
        match = re.fullmatch(r"([<>=]+)([\d.]+).*", part)
        if match and not _COMPARISONS[match[1]](*_padded(version, match[2])):
            return False
    return True


def _padded(*versions: str) -> list[list[int]]:
    numbers = [list(map(int, re.findall(r"\d+", re.split(r"[^\d.]", version)[0]))) for version in versions]
    longest = max(map(len, numbers))
    return [each + [0] * (longest - len(each)) for each in numbers]


def is_meant_for_here(requirement: Requirement) -> bool:
    """Whether the machine and the system are those that a requirement's marker names."""
    here = {"platform_machine": platform.machine(), "sys_platform": sys.platform}
    named = re.findall(r"""(\w+) == ['"]([^'"]*)['"]""", requirement.marker)
    return all(here.get(name, value) == value for name, value in named)
