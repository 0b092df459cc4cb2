"""The benchmarks take turns, compare like with like, and show what they found; no peer is needed for that."""

import itertools
import json
import os
import subprocess

import numpy as np
import pytest
from benchmarks import __main__ as program, models, peers, processes, timing, worker
from benchmarks.bench import Bench, compared, judged, mean_ratio, section, sections
from benchmarks.layers import MAIN, OTHER, Layer
from benchmarks.peers import ours
from benchmarks.report import Report, Table, cell, columns, markdown

import minigrad as mg

MAIN_ROW = {"layer": "64,32", "minigrad ms": 1.5, "times torch": 2.0}


@pytest.fixture
def clockwork(monkeypatch):
    """Time that passes only when a test says so; the log has who did what."""
    log, now = [], [0.0]

    def passes(name, *seconds):
        durations = itertools.cycle(seconds)

        def call():
            log.append(name)
            now[0] += next(durations)

        return timing.Task(call)

    monkeypatch.setattr(timing.time, "perf_counter", lambda: now[0])
    monkeypatch.setattr(timing.time, "sleep", lambda seconds: log.append(f"rest {seconds}"))
    return log, passes


def test_calls_take_turns_with_a_rest_before_each_and_each_follows_each_other(clockwork):
    log, passes = clockwork
    timing.Clock(turns=3).medians({"a": passes("a", 0.1), "b": passes("b", 0.2), "c": passes("c", 0.1)})
    turns = log[3 * timing.WARM_UP :]
    assert turns[::2] == [f"rest {timing.REST}"] * 9
    assert turns[1::2] == ["a", "b", "c", "c", "a", "b", "b", "c", "a"]


def test_a_fast_call_is_repeated_after_one_that_is_not_timed(clockwork):
    log, passes = clockwork
    found = timing.Clock(turns=3).medians({"a": passes("a", 0.024)})
    assert log.count("a") == timing.WARM_UP + 3 * (1 + 2)  # two of them fill a turn
    assert found == {"a": pytest.approx(0.024)}


def test_the_median_is_not_moved_by_an_outlier(clockwork):
    _, passes = clockwork
    found = timing.Clock(turns=5).medians({"a": passes("a", 0.1, 0.1, 0.1, 0.1, 50.0, 0.2, 0.1, 0.2)})
    assert found == {"a": pytest.approx(0.2)}


def test_slow_calls_warm_up_for_two_rounds(clockwork):
    log, passes = clockwork
    timing.Clock(turns=3).medians({"a": passes("a", 0.1), "b": passes("b", 2 * timing.PATIENCE)})
    assert (log.count("a"), log.count("b")) == (2 + 3, 2 + 3)
    assert log[:4] == ["a", "b"] * 2


def test_a_call_that_compiles_first_is_not_taken_for_a_slow_one(clockwork):
    log, passes = clockwork
    timing.Clock(turns=3).medians({"a": passes("a", 30.0, *[0.1] * 10)})
    assert log.count("a") == timing.WARM_UP + 3


@pytest.mark.parametrize(("budget", "turns"), [(100.0, 10), (2.7, 5), (0.0, timing.LEAST_TURNS)])
def test_turns_stop_at_the_budget(clockwork, budget, turns):
    log, passes = clockwork
    timing.Clock(turns=10, budget=budget).medians({"a": passes("a", 0.5)})
    assert log.count("a") == timing.WARM_UP + turns


def test_a_turn_is_prepared_before_it_is_timed(clockwork):
    log, passes = clockwork
    clock = timing.Clock(turns=3)
    tasks = {"a": passes("a", 0.1), "b": passes("b", 0.1)}
    found = clock.medians(tasks, lambda name: passes(f"set {name}", 9.0).once())
    assert found == {"a": pytest.approx(0.1), "b": pytest.approx(0.1)}
    assert [name for name in log if not name.startswith("rest")][-4:] == ["set a", "a", "set b", "b"]


