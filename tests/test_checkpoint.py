"""A run that is left off at any moment and resumed ends with the same bits; a bad file does nothing but say so."""

import contextlib
import math
import os
import pickle

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given, settings, strategies as st
from test_training import digits, network, quiet, weights

import minigrad as mg
from minigrad import nn, optim, random
from minigrad.training import Callback, CheckpointError, EarlyStopping, fingerprint

DATA, HELD = digits(44), digits(12, seed=1)


class Killed(BaseException):
    """Nothing catches it, and nothing after it runs, as after SIGKILL."""


class KilledAt(Callback):
    def __init__(self, step):
        self.left = step

    def step(self, run):
        self.left -= 1
        if self.left == 0:
            raise Killed


def run(path, seed, resume=False, killed=None, epochs=3, patience=99, every=math.inf, **other):
    """Dropout, batch norm, momentum, a schedule and early stopping: everything that has a state. Its end in bits."""
    model = network(seed)
    optimizer = optim.Adam(model.parameters(), lr=0.01)
    schedule = optim.lr_scheduler.OneCycleLR(optimizer, 0.01, total_steps=100)
    history = quiet(
        model, DATA, epochs=epochs, batch_size=8, optimizer=optimizer, scheduler=schedule, validation=HELD,
        callbacks=[EarlyStopping(patience=patience), *([KilledAt(killed)] if killed else [])],
        checkpoint=path, checkpoint_every=every, resume=resume, **other,
    )  # fmt: skip
    rows = [{name: value for name, value in row.items() if name != "seconds"} for row in history]
    return weights(model), rows, random.get_rng_state()


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return {accumulate: run(tmp_path_factory.mktemp("whole") / "c", 5, accumulate=accumulate) for accumulate in (1, 2)}


@settings(max_examples=8)
@given(
    kills=st.lists(st.integers(1, 12), min_size=1, max_size=3),
    every=st.sampled_from([0.0, math.inf]),
    accumulate=st.sampled_from([1, 2]),
)
def test_a_run_killed_after_any_steps_ends_with_the_same_bits(kills, every, accumulate, whole, tmp_path_factory):
    path = tmp_path_factory.mktemp("kills") / "c.safetensors"
    for number, killed in enumerate(kills):
        # Another process would start with other random numbers; a first one must start with the right ones.
        seed = 5 if not path.exists() else 100 + number
        try:
            run(path, seed, resume=True, killed=killed, every=every, accumulate=accumulate)
        except Killed:
            continue
    seed = 5 if not path.exists() else 99
    assert run(path, seed, resume=True, every=every, accumulate=accumulate) == whole[accumulate]


@settings(max_examples=8)
@given(name=st.sampled_from(["fsync", "replace"]), count=st.integers(0, 11))
def test_a_run_killed_while_it_writes_ends_with_the_same_bits(name, count, whole, tmp_path_factory):
    path = tmp_path_factory.mktemp("kills") / "c.safetensors"
    real, left = getattr(os, name), [count]

    def dies(*arguments):
        left[0] -= 1
        if left[0] < 0:
            raise Killed
        return real(*arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, name, dies)
        with contextlib.suppress(Killed):
            run(path, 5, every=0.0)
    exists = path.exists() or path.with_name("c.previous.safetensors").exists()
    assert run(path, 99 if exists else 5, resume=True) == whole[1]


def test_a_finished_run_trains_nothing_and_gives_the_same(whole, tmp_path):
    path = tmp_path / "c.safetensors"
    assert run(path, 5) == whole[1]
    content = path.read_bytes()
    assert run(path, 7, resume=True, killed=1) == whole[1]
    assert path.read_bytes() == content


def test_a_run_that_was_stopped_early_stays_so(tmp_path):
    path = tmp_path / "c.safetensors"
    stopped = run(path, 5, epochs=50, patience=1)
    assert len(stopped[1]) < 50
    assert run(path, 7, epochs=50, patience=1, resume=True, killed=1) == stopped


def test_without_a_file_a_run_begins_anew(whole, tmp_path):
    assert run(tmp_path / "c.safetensors", 5, resume=True) == whole[1]


def test_a_run_can_be_made_longer(tmp_path):
    run(tmp_path / "a", 5, epochs=2)
    assert run(tmp_path / "a", 7, epochs=4, resume=True)[1] == run(tmp_path / "b", 5, epochs=4)[1]


def test_an_interrupted_run_is_kept_where_it_was(whole, tmp_path):
    class Interrupts(Callback):
        def step(self, run):
            if run.step == 9:  # in the middle of the second epoch
                run.interrupt()

    path, model = tmp_path / "c.safetensors", network(5)
    optimizer = optim.Adam(model.parameters(), lr=0.01)
    schedule = optim.lr_scheduler.OneCycleLR(optimizer, 0.01, total_steps=100)
    history = quiet(
        model, DATA, epochs=3, batch_size=8, optimizer=optimizer, scheduler=schedule, validation=HELD,
        callbacks=[EarlyStopping(patience=99), Interrupts()], checkpoint=path, checkpoint_every=math.inf,
    )  # fmt: skip
    assert history.column("samples") == [44, 24]
    assert run(path, 7, resume=True) == whole[1]


