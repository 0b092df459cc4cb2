"""The profiler: what it counts, to whom it gives it, and that it looks on only when asked."""

import contextvars
import threading
import time

import numpy as np
import pytest

import minigrad as mg
from minigrad import functional as F, modes, nn, profiler
from minigrad.kernels import machine
from minigrad.kernels.simd import VECTOR_BYTES

RNG = np.random.default_rng(21)


def leaf(*shape, dtype=np.float64):
    return mg.tensor(RNG.uniform(0.5, 2.0, shape).astype(dtype), requires_grad=True)


def rows_of(p):
    """The rows by op, module and the first letter of the phase."""
    return {(row.op, row.module, row.phase[0]): row for row in p.rows}


def test_calls_are_counted_forward_and_backward():
    x, y = leaf(3), leaf(3)
    with mg.profile() as p:
        for _ in range(4):
            (x * y).exp()
        ((x * y) + x).backward(np.ones(3))
    calls = {key: row.calls for key, row in rows_of(p).items()}
    assert calls == {
        ("multiply", "", "f"): 5,
        ("exp", "", "f"): 4,
        ("add", "", "f"): 1,
        ("add", "", "b"): 1,
        ("multiply", "", "b"): 1,
    }
    assert all(row.seconds > 0 for row in p.rows)
    assert sum(row.seconds for row in p.rows) <= p.seconds
    assert [row.seconds for row in p.rows] == sorted((row.seconds for row in p.rows), reverse=True)


def test_ops_on_arrays_and_without_history_count_too():
    with mg.profile() as p, mg.no_grad():
        mg.exp(np.ones(3))
        mg.exp(leaf(3))
    assert rows_of(p)["exp", "", "f"].calls == 2
    assert p.saved_peak == 0


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Sequential(nn.ReLU(), nn.MaxPool2d(2)))
        self.head = nn.Linear(8, 3)

    def forward(self, x):
        return self.head(self.features(x).flatten(1)) * 2.0


def test_rows_carry_the_paths_by_which_modules_are_registered():
    model, x = Model(), RNG.normal(size=(5, 1, 6, 6)).astype(np.float32)
    with mg.profile() as p:
        model(mg.tensor(x)).sum().backward()
    rows = rows_of(p)
    forward = {key for key in rows if key[2] == "f"}
    assert forward == {
        ("conv2d", "features.0", "f"),
        ("relu", "features.1.0", "f"),
        ("max_pool2d", "features.1.1", "f"),
        ("reshape", "", "f"),
        ("linear", "head", "f"),
        ("multiply", "", "f"),
        ("sum", "", "f"),
    }
    backward = {key[:2] for key in rows if key[2] == "b"}
    assert {key[:2] for key in forward} <= backward
    assert ("conv2d > conv2d_weight_gradient", "features.0") in backward  # what ran in a rule, with the rule's module
    assert ("linear > linear_gradients", "head") in backward


def test_time_is_without_that_of_ops_within():
    @mg.op(name="inner_sleep")
    def inner(x):
        time.sleep(0.05)
        return x.copy(), ()

    @mg.op(name="outer_sleep")
    def outer(x):
        time.sleep(0.01)
        return inner(x), ()

    @outer.vjp
    def outer_vjp(dy):
        return inner(dy)

    x = leaf(3)
    with mg.profile() as p:
        outer(x).backward(np.ones(3))
    rows = rows_of(p)
    assert 0.01 <= rows["outer_sleep", "", "f"].seconds < 0.05 <= rows["inner_sleep", "", "f"].seconds
    assert rows["outer_sleep", "", "b"].seconds < 0.05 <= rows["outer_sleep > inner_sleep", "", "b"].seconds
    assert rows["outer_sleep", "", "f"].bytes == 0  # counted where they were read and written
    assert rows["inner_sleep", "", "f"].bytes == 48


def test_bytes_are_those_of_inputs_outputs_and_what_else_was_saved():
    x, y = leaf(10), leaf(10)
    with mg.profile() as p:
        (x * y).backward(np.ones(10))  # x and y are saved, and are inputs
        x.max(0)
        mg.clip(x, max=1.0)  # saves ten booleans
    rows = rows_of(p)
    assert rows["multiply", "", "f"].bytes == 240
    assert rows["multiply", "", "b"].bytes == 400  # dy, x, y and two gradients
    assert rows["clip", "", "f"].bytes == 170


