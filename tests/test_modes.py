"""Grad modes, detaching, hooks, retained gradients and the search for anomalies."""

import threading
from contextvars import copy_context

import numpy as np
import pytest

import minigrad as mg
from minigrad import modes

RNG = np.random.default_rng(3)


def leaf(*shape):
    return mg.tensor(RNG.uniform(0.5, 2.0, shape), requires_grad=True)


def weights(*shape):
    return RNG.normal(size=shape)


def test_modes_nest_and_end_with_their_blocks():
    x, seen = leaf(2), []
    with mg.no_grad():
        seen.append((x * 2).requires_grad)
        with mg.enable_grad():
            seen.append((x * 2).requires_grad)
            with mg.no_grad():
                seen.append((x * 2).requires_grad)
            seen.append((x * 2).requires_grad)
        seen.append((x * 2).requires_grad)
    seen.append((x * 2).requires_grad)
    assert seen == [False, True, False, True, False, True]


def test_a_mode_ends_also_when_its_block_raises():
    with pytest.raises(KeyError), mg.no_grad():
        raise KeyError
    assert mg.is_grad_enabled()


def test_one_mode_object_can_be_entered_again_and_within_itself():
    mode = mg.no_grad()
    with mode:
        with mode:
            pass
        assert not mg.is_grad_enabled()
    assert mg.is_grad_enabled()


def test_modes_decorate_functions_that_recurse():
    @mg.no_grad()
    def states(depth):
        inner = states(depth - 1) if depth else []
        return [*inner, mg.is_grad_enabled()]

    @mg.enable_grad()
    def enabled():
        return mg.is_grad_enabled()

    assert states(3) == [False] * 4
    assert mg.is_grad_enabled()
    with mg.no_grad():
        assert enabled()


def test_set_grad_enabled_acts_at_once_or_for_a_block():
    mg.set_grad_enabled(False)
    assert not mg.is_grad_enabled()
    mg.set_grad_enabled(True)
    assert mg.is_grad_enabled()
    with mg.set_grad_enabled(False):
        assert not mg.is_grad_enabled()
    assert mg.is_grad_enabled()


def test_a_thread_has_modes_of_its_own():
    seen, entered, leave = {}, threading.Event(), threading.Event()

    def other():
        seen["at start"] = mg.is_grad_enabled()
        with mg.no_grad():
            entered.set()
            leave.wait(5)

    with mg.no_grad():
        thread = threading.Thread(target=other)
        thread.start()
        entered.wait(5)
        mg.set_grad_enabled(True)
        seen["here, while the thread is in no_grad"] = mg.is_grad_enabled()
        leave.set()
        thread.join()
    assert seen == {"at start": True, "here, while the thread is in no_grad": True}


def test_a_mode_follows_a_copied_context():
    with mg.no_grad():
        context = copy_context()
    assert not context.run(mg.is_grad_enabled)


