"""Linear layers: with the ReLU that follows at once, and all gradients in one launch, to the bits of the pieces."""

import numpy as np
import pytest

import minigrad as mg
from minigrad import functional as F, nn
from minigrad.ops.batch import GROUP

BOTH = pytest.mark.parametrize("dtype", [np.float32, np.float64])
# Samples, columns and filters: of tiles that are whole, cut off on each side, and of which there is but a part.
SIZES = [(64, 48, 36), (61, 37, 19), (7, 300, 10), (1, 5, 3), (9, 1, 1), (33, 16, 97), (GROUP + 21, 20, 7)]
LINEAR, RECTIFIED = mg.OPS["linear"], mg.OPS["linear_relu"]
GRADIENTS = mg.OPS["linear_gradients"]


def drawn(dtype, *shapes, seed=0):
    rng = np.random.default_rng(seed)
    return [rng.standard_normal(shape).astype(dtype) for shape in shapes]


def layer_arrays(dtype, samples, columns, filters):
    return drawn(dtype, (samples, columns), (filters, columns), (filters,))


@BOTH
@pytest.mark.parametrize("sizes", [*SIZES, (0, 3, 4)])
@pytest.mark.parametrize("with_input", [False, True])
@pytest.mark.parametrize("with_bias", [False, True])
@pytest.mark.parametrize("rows", [1, 5, 12])
def test_gradients_at_once_are_those_by_themselves(sizes, with_input, with_bias, rows, dtype):
    samples, columns, filters = sizes
    dy, x, w = drawn(dtype, (samples, filters), (samples, columns), (filters, columns))
    dw, *others = GRADIENTS(dy, x, w if with_input else None, with_bias=with_bias, rows=rows)
    np.testing.assert_array_equal(dw, mg.OPS["linear_weight_gradient"](dy, x, rows=rows))
    np.testing.assert_allclose(dw, dy.T.astype(float) @ x, atol=1e-3 if dtype is np.float32 else 1e-11)
    right = [mg.OPS["matmul"](dy, w)] if with_input else []
    right += [mg.OPS["channel_sum"](dy, rows=rows)] if with_bias else []
    for found, expected in zip(others, right, strict=True):
        np.testing.assert_array_equal(found, expected)
        assert found.dtype == dtype


@BOTH
def test_a_gradient_of_samples_of_several_rows_does_not_depend_on_which_others_are_wanted(dtype):
    x, w, b, dy = drawn(dtype, (43, 5, 21), (10, 21), (10,), (43, 5, 10))
    xs = [mg.tensor(a, requires_grad=True) for a in (x, w, b)]
    together = mg.grad(F.linear(*xs), xs, dy)
    for i in range(3):
        (alone,) = mg.grad(F.linear(*xs), xs[i], dy)
        np.testing.assert_array_equal(alone, together[i])


@pytest.mark.parametrize("shapes", [((4, 0), (4, 3), (0, 3)), ((4, 2), (4, 0), (2, 0))])
def test_gradients_of_empty_layers_are_sums_of_nothing(shapes):
    dy, x, w = drawn(np.float32, *shapes)
    dw, dx, db = GRADIENTS(dy, x, w)
    assert dw.shape == w.shape
    assert dx.shape == x.shape
    assert not dx.any()
    np.testing.assert_allclose(db, dy.sum(0), rtol=1e-6)


@BOTH
@pytest.mark.parametrize("sizes", SIZES)
def test_the_rectified_layer_is_the_chain_bit_for_bit(sizes, dtype):
    arrays = layer_arrays(dtype, *sizes)
    arrays[0][0, 0] = np.nan
    (dy,) = drawn(dtype, (sizes[0], sizes[2]), seed=1)
    for count in (2, 3):
        results = []
        for function in (RECTIFIED, lambda *xs: F.relu(LINEAR(*xs))):
            xs = [mg.tensor(a, requires_grad=True) for a in arrays[:count]]
            y = function(*xs)
            assert np.isnan(y.numpy() if not y.requires_grad else y.detach().numpy()).any()
            results.append([y, *mg.grad(y, xs, dy)])
        for fused, chained in zip(*results, strict=True):
            np.testing.assert_array_equal(fused.detach().numpy(), chained.detach().numpy())


def test_without_inputs_the_bias_alone_is_rectified():
    b = np.array([1, -2, np.nan], np.float32)
    x, w = np.ones((2, 0), np.float32), np.ones((3, 0), np.float32)
    np.testing.assert_array_equal(RECTIFIED(x, w, b), np.array([[1, 0, np.nan]] * 2))
    np.testing.assert_array_equal(LINEAR(x, w, b), np.stack([b] * 2))