def test_the_peak_of_saved_memory_counts_each_array_once_and_to_its_first_op():
    x = leaf(1000)
    with mg.profile() as p:
        for _ in range(3):  # what one step saved is gone before the next
            y = x.exp()  # 8000 bytes: y
            z = y * y  # y again
            w = z.sin()  # 8000: z
            assert p.saved_peak == 16000
            w.backward(np.ones(1000))
            del y, z, w
        y = (x + 1.0).log()  # 8000: x + 1
        del y  # without backward
        y = (x + 1.0).log()
    assert p.saved_peak == 16000
    saved = {key[0]: row.saved_at_peak for key, row in rows_of(p).items() if key[2] == "f"}
    assert saved == {"exp": 8000, "multiply": 0, "sin": 8000, "add": 0, "log": 0}
    assert p._saved._total == 8000
    del y
    assert p._saved._total == 0


def test_memory_that_two_nodes_hold_is_held_until_both_let_go():
    x = leaf(1000)
    with mg.profile() as p:
        y = x.exp()
        z = y.sin()
        y.backward(np.ones(1000))
        assert p._saved._total == 8000
        del y
        assert p._saved._total == 8000
        del z
        assert p._saved._total == 0
    assert p.saved_peak == 8000


def test_nothing_is_recorded_outside():
    x = leaf(3)
    p = mg.profile()
    y = x.exp()
    with p:
        pass
    y.backward(np.ones(3))
    assert p.rows == []
    assert p.saved_peak == 0
    assert modes.watching.get() is modes.NOBODY


def test_a_profile_goes_on_and_may_stand_in_another():
    x = leaf(3)
    with mg.profile() as outer:
        x.exp()
        with mg.profile() as inner:
            x.exp().backward(np.ones(3))
            x.sin()
        x.exp()
        with inner:
            x.exp()
    assert {key: row.calls for key, row in rows_of(inner).items()} == {
        ("exp", "", "f"): 2,
        ("exp", "", "b"): 1,
        ("sin", "", "f"): 1,
    }
    assert {key: row.calls for key, row in rows_of(outer).items()} == {
        ("exp", "", "f"): 4,
        ("exp", "", "b"): 1,
        ("sin", "", "f"): 1,
    }
    assert inner.saved_peak == outer.saved_peak == 24  # what exp saved is gone when the sine saves
    assert outer.seconds > inner.seconds


def test_an_exception_ends_the_block_and_the_call():
    @mg.op(name="fails_halfway")
    def fails(x):
        raise KeyError("halfway")

    x, p = leaf(3), mg.profile()
    with pytest.raises(KeyError, match="halfway"), p:
        fails(x.exp())
    assert modes.watching.get() is modes.NOBODY
    with p:
        x.exp()
    assert {key: row.calls for key, row in rows_of(p).items()} == {("exp", "", "f"): 2, ("fails_halfway", "", "f"): 1}


def test_backward_with_create_graph_gives_the_same_and_is_counted():
    x = leaf(4)
    with mg.profile() as p:
        (g,) = mg.grad((x.exp() * x).sum(), x, create_graph=True)
        (gg,) = mg.grad(g.sum(), x)
    np.testing.assert_allclose(gg.data, (3 + x.data - 1) * np.exp(x.data), rtol=1e-12)
    rows = rows_of(p)
    assert rows["exp > multiply", "", "b"].calls == 1
    assert rows["multiply > multiply", "", "b"].calls >= 2
    assert p.saved_peak > 0


def test_other_threads_are_left_alone_unless_they_run_in_this_context():
    x = leaf(3)
    with mg.profile() as p:
        for run in (lambda f: f(), contextvars.copy_context().run):
            thread = threading.Thread(target=run, args=(x.exp,))
            thread.start()
            thread.join()
    assert rows_of(p)["exp", "", "f"].calls == 1


def test_anomalies_are_found_under_a_profile():
    x = mg.tensor([np.inf], requires_grad=True)
    with mg.profile() as p, mg.detect_anomaly(), pytest.raises(FloatingPointError, match="forward of add"):
        x + 1.0
    assert rows_of(p)["add", "", "f"].calls == 1


def flops_of(function, *shapes):
    xs = [leaf(*shape, dtype=np.float32) for shape in shapes]
    with mg.profile() as p:
        y = function(*xs)
        y.backward(np.ones(y.shape))
    return {f"{row.op}, {row.phase}": row.flops for row in p.rows if row.flops}


