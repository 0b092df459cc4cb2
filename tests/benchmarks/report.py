"""Tables as Markdown and as JSON: the one place that shows rows."""

import dataclasses
import json
import math
from pathlib import Path
from typing import Any

from .bench import Row


@dataclasses.dataclass
class Table:
    """A section's rows, with what stands above them."""

    name: str
    title: str
    note: str
    rows: list[Row]
    seconds: float = 0.0


@dataclasses.dataclass
class Report:
    """All that one run found."""

    machine: dict[str, Any]
    tables: list[Table] = dataclasses.field(default_factory=list)
    notes: list[str] = dataclasses.field(default_factory=list)

    def markdown(self) -> str:
        machine = ", ".join(f"{name} {value}" for name, value in self.machine.items())
        parts = ["# Benchmarks", f"{machine}.", *map(markdown, self.tables), self.summary()]
        return "\n\n".join(part for part in parts if part) + "\n"

    def summary(self) -> str:
        """How many targets were met, those that were not, and the notes."""
        judged = [(table, row) for table in self.tables for row in table.rows if "met" in row]
        missed = [(table, row) for table, row in judged if not row["met"]]
        lines = [f"- {note}" for note in self.notes]
        if judged:
            lines.append(f"- targets met: {len(judged) - len(missed)} of {len(judged)}")
        lines += [f"  - missed: {table.name}, {subject(row)}: {row['target']}" for table, row in missed]
        return "\n".join(["## Summary", "", *lines]) if lines else ""

    def write(self, folder: Path) -> None:
        """Put benchmarks.md and benchmarks.json into the folder."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "benchmarks.md").write_text(self.markdown())
        (folder / "benchmarks.json").write_text(json.dumps(dataclasses.asdict(self), indent=1) + "\n")


def subject(row: Row) -> str:
    """What a row is about: its words before the first measurement."""
    words = []
    for name, value in row.items():
        if isinstance(value, float):
            break
        words.append(value if isinstance(value, str) else f"{name} {value}")
    return " ".join(words)


def columns(rows: list[Row]) -> list[str]:
    """The names of all columns; one that the first row lacks stands where it first appears, verdicts last."""
    names: list[str] = []
    for row in rows:
        at = 0
        for name in row:
            if name in names:
                at = names.index(name) + 1
            else:
                names.insert(at, name)
                at += 1
    last = [name for name in ("target", "met") if name in names]
    return [name for name in names if name not in last] + last


def markdown(table: Table) -> str:
    """A heading, the note and the rows."""
    head = [f"## {table.title}", *([table.note] if table.note else [])]
    if not table.rows:
        return "\n\n".join([*head, "Nothing was measured."])
    names = columns(table.rows)
    numeric = {name: all(not isinstance(row.get(name), (str, bool)) for row in table.rows) for name in names}
    lines = [
        f"| {' | '.join(names)} |",
        f"|{'|'.join('---:' if numeric[name] else '---' for name in names)}|",
        *(f"| {' | '.join(cell(row.get(name)) for name in names)} |" for row in table.rows),
    ]
    return "\n\n".join([*head, "\n".join(lines)])


def cell(value: Any) -> str:
    """A value as it stands in a table: three significant digits, nothing where nothing was measured."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if not isinstance(value, float):
        return str(value).replace("|", "\\|")
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    return f"{value:.{max(0, 2 - math.floor(math.log10(abs(value))))}f}"