@pytest.mark.parametrize("wanted", [(0,), (1,), (2,), (0, 1), (0, 2), (1, 2), (0, 1, 2)])
@pytest.mark.parametrize("op", [LINEAR, RECTIFIED])
def test_gradients_are_the_same_whichever_are_wanted(op, wanted):
    arrays, (dy,) = layer_arrays(np.float32, 21, 13, 9), drawn(np.float32, (21, 9), seed=1)

    def gradients(which):
        xs = [mg.tensor(a, requires_grad=i in which) for i, a in enumerate(arrays)]
        return mg.grad(op(*xs), [xs[i] for i in which], dy)

    whole = gradients((0, 1, 2))
    for i, found in zip(wanted, gradients(wanted), strict=True):
        np.testing.assert_array_equal(found.numpy(), whole[i].numpy())


def test_second_derivatives_of_the_rectified_layer_are_those_of_the_chain():
    arrays, (dy,) = layer_arrays(np.float64, 11, 5, 4), drawn(np.float64, (11, 4), seed=1)
    results = []
    for function in (RECTIFIED, lambda *xs: F.relu(LINEAR(*xs))):
        xs = [mg.tensor(a, requires_grad=True) for a in (*arrays, dy)]
        firsts = mg.grad(function(*xs[:3]) ** 2, xs[:3], xs[3], create_graph=True)
        results.append(mg.grad(sum((g * g).sum() for g in firsts), xs))
    for fused, chained in zip(*results, strict=True):
        np.testing.assert_allclose(fused.numpy(), chained.numpy(), rtol=1e-12, atol=1e-12)
        assert fused.numpy().any()


@pytest.mark.parametrize(
    ("shapes", "words"),
    [(((4, 2), (5, 3), (2, 3)), "need dy"), (((4, 2), (4, 3), (3, 2)), "need w"), (((4,), (4, 3), (1, 3)), "need dy")],
)
def test_gradients_refuse_what_does_not_fit(shapes, words):
    with pytest.raises(ValueError, match=f"linear_gradients: {words}"):
        GRADIENTS(*drawn(np.float32, *shapes))


class Chain:
    """A row of a linear layer and its ReLU, and which ops ran."""

    def __init__(self, first=None, second=None):
        mg.manual_seed(3)
        self.net = nn.Sequential(first or nn.Linear(6, 4), second or nn.ReLU(), nn.Linear(4, 2))

    def ops(self, *shape):
        with mg.profile() as p:
            y = self.net(mg.tensor(drawn(np.float32, shape)[0]))
            y.backward(np.ones(y.shape, np.float32))
        return {(row.op, row.module) for row in p.rows if row.phase == "forward"}


def test_a_linear_layer_and_its_relu_in_a_row_are_one_op_under_the_names_they_have():
    chain = Chain()
    assert chain.ops(5, 6) == {("linear_relu", "0"), ("linear", "2")}
    assert {name for name, p in chain.net.named_parameters() if p.grad is not None} == {
        "0.weight", "0.bias", "2.weight", "2.bias",
    }  # fmt: skip
    assert ("linear_relu", "0") in chain.ops(2, 3, 6)


def test_other_shapes_of_inputs_give_what_the_chain_gives():
    chain = Chain()
    for shape in ((6,), (2, 3, 6), (0, 6), (2, 0, 6)):
        x = drawn(np.float32, shape)[0]
        right = chain.net[2](F.relu(chain.net[0](mg.tensor(x))))
        found = chain.net(mg.tensor(x))
        assert found.shape == right.shape
        np.testing.assert_array_equal(found.detach().numpy(), right.detach().numpy())
    with pytest.raises(ValueError, match=r"linear: need input \(..., 6\)"):
        chain.net(mg.tensor(np.ones((2, 5), np.float32)))


@pytest.mark.parametrize("link", [0, 1])
@pytest.mark.parametrize("hook", ["register_forward_hook", "register_forward_pre_hook"])
def test_a_hook_on_a_link_sees_what_is_between_them(link, hook):
    chain, seen = Chain(), []
    x = mg.tensor(drawn(np.float32, (5, 6))[0])
    right = chain.net(x)
    with getattr(chain.net[link], hook)(lambda module, args, *output: seen.append(output[0] if output else args[0])):
        found = chain.net(x)
        assert "linear_relu" not in {op for op, _ in chain.ops(5, 6)}
    np.testing.assert_array_equal(found.detach().numpy(), right.detach().numpy())
    assert len(seen) == 2
    if (link, hook) in ((0, "register_forward_hook"), (1, "register_forward_pre_hook")):
        assert (seen[0].detach().numpy() < 0).any()  # before the gate
    assert "linear_relu" in {op for op, _ in chain.ops(5, 6)}


def test_classes_of_the_users_own_are_left_alone():
    class Own(nn.Linear):
        pass

    class Gate(nn.ReLU):
        pass

    for chain in (Chain(first=Own(6, 4)), Chain(second=Gate())):
        assert "linear_relu" not in {op for op, _ in chain.ops(5, 6)}


def test_anomaly_detection_names_the_module_that_made_a_nan():
    chain = Chain()
    with mg.detect_anomaly(), pytest.raises(FloatingPointError, match="forward of linear"):
        chain.net(mg.tensor(np.full((2, 6), np.nan, np.float32)))
