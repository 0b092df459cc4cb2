"""What belongs to a thread or task stays its own: random numbers, modes, what looks into a model."""

import asyncio
import contextvars
import itertools
import sys
import threading
import time
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait

import numpy as np
import pytest

import minigrad as mg
from minigrad import functional as F, interpret, nn, tape
from minigrad.modes import watching
from minigrad.nn.evaluation import unchanged
from minigrad.training import evaluate, predict


def drawn():
    return mg.random.key(), mg.random.generator().random()


def test_every_thread_has_a_stream_of_its_own_and_none_changes_anothers():
    def run():
        mg.manual_seed(5)
        begun = [drawn() for _ in range(3)]
        with ThreadPoolExecutor(1) as pool:
            other = [pool.submit(drawn).result() for _ in range(3)]
        return [*begun, drawn()], other

    alone = run()
    mg.manual_seed(5)
    assert [drawn() for _ in range(4)] == alone[0]
    assert run() == alone
    assert not set(alone[0]) & set(alone[1])


def test_threads_get_the_streams_of_the_seed_in_the_order_in_which_they_first_draw():
    def run():
        mg.manual_seed(7)
        draws = []
        for _ in range(3):
            thread = threading.Thread(target=lambda: draws.append(drawn()))
            thread.start()
            thread.join()
        return draws

    first = run()
    assert run() == first
    assert len(set(first)) == 3


def test_a_seed_reaches_the_threads_that_drew_before_it():
    with ThreadPoolExecutor(1) as pool:
        pool.submit(drawn).result()
        mg.manual_seed(11)
        found = pool.submit(drawn).result()
        pool.submit(drawn).result()
        mg.manual_seed(11)
        assert pool.submit(drawn).result() == found


def test_within_seeded_another_thread_draws_and_seeds_what_it_would_without():
    mg.manual_seed(1)
    expected = [drawn(), drawn()]
    mg.manual_seed(1)
    assert drawn() == expected[0]
    with ThreadPoolExecutor(1) as pool, mg.random.seeded(9):
        begun = drawn()
        pool.submit(drawn).result()
        with mg.random.seeded(9):
            assert drawn() == begun
        mg.manual_seed(9)
        assert drawn() == begun
    assert drawn() == expected[1]


def test_tasks_have_streams_and_modes_of_their_own():
    async def work(number):
        with mg.set_grad_enabled(number % 2 == 0):
            draws = []
            for _ in range(3):
                draws.append(drawn())
                await asyncio.sleep(0)
                assert mg.is_grad_enabled() == (number % 2 == 0)
        return draws

    async def main():
        mg.manual_seed(3)
        before = drawn()
        by_task = await asyncio.gather(*map(work, range(4)))
        return [before, *itertools.chain(*by_task), drawn()]

    first = asyncio.run(main())
    assert asyncio.run(main()) == first
    assert len(set(first)) == len(first) == 14


def test_tasks_that_follow_each_other_in_one_context_draw_from_one_stream():
    """As the cells of a notebook do."""
    mg.manual_seed(6)
    expected = [drawn() for _ in range(4)]

    async def seed():
        mg.manual_seed(6)
        return drawn()

    async def draw():
        return drawn()

    async def draw_beside():
        return [drawn(), *await asyncio.gather(draw(), draw()), drawn()]

    with asyncio.Runner() as runner:
        found = [runner.run(seed()), runner.run(draw()), *runner.run(draw_beside())]
    assert [*found[:3], found[5]] == expected
    assert len(set(found)) == 6


def test_a_context_that_is_copied_into_a_thread_takes_no_stream_along():
    mg.manual_seed(2)
    drawn()
    found, context = [], contextvars.copy_context()
    thread = threading.Thread(target=lambda: context.run(lambda: found.append(drawn())))
    thread.start()
    thread.join()
    assert found[0] not in [drawn() for _ in range(3)]


def test_the_state_of_a_stream_is_its_own():
    mg.manual_seed(4)
    drawn()
    state = mg.random.get_rng_state()
    expected = [drawn(), drawn()]
    with ThreadPoolExecutor(1) as pool:
        pool.submit(mg.random.set_rng_state, (8, 3)).result()
        assert pool.submit(mg.random.get_rng_state).result() == (8, 3)
    assert mg.random.get_rng_state() == (state[0], state[1] + 4)
    mg.random.set_rng_state(state)
    assert [drawn(), drawn()] == expected


def test_a_model_is_evaluated_while_another_thread_trains_it():
    model, images = nn.Sequential(nn.Flatten(), nn.Dropout(0.5)), np.ones((4, 2, 2), np.float32)
    seen, inside, go_on = [], threading.Event(), threading.Event()

    def watch(module, args):
        seen.append(module.training)
        if threading.current_thread() is not threading.main_thread():
            inside.set()
            assert go_on.wait(20)

    model[1].register_forward_pre_hook(watch)
    with ThreadPoolExecutor(1) as pool:
        found = pool.submit(predict, model, images)
        assert inside.wait(20)
        assert model.training
        assert set(np.unique(model(images))) <= {0, 2}
        go_on.set()
        np.testing.assert_array_equal(found.result(), np.ones((4, 4)))
    assert seen == [False, True]