@pytest.mark.parametrize(
    "other",
    [np.array([1.0, 2.1]), np.array([1.0, np.nan]), np.array([1.0, 2.0, 3.0]), [np.ones(2), np.ones(2)]],
    ids=["value", "nan", "shape", "number"],
)
def test_calls_with_different_results_are_not_compared(other):
    calls = {"minigrad": lambda: mg.tensor([1.0, 2.0], requires_grad=True), "other": lambda: other}
    tasks = {name: timing.Task(call) for name, call in calls.items()}
    with pytest.raises(timing.Disagreement, match="other"):
        timing.Clock().medians(tasks)
    assert timing.Clock(turns=3, budget=0).medians(tasks, tolerance=None).keys() == calls.keys()


def test_results_that_differ_by_rounding_agree():
    results = {"a": (np.array([1e3, 1.0]), None, True), "b": [mg.tensor([1e3, 1.0001]), np.array(True)]}
    timing.check_agreement({name: timing.arrays(result) for name, result in results.items()}, 1e-6)


class Party:
    """A peer without a process, which offers some work; or none."""

    def __init__(self, name, offers):
        self.name, self.offers, self.prepared = name, offers, []

    def prepare(self, work, *args):
        if work in self.offers:
            self.prepared.append((work, *args))
            return timing.Task(lambda: np.array(args))
        return None

    def forget(self):
        self.prepared.clear()


def test_a_contest_is_among_those_who_offer_the_work_and_leaves_nothing_behind():
    parties = [Party("minigrad", {"product"}), Party("idle", set()), Party("left out", {"product"})]
    bench = Bench(parties, timing.Clock(turns=3, budget=0), 1)
    assert list(bench.contest("product", 2, 3, among=lambda peer: peer.name != "left out")) == ["minigrad"]
    assert not any(party.prepared for party in parties)


@pytest.fixture(scope="module")
def in_its_process():
    one = worker.Worker("ours", {}, 1)
    yield one
    one.close()


def test_a_worker_does_in_its_process_what_it_is_asked(in_its_process):
    a, b = np.ones((2, 3), np.float32), np.ones((3, 4), np.float32)
    task = in_its_process.prepare("matmul", a, b)
    assert task.once() > 0
    np.testing.assert_array_equal(task.result(), [np.full((2, 4), 3.0)])
    assert task.turn(1, 2) > 0
    assert in_its_process.ask(os.getpid) != os.getpid()
    assert in_its_process.prepare("knitting") is None
    assert (in_its_process.name, in_its_process.fused) == ("minigrad", False)


def test_an_error_in_a_worker_comes_back(in_its_process):
    with pytest.raises(ValueError, match="matmul"):
        in_its_process.prepare("matmul", np.ones(2, np.float32), np.ones(3, np.float32)).once()


def test_a_worker_frees_what_it_is_to_forget(in_its_process):
    task = in_its_process.prepare("add")
    in_its_process.forget()
    with pytest.raises(KeyError):
        task.once()


def test_ratios_are_of_the_default_and_of_the_best_setting():
    row = compared({"minigrad": 2e-3, "torch": 8e-3, "torch channels_last": 6e-3, "jax": 1e-3}, "ms")
    assert row["torch channels_last ms"] == pytest.approx(6)
    assert (row["times torch"], row["times best torch"], row["times jax"]) == pytest.approx((4, 3, 0.5))
    assert list(compared({"minigrad": 1.0}, "s")) == ["minigrad s"]


def test_the_mean_of_ratios_is_geometric():
    assert mean_ratio([{"ratio": 0.5}, {"ratio": 2.0}], "ratio") == pytest.approx(1)
    assert mean_ratio([{"ratio": 1.0}, {"ratio": 8.0}, {"ratio": 1.0}], "ratio") == pytest.approx(2)


@pytest.mark.parametrize(
    ("least", "most", "met"), [(2.0, 1.5, True), (2.1, 1.5, False), (2.0, 1.4, False), (2.1, 1.4, False)]
)
def test_a_row_meets_all_of_its_targets_or_does_not(least, most, met):
    row = judged(MAIN_ROW, {"times torch": least}, {"minigrad ms": most})
    assert row["met"] is met
    assert row["target"] == f"times torch at least {least:g}, minigrad ms at most {most:g}"


