"""The soak test notices what it is there for; `python -m tests.soak` runs it for an hour."""

import sys

import pytest
import soak

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks into /proc")


def test_some_rounds_are_steady(capsys):
    assert soak.main(["--minutes", "0"]) == 0
    assert capsys.readouterr().out.endswith("steady\n")


@pytest.mark.parametrize("fault", ["memory", "bits", "files"])
def test_what_grows_or_changes_is_noticed(fault, monkeypatch, capsys, request):
    kept = []

    def one_round(folder):
        if fault == "memory":
            kept.append(bytes(range(256)) * (6 << 14))
        if fault == "files":
            kept.append((folder / "open").open("w"))
            request.addfinalizer(kept[-1].close)
        return str(len(kept)) if fault == "bits" and not kept.append(0) else "same"

    monkeypatch.setattr(soak, "one_round", one_round)
    assert soak.main(["--minutes", "0"]) == 1
    assert capsys.readouterr().out.endswith("NOT steady\n")
