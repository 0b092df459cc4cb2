"""`minigrad doctor`"""

import shutil
import textwrap
from collections.abc import Sequence
from typing import Any

from minigrad import doctor
from minigrad.cli.parser import Parser
from minigrad.cli.progress import results
from minigrad.doctor.kernels import listed

DESCRIPTION = """\
Look at this installation and try its kernels; say what is wrong, and how to mend it (exit status 1). Kernels that were
not compiled before are compiled for it: some minutes, once.
"""
WHOLE_WORDS: Any = {"break_long_words": False, "break_on_hyphens": False}


def main(arguments: Sequence[str], prog: str) -> int:
    """Print the table, section by section; 1 if something in it is wrong."""
    parser = Parser(prog=prog, description=DESCRIPTION)
    parser.add_argument("--kernels", action="store_true", help="list every compiled kernel, and how long it took")
    options = parser.parse_args(arguments)
    wrong = sum(_show(title, findings) for title, findings in doctor.sections())
    if options.kernels:
        print("\nkernels", *listed(), sep="\n  ")
    if not wrong:  # or the kernels might not run at all
        wrong = _show("self-test", results(doctor.tests(), "self-test"))
    print(f"\n{wrong} wrong" if wrong else "\nnothing is wrong")
    return 1 if wrong else 0


def _show(title: str, findings: Sequence[doctor.Finding]) -> int:
    """Print a section; how much in it is wrong."""
    width = max((len(finding.name) for finding in findings), default=0)
    print(f"\n{title}")
    indent = " " * (2 + 5 + 2 + width + 2)
    room = max(shutil.get_terminal_size().columns, len(indent) + 30)
    for finding in findings:
        head = f"  {finding.verdict:5}  {finding.name:{width}}  "
        print(textwrap.fill(finding.value, room, initial_indent=head, subsequent_indent=indent, **WHOLE_WORDS))
        if finding.mend:
            print(f"{indent}> {finding.mend}")  # in one line, as commands are copied
    return sum(finding.verdict == "wrong" for finding in findings)
