"""The command line as a whole: which command, exit status, help."""

import subprocess
import sys

import pytest

import minigrad as mg
from minigrad import cli


def test_every_command_has_help_that_starts_with_its_name(capsys):
    for name in cli.COMMANDS:
        with pytest.raises(SystemExit) as ended:
            cli.main([name, "--help"])
        assert ended.value.code == 0
        assert f"minigrad {name} [-h]" in capsys.readouterr().out


def test_the_help_lists_the_commands_and_the_version_is_the_packages(capsys):
    for arguments, expected in ((["--help"], list(cli.COMMANDS)), (["--version"], [mg.__version__])):
        with pytest.raises(SystemExit) as ended:
            cli.main(arguments)
        assert ended.value.code == 0
        out = capsys.readouterr().out
        assert all(text in out for text in expected)


@pytest.mark.parametrize(
    "arguments",
    [[], ["cool"], ["--cool"], ["warmup", "--dtype", "int8"], ["warmup", "--all", "--dtype", "x"], ["train", "--cool"]],
)
def test_wrong_arguments_end_with_an_error_and_status_2(arguments, capsys):
    with pytest.raises(SystemExit) as ended:
        cli.main(arguments)
    assert ended.value.code == 2
    assert "error: " in capsys.readouterr().err


def test_ctrl_c_is_status_130_without_a_traceback(monkeypatch, capsys):
    def pressed(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("minigrad.cli.warmup.main", pressed)
    assert cli.main(["warmup"]) == 130
    assert capsys.readouterr().err == ""


def test_a_reader_that_leaves_early_is_no_error():
    script = (
        "import sys, minigrad.cli.warmup as w, minigrad.cli as cli\n"
        "w.main = lambda *_: [print('x' * 1000) for _ in range(1000)] and 0\n"
        "sys.exit(cli.main(['warmup']))"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.read(10)
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(60) == 141
