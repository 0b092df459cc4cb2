"""Programs with many threads, tasks and processes compute the same bits, whatever threading layer Numba has."""

import _thread
import json
import os
import subprocess
import sys
import threading
import time

import pytest

from minigrad.kernels import threads

# What a program may do, once: sixteen threads that train and predict, beside a parallel kernel of the user's own on
# another thread, one that compiles, and one that forks; data workers in threads, in forked and in spawned processes,
# after training in the parent.
PROGRAM = """
import json, multiprocessing, pathlib, sys, threading
from concurrent.futures import ThreadPoolExecutor
import numba
import numpy as np
import minigrad as mg
from minigrad import data, functional as F, nn, optim, training
from minigrad.kernels import threads
from minigrad.modes import watching
from minigrad.nn.evaluation import unchanged

IMAGES = np.random.default_rng(0).random((40, 1, 28, 28), np.float32)
LABELS = np.arange(40) % 10

def network():
    return nn.Sequential(
        nn.Conv2d(1, 6, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(400, 120), nn.ReLU(), nn.Dropout(0.3), nn.Linear(120, 10),
    )

def train(seed=3):
    with mg.random.seeded(seed):
        model = network()
        training.fit(model, (IMAGES, LABELS), epochs=2, batch_size=32, progress=False)
    return training.fingerprint(model)

def seen(seed):
    batches = data.Batches((IMAGES, LABELS), 32, seed=seed, augment=data.Augment(shift=1, alpha=5))
    return [images.sum(dtype=np.float64).item() for images, _ in batches] + [train(seed)]

@numba.njit(parallel=True)
def users_own(x):
    y = np.empty_like(x)
    for i in numba.prange(len(x)):
        y[i] = np.sqrt(x[i]) + 1
    return y

def compiled(x):
    return numba.njit(lambda x: x + 1)(x)

def trained_in_a_new_process(seed):
    return compiled(1) == 2 and train(seed)

def main(rounds, methods):
    try:
        layer = threads.threading_layer()
    except ValueError:  # this machine has none of that name
        return None
    alone, expected = train(), [seen(seed) for seed in range(4)]
    shared = network()  # in training mode, and it stays so
    scores = training.predict(shared, IMAGES).tobytes()
    field = np.random.default_rng(1).random(100_000)
    users = users_own(field).tobytes()
    over = threading.Event()

    def keep_launching():
        while not over.is_set():
            assert users_own(field).tobytes() == users

    def keep_compiling():
        while not over.is_set():
            assert compiled(1) == 2

    def keep_forking():
        with multiprocessing.get_context("fork").Pool(2, maxtasksperchild=1) as pool:
            return set(pool.map(trained_in_a_new_process, [3] * 4 * rounds, chunksize=1)) == {alone}

    def work(number):
        if number % 2:
            return training.predict(shared, IMAGES).tobytes() == scores
        return train() == alone

    with ThreadPoolExecutor(19) as pool:
        beside = [pool.submit(keep_launching), pool.submit(keep_compiling)]
        forks = [pool.submit(keep_forking)] if "fork" in methods else []
        agree = all(pool.map(work, range(16 * rounds))) and all(each.result() for each in forks)
        over.set()
        for each in beside:
            each.result()
    assert shared.training
    with ThreadPoolExecutor(4) as pool:
        agree &= list(pool.map(seen, range(4))) == expected
    for method in methods:
        with multiprocessing.get_context(method).Pool(2) as pool:
            agree &= pool.map(seen, range(4), chunksize=1) == expected
    return [layer, agree]

if __name__ == "__main__":
    result, rounds, *methods = sys.argv[1:]
    pathlib.Path(result).write_text(json.dumps(main(int(rounds), methods)))
"""


def layer_and_agreement(folder, layer, rounds, *methods):
    program, result = folder / "program.py", folder / "result.json"  # spawned processes import the one
    program.write_text(PROGRAM)
    environment = dict(os.environ, NUMBA_THREADING_LAYER=layer, NUMBA_NUM_THREADS="3")
    done = subprocess.run(
        [sys.executable, program, result, str(rounds), *methods],
        capture_output=True,
        text=True,
        timeout=240,
        env=environment,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(result.read_text())


@pytest.mark.parametrize("layer", ["tbb", "omp", "workqueue"])
def test_threads_and_worker_processes_compute_the_same_bits(tmp_path, layer):
    methods = [name for name in ("fork",) if hasattr(os, "fork")]
    found = layer_and_agreement(tmp_path, layer, 1, *methods)
    assert found in (None, [layer, True])


@pytest.mark.slow
@pytest.mark.parametrize("layer", ["tbb", "omp", "workqueue"])
def test_threads_and_worker_processes_compute_the_same_bits_again_and_again(tmp_path, layer):
    methods = [name for name in ("fork", "forkserver", "spawn") if hasattr(os, "fork") or name == "spawn"]
    assert layer_and_agreement(tmp_path, layer, 20, *methods) in (None, [layer, True])


def test_an_interrupt_ends_a_launch_when_no_thread_is_at_it_any_more():
    begun, ended = [], []

    def run(part, parts, n):
        if threading.current_thread() is threading.main_thread():
            while not begun:
                time.sleep(0.001)
            return
        begun.append(part)
        for _ in range(2):
            _thread.interrupt_main()
            time.sleep(0.05)
        ended.append(part)

    with pytest.raises(KeyboardInterrupt):
        threads._share(run, 2, 2, ())
    assert begun
    assert ended == begun


@pytest.mark.parametrize("most", [0, 1])
def test_each_part_of_a_launch_runs_once_also_where_few_threads_can_be_started(monkeypatch, most):
    start, started, ran = threading.Thread.start, [], []

    def start_few(thread):
        if len(started) == most:
            raise RuntimeError("can't start new thread")
        started.append(thread)
        start(thread)

    monkeypatch.setattr(threads.nb.config, "NUMBA_NUM_THREADS", 4)
    monkeypatch.setattr(threading.Thread, "start", start_few)
    helpers = threads._Helpers()
    monkeypatch.setattr(threads, "_helpers", lambda: helpers)
    for _ in range(50):
        ran.clear()
        threads._share(lambda part, parts, n: ran.append(part), 7, 7, ())
        assert sorted(ran) == list(range(7))
    assert len(started) == helpers.count == most
    assert most or helpers.calls.empty()