@pytest.mark.parametrize("augment", [mg.data.Augment(shift=1), lambda x, samples, seed, epoch: x * (epoch + 1)])
def test_augmented_images_are_the_same_after_a_pause(augment, tmp_path):
    def ended(path, **settings):
        batches = mg.data.Batches(DATA, 8, augment=augment)
        model = network(5)
        quiet(model, batches, checkpoint=path, checkpoint_every=0.0, **settings)
        return weights(model)

    with pytest.raises(Killed):
        ended(tmp_path / "a", callbacks=[KilledAt(9)])
    assert ended(tmp_path / "a", resume=True) == ended(tmp_path / "b")


def test_others_can_read_a_checkpoint(tmp_path):
    run(tmp_path / "c.safetensors", 5, epochs=1)
    arrays = safetensors.numpy.load_file(tmp_path / "c.safetensors")
    assert {"model.1.weight", "model.2.num_batches_tracked", "optimizer.state.0.exp_avg"} <= arrays.keys()
    assert arrays["model.2.num_batches_tracked"].shape == ()
    assert arrays["model.1.weight"].dtype == np.float32


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """The two checkpoints of a run of three epochs."""
    path = tmp_path_factory.mktemp("kept") / "c.safetensors"
    run(path, 5)
    return path.read_bytes(), path.with_name("c.previous.safetensors").read_bytes()


@settings(max_examples=40)
@given(data=st.data())
def test_a_damaged_file_is_refused_and_the_one_before_it_goes_on_to_the_same_bits(data, kept, whole, tmp_path_factory):
    last, previous = kept
    damage = data.draw(st.sampled_from(["flipped", "cut", "longer"]))
    place = data.draw(st.integers(0, len(last) - 1))
    flipped = last[place] ^ data.draw(st.integers(1, 255))
    damaged = {
        "flipped": last[:place] + bytes([flipped]) + last[place + 1 :],
        "cut": last[:place],
        "longer": last + b"x",
    }[damage]
    path = tmp_path_factory.mktemp("damaged") / "c.safetensors"
    before = path.with_name("c.previous.safetensors")
    path.write_bytes(damaged)
    before.write_bytes(previous)
    with pytest.raises(CheckpointError) as refused:
        run(path, 7, resume=True)
    assert f"{path} cannot be read" in str(refused.value)
    assert f"the one before it is {before}" in str(refused.value)
    assert before.read_bytes() == previous
    os.replace(before, path)
    if place < 40:  # not every time: it takes a while
        assert run(path, 7, resume=True) == whole[1]


class Trap:
    """Unpickling it would leave a trace."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def test_a_foreign_file_is_refused_and_runs_nothing(tmp_path):
    path, trace = tmp_path / "c.safetensors", tmp_path / "trace"
    for content, reason in (
        (pickle.dumps(Trap(trace)), "not a whole safetensors file"),
        (b"", "not a whole safetensors file"),
        (safetensors.numpy.save({"a": np.ones(3)}), "its metadata are not those of a minigrad checkpoint"),
    ):
        path.write_bytes(content)
        with pytest.raises(CheckpointError, match=reason):
            run(path, 5, resume=True)
    assert not trace.exists()


def test_the_checkpoint_of_another_run_is_refused_and_what_differs_named(tmp_path):
    path = tmp_path / "c.safetensors"
    run(path, 5, settings={"data": "digits"})

    def refused(message, **changed):
        usual = {"batch_size": 8, "validation": HELD, "callbacks": [EarlyStopping()], "settings": {"data": "digits"}}
        model = changed.pop("model", network())
        optimizer = optim.Adam(model.parameters())
        if changed.pop("scheduled", True):
            usual["scheduler"] = optim.lr_scheduler.OneCycleLR(optimizer, 0.01, total_steps=100)
        with pytest.raises(CheckpointError, match=message):
            quiet(model, DATA, optimizer=optimizer, checkpoint=path, resume=True, **usual | changed)

    refused("of a run with batch_size 8 instead of 9", batch_size=9)
    refused("of a run with seed 0 instead of 1", seed=1)
    refused("of a run with data digits instead of mnist", settings={"data": "mnist"})
    refused(r"of a run with callbacks \['EarlyStopping'\] instead of \[\]", callbacks=[])
    refused("of a run with a scheduler", scheduled=False)
    refused(
        "load_state_dict: unexpected: 2.running_mean",
        model=nn.Sequential(nn.Flatten(), nn.Linear(16, 3), nn.Linear(3, 3)),
    )


def test_the_state_of_random_numbers_comes_back():
    mg.manual_seed(3)
    mg.random.generator()
    state = random.get_rng_state()
    drawn = random.generator().random(), random.key()
    mg.manual_seed(4)
    random.set_rng_state(state)
    assert (random.generator().random(), random.key()) == drawn


def test_equal_models_have_one_fingerprint_and_others_another():
    model, other = network(1), network(1)
    assert fingerprint(model) == fingerprint(other)
    with mg.no_grad():
        other[1].bias[0] = np.nextafter(other[1].bias.numpy()[0], np.float32(1))
    assert fingerprint(model) != fingerprint(other)