def test_a_target_of_a_peer_that_is_missing_is_not_judged():
    assert "met" not in judged(MAIN_ROW, {"times best torch": 2.0})


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        *((None, ""), (True, "yes"), (False, "no"), (64, "64"), ("a|b", "a\\|b")),
        *((0.0, "0"), (0.012345, "0.0123"), (9.8765, "9.88"), (98.765, "98.8"), (98765.4, "98765")),
        *((float("inf"), "inf"), (-1.5, "-1.50")),
    ],
)
def test_a_cell_has_three_significant_digits(value, shown):
    assert cell(value) == shown


def test_columns_stand_where_they_first_appear_and_verdicts_last():
    rows = [{"layer": "a", "ms": 1.0, "met": True}, {"layer": "b", "jax ms": 2.0, "target": "x", "met": True}]
    assert columns(rows) == ["layer", "jax ms", "ms", "target", "met"]


def test_a_table_is_markdown():
    table = Table("steps", "Steps", "Of training.", [{"model": "cnn", "ms": 1.234}, {"model": "mlp", "jax ms": 2.0}])
    assert markdown(table).splitlines() == [
        *("## Steps", "", "Of training.", ""),
        "| model | jax ms | ms |",
        "|---|---:|---:|",
        "| cnn |  | 1.23 |",
        "| mlp | 2.00 |  |",
    ]
    assert "Nothing" in markdown(Table("steps", "Steps", "", []))


def test_a_report_is_written_and_counts_what_was_missed(tmp_path):
    report = Report({"processor": "P"}, notes=["torch is not installed"])
    rows = [judged(MAIN_ROW, {"times torch": 1.0}), judged({**MAIN_ROW, "batch": 8}, {"times torch": 3.0})]
    report.tables.append(Table("steps", "Steps", "", rows))
    report.write(tmp_path / "new")
    text = (tmp_path / "new" / "benchmarks.md").read_text()
    assert "- targets met: 1 of 2\n  - missed: steps, 64,32: times torch at least 3" in text
    assert "- torch is not installed" in text
    kept = json.loads((tmp_path / "new" / "benchmarks.json").read_text())
    assert kept["tables"][0]["rows"] == rows
    assert kept["machine"] == {"processor": "P"}


def test_sections_are_explained_and_the_long_ones_left_out_of_a_quick_run():
    found = sections()
    assert all(one.note and one.title for one in found.values())
    assert (list(found)[:2], list(found)[-1]) == (["machine", "steps"], "size_sweep")
    long = {name for name, one in found.items() if not one.quick}
    assert long == {
        *("threads", "layers", "epochs", "record", "startup", "memory", "batch_sweep", "size_sweep"),
        *("distributed", "distributed_model"),
    }


def test_a_section_is_not_registered_twice():
    def steps(bench):
        yield {}

    sections()
    with pytest.raises(ValueError, match="steps"):
        section("Steps")(steps)


@pytest.fixture
def own_environment(monkeypatch):
    for name in "NUMBA_NUM_THREADS OMP_NUM_THREADS OPENBLAS_NUM_THREADS MKL_NUM_THREADS NPROC".split():
        monkeypatch.setenv(name, "1")  # and put back afterwards, whatever was set in between


@pytest.mark.usefixtures("own_environment")
def test_a_wrong_section_is_named_with_the_right_ones(capsys):
    assert program.main(["steps", "stpes"]) == 2
    assert "no section stpes; there are machine, steps," in capsys.readouterr().err


