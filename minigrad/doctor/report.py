"""What the doctor looks at, section by section."""

from collections.abc import Iterator

from minigrad.doctor import installed, kernels, machine
from minigrad.doctor.finding import Finding

SECTIONS = {
    "versions": installed.versions,
    "extras": installed.extras,
    "threads": machine.threads,
    "vectors": machine.vectors,
    "kernel cache": kernels.cache,
}


def sections() -> Iterator[tuple[str, list[Finding]]]:
    """Each section's title and findings, one after the other."""
    for title, look in SECTIONS.items():
        yield title, list(look())
