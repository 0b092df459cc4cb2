"""Running the scripts in `examples/` as a user does."""

import os
import subprocess
import sys
from pathlib import Path

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"


def command(script, *arguments):
    return [sys.executable, str(EXAMPLES / script), *map(str, arguments)]


def run(script, *arguments, folder):
    """What a script prints; it must end well."""
    environment = os.environ | {"NUMBA_NUM_THREADS": "2"}  # on a machine with one core too
    done = subprocess.run(
        command(script, *arguments), cwd=folder, env=environment, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()