def test_threads_can_walk_graphs_of_their_own_over_shared_weights():
    w = leaf(3)
    xs = [leaf(3) for _ in range(8)]

    def run(x):
        for _ in range(20):
            mg.grad((x * w).exp() * x, x, np.ones(3))
        x.grad = mg.grad(x * w, x, np.ones(3))[0]

    threads = [threading.Thread(target=run, args=(x,)) for x in xs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for x in xs:
        np.testing.assert_array_equal(x.grad, w.data)


def test_backward_runs_under_no_grad():
    x, dy = leaf(3), weights(3)
    y = x * 2
    with mg.no_grad():
        y.backward(dy)
    np.testing.assert_array_equal(x.grad, 2 * dy)


def test_detach_shares_values_and_cuts_history():
    x, dy = leaf(3), weights(3)
    h = x * 2
    cut = h.detach()
    assert np.shares_memory(cut.data, h.data)
    assert not cut.requires_grad
    (h * cut).backward(dy)
    np.testing.assert_allclose(x.grad, 2 * dy * cut.data, rtol=1e-15)


def test_retain_grad_keeps_the_whole_gradient_of_an_intermediate():
    x, dy = leaf(3), weights(3)
    h = x * 2
    h.retain_grad()
    (h.exp() + h * h).backward(dy)
    np.testing.assert_allclose(h.grad, dy * (np.exp(h.data) + 2 * h.data), rtol=1e-14)
    np.testing.assert_allclose(x.grad, 2 * np.asarray(h.grad), rtol=1e-14)
    assert not np.shares_memory(h.grad._array, x.grad._array)


def test_without_retain_grad_an_intermediate_has_none():
    x = leaf(3)
    h = x * 2
    h.exp().backward(weights(3))
    assert h.grad is None


def test_retain_grad_of_one_output_of_several():
    x, a, b = leaf(4), weights(2), weights(2)
    first, second = x.split(2)
    second.retain_grad()
    (mg.concatenate([first * 3, second * 5])).backward(np.concatenate([a, b]))
    np.testing.assert_array_equal(second.grad, 5 * b)
    assert first.grad is None


def test_a_hook_sees_the_sum_of_all_gradients_once():
    x, dy, seen = leaf(3), weights(3), []
    h = x * 2
    h.register_hook(seen.append)
    x.register_hook(seen.append)
    (h * 3 + h * 4).backward(dy)
    assert len(seen) == 2
    np.testing.assert_allclose(seen[0], 7 * dy, rtol=1e-14)
    np.testing.assert_allclose(seen[1], 14 * dy, rtol=1e-14)


@pytest.mark.parametrize("create_graph", [False, True])
def test_what_a_hook_returns_replaces_the_gradient(create_graph):
    x, dy = leaf(3), weights(3)
    h = x * 2
    h.retain_grad()
    h.register_hook(lambda g: g * 10)
    x.register_hook(lambda g: g + 1)
    h.exp().backward(dy, create_graph=create_graph)
    by_h = 10 * dy * np.exp(h.data)
    np.testing.assert_allclose(h.grad.detach(), by_h, rtol=1e-14)
    np.testing.assert_allclose(x.grad.detach(), 2 * by_h + 1, rtol=1e-14)
    x.grad = None


def test_hooks_run_in_the_order_of_their_registration_each_on_the_last_ones_answer():
    x, dy = leaf(3), weights(3)
    x.register_hook(lambda g: g + 1)
    x.register_hook(lambda g: g * 2)
    (x * 1).backward(dy)
    np.testing.assert_allclose(x.grad, (dy + 1) * 2, rtol=1e-14)


def test_grad_runs_hooks_on_its_way_and_at_its_inputs():
    x, dy = leaf(3), weights(3)
    h = x * 2
    h.register_hook(lambda g: g * 10)
    x.register_hook(lambda g: g + 1)
    by_h, by_x = mg.grad(h * 3, [h, x], dy)
    np.testing.assert_allclose(by_h, 30 * dy, rtol=1e-14)
    np.testing.assert_allclose(by_x, 60 * dy + 1, rtol=1e-14)


def test_a_handle_takes_its_hook_off():
    x, calls = leaf(2), []
    first = x.register_hook(lambda g: calls.append("first"))
    with x.register_hook(lambda g: calls.append("within")):
        (x * 2).backward(weights(2))
    first.remove()
    first.remove()
    (x * 2).backward(weights(2))
    assert calls == ["first", "within"]


def test_a_hook_cannot_change_the_gradient_in_place():
    x, z = leaf(3), leaf(3)
    x.register_hook(lambda g: g.zero_())
    with pytest.raises(RuntimeError, match="shares memory with a read-only array"):
        (x + z).backward(weights(3))


@pytest.mark.parametrize("answer", [np.zeros(3), mg.tensor(np.zeros(2)), mg.tensor(np.zeros(3, np.float32)), 1.0])
def test_a_hook_with_a_wrong_answer_is_a_clear_error(answer):
    x = leaf(3)
    x.register_hook(lambda g: answer)
    with pytest.raises(ValueError, match=r"hook: need None or a tensor of shape \(3,\) and float64"):
        (x * 2).backward(weights(3))


def test_hooks_need_a_callable_and_a_tensor_with_gradients():
    with pytest.raises(TypeError, match="need a callable, got int"):
        leaf(2).register_hook(3)
    with pytest.raises(RuntimeError, match="does not require grad"):
        mg.tensor([1.0]).register_hook(print)
    with pytest.raises(RuntimeError, match="does not require grad"):
        mg.tensor([1.0]).retain_grad()


def test_leaves_that_are_not_asked_for_run_no_hooks_in_grad():
    x, z, calls = leaf(2), leaf(2), []
    z.register_hook(calls.append)
    mg.grad(x * z, x, weights(2))
    assert calls == []


@pytest.mark.filterwarnings("ignore:divide by zero")
def test_anomaly_forward_names_op_module_and_first_index():
    x = mg.tensor([[1.0, 2.0], [0.0, 0.0]], requires_grad=True)
    with mg.detect_anomaly(), modes.module_scope("features"), modes.module_scope("0"):
        h = x * 2
        message = r"forward of log in module features\.0: -inf at index \[1, 0\] of shape \(2, 2\)"
        with pytest.raises(FloatingPointError, match=message):
            h.log()


@pytest.mark.filterwarnings("ignore:divide by zero")
def test_anomaly_backward_names_the_op_and_the_module_that_recorded_it():
    x = mg.tensor([4.0, 0.0, 0.0], requires_grad=True)
    with mg.detect_anomaly():
        with modes.module_scope("head"):
            y = (x * 1.0).sqrt()
        with pytest.raises(FloatingPointError, match=r"backward of sqrt in module head: inf at index \[1\]"):
            (y + 1).backward(np.ones(3))


def test_anomaly_says_when_the_fault_came_in():
    x = mg.tensor([1.0, np.nan])
    with mg.detect_anomaly(), pytest.raises(FloatingPointError, match=r"add \(and already in its inputs\): nan"):
        x + 1


@pytest.mark.filterwarnings("ignore:divide by zero")
def test_without_detect_anomaly_infinities_pass():
    x = mg.tensor([0.0], requires_grad=True)
    with mg.detect_anomaly():
        pass
    x.log().backward(np.ones(1))
    assert np.isinf(x.grad.item())


def test_a_healthy_graph_passes_detect_anomaly():
    x, dy = leaf(3), weights(3)
    with mg.detect_anomaly():
        (g,) = mg.grad(x.exp(), x, dy, create_graph=True)
        (gg,) = mg.grad(g, x, np.ones(3))
        assert (x > 1).dtype == bool
    np.testing.assert_allclose(gg, dy * np.exp(x.data), rtol=1e-14)


def test_modes_decorate_without_parentheses_and_switch_nothing_by_themselves():
    @mg.no_grad
    def plain():
        return mg.is_grad_enabled()

    @mg.set_grad_enabled(False)
    def chosen():
        return mg.is_grad_enabled()

    assert mg.is_grad_enabled()
    assert not plain()
    assert not chosen()
    assert mg.is_grad_enabled()


def test_an_infinite_sum_of_finite_gradients_is_an_anomaly():
    x = mg.tensor([1e-20], requires_grad=True)
    with mg.detect_anomaly(), pytest.raises(FloatingPointError, match="sum of gradients"):
        (x * 3e38 + x * 3e38).backward(np.ones(1))