def test_to_evaluate_changes_no_mode_even_when_it_fails():
    model = nn.Sequential(nn.Dropout(), nn.Linear(3, 2)).train()
    model[1].eval()
    with pytest.raises(ValueError, match="features"):
        evaluate(model, (np.ones((2, 5), np.float32), np.zeros(2, np.int64)), loss=F.cross_entropy)
    assert [m.training for m in model.modules()] == [True, True, False]


def test_activations_and_summaries_hear_nothing_of_other_threads():
    model, images = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2)), np.ones((2, 3), np.float32)
    expected, summary = interpret.activations(model, images), str(mg.summary(model, (3,)))
    with ThreadPoolExecutor(1) as pool:

        def run_elsewhere(module, args):
            if threading.current_thread() is threading.main_thread():
                pool.submit(model, images).result()

        model[1].register_forward_pre_hook(run_elsewhere)
        found = interpret.activations(model, images)
        assert str(mg.summary(model, (3,))) == summary
    assert list(found) == list(expected)
    for name in expected:
        np.testing.assert_array_equal(found[name], expected[name])


def test_two_threads_summarise_one_model_at_once():
    both_in, one_out, arrivals = threading.Event(), threading.Event(), itertools.count()

    class Meeting(nn.Module):
        def forward(self, x):
            number = next(arrivals)
            if number == 1:
                assert both_in.wait(20)
            elif number == 2:
                both_in.set()
                assert one_out.wait(20)
            return x

    model = nn.Sequential(nn.Linear(3, 4), Meeting(), nn.Linear(4, 2))
    expected = str(mg.summary(model, (3,)))
    with ThreadPoolExecutor(2) as pool:
        found = [pool.submit(mg.summary, model, (3,)) for _ in range(2)]
        wait(found, 20, FIRST_COMPLETED)
        one_out.set()
        assert [str(each.result()) for each in found] == [expected] * 2
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


def test_what_puts_a_model_back_takes_nothing_away_from_other_threads():
    layer, missing = nn.Linear(3, 4), set()
    names = vars(layer).keys() | layer._parameters.keys()

    def look(frame, event, arg):  # at every moment at which another thread may run
        missing.update(names - vars(layer).keys() - vars(layer).get("_parameters", {}).keys())

    sys.setprofile(look)
    try:
        with unchanged(layer):
            pass
    finally:
        sys.setprofile(None)
    assert not missing


def test_a_member_that_was_replaced_meanwhile_is_back_in_its_place():
    model = nn.Sequential(nn.Linear(3, 4), nn.ReLU())
    first = model[0]
    with unchanged(model):
        del model._modules["0"]
        model.extra = nn.ReLU()
    assert list(model._modules) == ["0", "1"]
    assert model[0] is first


def test_tensors_that_threads_make_over_one_array_at_once_share_its_version(monkeypatch):
    class Slow(tape.Storage):
        def __init__(self, owner=None):
            time.sleep(0.02)
            super().__init__(owner)

    monkeypatch.setattr(sys.modules["minigrad.tensor"], "Storage", Slow)
    array, together = np.ones(3, np.float32), threading.Barrier(4)

    def make(_):
        together.wait(20)
        return mg.as_tensor(array)

    with ThreadPoolExecutor(4) as pool:
        first, *rest = pool.map(make, range(4))
    products = [other * mg.tensor(array, requires_grad=True) for other in rest]
    with mg.no_grad():
        first[0] = 2
    for y in products:
        with pytest.raises(RuntimeError, match="in place"):
            y.backward(np.ones(3, np.float32))


def test_one_mode_object_serves_many_threads_and_tasks():
    mode, inside = mg.no_grad(), threading.Event()

    def enter_first(outside):
        with mode:
            inside.set()
            assert outside.wait(20)
        return mg.is_grad_enabled()

    outside = threading.Event()
    with ThreadPoolExecutor(1) as pool, mg.no_grad():
        found = pool.submit(enter_first, outside)
        assert inside.wait(20)
        with mode:
            outside.set()
            assert found.result()
        assert not mg.is_grad_enabled()

    async def work(number):
        with mg.set_grad_enabled(number == 0):
            with mode:
                await asyncio.sleep(0.001 * number)
            return mg.is_grad_enabled()

    async def main():
        return await asyncio.gather(*map(work, range(3)))

    assert asyncio.run(main()) == [True, False, False]


def test_a_mode_that_a_generator_leaves_out_of_turn_is_the_one_that_ends():
    def within():
        with mg.no_grad():
            yield

    generator = within()
    next(generator)
    with mg.detect_anomaly():
        generator.close()
        assert mg.is_grad_enabled()
        assert watching.get().anomaly
    assert not watching.get().anomaly
