"""The command line, `minigrad COMMAND` or `python -m minigrad COMMAND`: a module for each command."""

import argparse
import importlib
import os
import sys
from collections.abc import Sequence

COMMANDS = {
    "train": "train a classifier of digits; keep its weights, its history and two pictures",
    "predict": "say which digits image files show",
    "summary": "show a classifier's layers: sizes, parameters, operations, receptive fields",
    "export": "write a trained classifier as ONNX, for other programs",
    "doctor": "look at this installation, try its kernels, say what is wrong and how to mend it",
    "warmup": "compile the kernels of digit classifiers now, so that no training waits for them",
}
EXAMPLES = """\
examples:
  minigrad train --data mnist --model cnn
  minigrad predict photograph.jpg
  minigrad summary runs/mnist-cnn/model.safetensors
  minigrad export runs/mnist-cnn/model.safetensors

`minigrad COMMAND --help` tells more. Exit status: 0; 1 where it could not be done; 2 for wrong arguments; 130 after
Ctrl-C.
"""
INTERRUPTED, BROKEN_PIPE = 130, 141  # 128 + the number of the signal, as shells report it


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; its exit status: 0, 1 where it failed, 2 for wrong arguments, 130 after Ctrl-C."""
    # Called by its path, as `python -m` does, the program is best named as it can be called again.
    prog = "minigrad" if os.path.basename(sys.argv[0]) == "minigrad" else "python -m minigrad"
    parser = argparse.ArgumentParser(
        prog=prog,
        description="Autograd and convolutional networks on NumPy arrays.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=importlib.import_module("minigrad").__version__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, purpose in COMMANDS.items():
        commands.add_parser(name, help=purpose, add_help=False)  # the command's own parser does the rest
    options, rest = parser.parse_known_args(arguments)
    try:
        status: int = importlib.import_module(f"minigrad.cli.{options.command}").main(rest, f"{prog} {options.command}")
        sys.stdout.flush()
    except KeyboardInterrupt:
        return INTERRUPTED
    except MemoryError as error:
        print(f"{prog} {options.command}: error: {error or 'out of memory'}", file=sys.stderr)
        return 1
    except BrokenPipeError:  # whoever read the output has seen enough; nor may the interpreter's last flush complain
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return BROKEN_PIPE
    return status