@pytest.mark.usefixtures("own_environment")
def test_a_section_is_run_shown_and_kept(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(program, "installed", lambda *args, **settings: [("ours", {})])
    arguments = ["adam", "--turns", "3", "--threads", str(mg.get_num_threads()), "--out", str(tmp_path)]
    assert program.main(arguments) == 0
    (table,) = json.loads((tmp_path / "benchmarks.json").read_text())["tables"]
    assert [(row["model"], row["parameters"]) for row in table["rows"]] == [("lenet5", 61706), ("cnn", 65642)]
    assert all(row["minigrad us"] > 0 for row in table["rows"])
    assert "| lenet5 | 61706 |" in capsys.readouterr().out


def test_rows_end_with_the_one_under_way(clockwork):
    _, passes = clockwork
    work = passes("row", 2.0)
    rows = ({"row": number} for number in range(10) if work.once())
    assert list(program.before(5.0, rows)) == [{"row": 0}, {"row": 1}, {"row": 2}]


def test_a_quick_run_begins_nothing_when_time_is_over(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(program, "installed", lambda *args, **settings: [])
    monkeypatch.setattr(program, "limit_threads", lambda count: None)
    monkeypatch.setattr(program, "QUICK_END", 0.0)
    assert program.main(["--quick", "--out", str(tmp_path)]) == 0
    assert "- time was over; the rest: python -m tests.benchmarks machine steps" in capsys.readouterr().out


def test_a_peer_that_is_not_installed_is_a_note_with_the_command(monkeypatch):
    monkeypatch.setattr(peers, "is_installed", lambda package: False)
    notes = []
    assert list(peers.installed(notes)) == [("ours", {})]
    assert notes[0] == 'torch is not installed, and so is left out: python -m pip install "torch"'
    assert len(notes) == 2


def test_a_quick_run_is_without_libraries_that_compile_each_piece_of_work(monkeypatch):
    monkeypatch.setattr(peers, "is_installed", lambda package: True)
    assert {module for module, _ in peers.installed([], compiling=False)} == {"ours", "pytorch"}
    assert {module for module, _ in peers.installed([])} == {"ours", "pytorch", "xla"}


def test_a_child_that_fails_says_why():
    with pytest.raises(subprocess.CalledProcessError) as caught:
        processes.run("nonsense", 1)
    assert "invalid choice: 'nonsense'" in caught.value.stderr


def test_layers_have_the_outputs_of_the_convolutions_they_stand_for():
    for layer in [*MAIN, *OTHER]:
        x, w, b, dy = layer._replace(samples=1).operands()
        size = [(n + 2 * layer.padding - layer.window) // layer.stride + 1 for n in x.shape[2:]]
        assert dy.shape == (1, layer.filters, *size)
        assert {a.dtype.name for a in (x, w, b, dy)} == {layer.dtype}
    assert Layer(2, 3, 4, 4, 5, 3, 1, 1).flops == 2 * (2 * 5 * 4 * 4) * (3 * 3 * 3)
    assert len({str(layer) for layer in [*MAIN, *OTHER]}) == len(MAIN) + len(OTHER)


@pytest.mark.parametrize(
    "layer",
    [Layer(2, 3, 5, 6, 4, 3, 1, 1), Layer(2, 4, 5, 5, 6, 1, 1, 0), Layer(2, 4, 7, 7, 4, 3, 2, 1, groups=4)],
    ids=str,
)
def test_single_gradients_are_those_of_the_tape(layer):
    peer = ours.Peer()
    y, dx, dw, _ = timing.arrays(peer.convolution(layer, "forward+backward")())
    single = [timing.arrays(peer.convolution(layer, part)()) for part in ("forward", "dx", "dw")]
    for (found,), wanted in zip(single, (y, dx, dw), strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("model", models.MODELS)
def test_models_take_the_weights_that_are_drawn_for_them(model):
    step = ours.Peer().step(model, *models.batch(8))
    losses = [float(step().detach().item()) for _ in range(8)]
    assert losses[-1] < losses[0] < 3  # nats; log(10) is guessing


@pytest.mark.parametrize("size", [12, 28, 30])
def test_lenet5_fits_images_of_other_sizes(size):
    images, _ = models.batch(2, size)
    assert ours.Peer().model("lenet5", size)(mg.tensor(images)).shape == (2, 10)