@pytest.mark.parametrize(
    ("function", "shapes", "ops", "flops"),
    [
        (lambda *a: F.conv2d(*a, padding=1), [(2, 4, 5, 6), (3, 4, 3, 3), (3,)], "conv2d", 2 * 2 * 3 * 30 * 36),
        (lambda *a: F.conv2d(*a, groups=2), [(2, 4, 5, 6), (6, 2, 3, 3)], "conv2d", 2 * 2 * 6 * 12 * 18),
        (lambda *a: F.conv1d(*a, stride=2), [(2, 4, 9), (3, 4, 3)], "conv1d", 2 * 2 * 3 * 4 * 12),
        (F.conv1x1, [(2, 4, 5, 6), (3, 4)], "conv1x1", 2 * 2 * 3 * 30 * 4),
        (F.linear, [(7, 5), (3, 5)], "linear", 2 * 7 * 3 * 5),
        (mg.matmul, [(2, 3, 4), (4, 5)], "matmul", 2 * 2 * 3 * 4 * 5),
        (F.locally_connected2d, [(2, 4, 5, 6), (3, 4, 6, 4, 3, 3)], "locally_connected2d", 2 * 2 * 12 * 6 * 36),
        (F.conv_transpose1d, [(2, 3, 4), (3, 5, 3)], "conv_transpose1d", 2 * 2 * 3 * 4 * 15),
    ],
)
def test_products_say_how_much_they_compute_forward_and_for_each_gradient(function, shapes, ops, flops):
    found = flops_of(function, *shapes)
    assert found.pop(f"{ops}, forward") == flops
    assert sum(found.values()) == 2 * flops  # dx and dw are as much work as y


@pytest.mark.parametrize(
    ("chain", "op"), [((nn.ReLU(),), "conv2d_relu"), ((nn.ReLU(), nn.MaxPool2d(2)), "conv2d_relu_max_pool2d")]
)
def test_a_chain_that_is_fused_is_counted_under_its_convolution(chain, op):
    model = nn.Sequential(nn.Flatten(1, 1), nn.Conv2d(4, 8, 3, padding=1), *chain)
    x = leaf(2, 4, 6, 6, dtype=np.float32)
    with mg.profile() as p:
        y = model(x)
        y.backward(np.ones(y.shape))
    row = rows_of(p)[op, "1", "f"]
    assert row.flops == 2 * 2 * 8 * 36 * 36
    assert sum(row.flops for row in p.rows if row.phase == "backward") == 2 * row.flops
    assert all(row.module == "1" for row in p.rows if op in row.op)


def test_an_op_of_ones_own_says_how_much_it_computes():
    @mg.op(name="cubed")
    def cubed(x, *, times=1):
        return x**3, ()

    @cubed.flops
    def cubed_flops(y, x, *, times=1):
        return times * 2 * y.size

    with mg.profile() as p:
        cubed(np.ones(5), times=3)
    (row,) = p.rows
    assert row.flops == 30
    assert row.gflops == 30 / row.seconds / 1e9


def test_the_table_has_a_line_for_each_row_and_one_for_the_rest():
    x = leaf(3, 4)
    with mg.profile() as p:
        mg.matmul(x, x.T).sum().backward()
    lines, marked = str(p).splitlines(), p.to_markdown().splitlines()
    assert len(lines) == len(p.rows) + 2 == len(marked) - 1
    assert lines[0].split() == ["op", "module", "phase", "calls", "ms", "%", "GFLOP/s", "MB", "saved", "MB"]
    assert [line.split("  ")[0] for line in lines[1:]] == [row.op for row in p.rows] + ["outside ops"]
    assert all(line.count("|") == 10 for line in marked)
    assert str(mg.profile()).splitlines()[-1].startswith("outside ops")


def test_the_fraction_of_the_peak_is_that_of_the_nearer_limit(monkeypatch):
    monkeypatch.setattr(profiler, "fma_peak", lambda dtype: {"float32": 2e9, "float64": 1e9}[dtype])
    monkeypatch.setattr(profiler, "copy_bandwidth", lambda: 1e9)
    row = profiler.Row("conv2d", "", "forward", 1, seconds=2.0, flops=10**9, bytes=10**6, dtype="float32")
    assert row.of_peak() == pytest.approx(0.25)
    row.dtype = "float64"
    assert row.of_peak() == pytest.approx(0.5)
    row.bytes = 1_500_000_000
    assert row.of_peak() == pytest.approx(0.75)
    row.bytes = 0
    assert row.of_peak() is None


def test_the_limits_are_measured_once():
    assert 1e8 < profiler.fma_peak("float64") < profiler.fma_peak("float32") * 1.5
    assert profiler.copy_bandwidth() == profiler.copy_bandwidth() > 1e8
    with mg.profile(peak=True) as p:
        mg.matmul(leaf(20, 20), leaf(20, 20))
    assert 0 < p.rows[0].of_peak() < 2
    assert str(p).splitlines()[0].endswith("of peak")


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_loops_that_measure_compute_what_they_should(dtype):
    lanes = VECTOR_BYTES // np.dtype(dtype).itemsize
    x = RNG.normal(size=machine.CHAINS * lanes).astype(dtype)
    total = machine.multiply_add(x, dtype(0.5), dtype(0.25), 3)
    assert total == pytest.approx(np.sum(((x * 0.5 + 0.25) * 0.5 + 0.25) * 0.5 + 0.25), rel=1e-5)
    y = np.zeros_like(x)
    machine.copy(x, y)
    np.testing.assert_array_equal(x, y)
