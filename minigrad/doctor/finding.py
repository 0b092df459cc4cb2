"""A row of the doctor's table."""

import dataclasses
from typing import Literal, TypeAlias

Verdict: TypeAlias = Literal["ok", "note", "wrong"]


@dataclasses.dataclass(frozen=True)
class Finding:
    """What was looked at, what is there, and where it is not well, the mend."""

    name: str
    value: str
    verdict: Verdict = "ok"
    mend: str = ""
