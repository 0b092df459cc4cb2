"""What became of each epoch."""

import csv
import io
import json
import os
from typing import Self, TypeAlias

from minigrad.files import path_of, write_whole

Row: TypeAlias = dict[str, float]


class History(list[Row]):
    """A row for each epoch: `epoch`, `samples`, `loss`, metrics, `lr`, `seconds`, and `validation_...` of each.

    Units: loss as the loss function gives it (nats per sample for cross-entropy); seconds of training alone.
    """

    def column(self, name: str) -> list[float]:
        """One quantity by epoch; KeyError, with the names there are, for one that no row has."""
        if self and name not in self[-1]:
            raise KeyError(f"History: need one of {', '.join(self[-1])}, got {name!r}")
        return [row[name] for row in self]

    def to_json(self, path: str | os.PathLike[str]) -> None:
        """Write a list of objects, a row each."""
        write_whole(path_of("History.to_json", path), (json.dumps(self, indent=2) + "\n").encode())

    def to_csv(self, path: str | os.PathLike[str]) -> None:
        """Write a table with a line of names; what a row does not have is left empty."""
        names = dict.fromkeys(name for row in self for name in row)
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, list(names), lineterminator="\n")
        writer.writeheader()
        writer.writerows(self)
        write_whole(path_of("History.to_csv", path), text.getvalue().encode())

    @classmethod
    def from_json(cls, path: str | os.PathLike[str]) -> Self:
        """The history in a file that `to_json` wrote; ValueError, naming the file, for any other."""
        path = path_of("History.from_json", path)
        try:
            rows = json.loads(path.read_bytes())
            if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
                raise ValueError("no list of rows")
        except ValueError as error:
            raise ValueError(f"History.from_json: {path}: {error}") from None
        return cls(rows)
