"""Every function of F that PyTorch has, against PyTorch: values and gradients over drawn shapes and settings."""

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings, strategies as st

import minigrad as mg
from minigrad import functional as F

pytestmark = pytest.mark.parity
torch = pytest.importorskip("torch")
torch_functional = torch.nn.functional

ROWS = {}
SEEDS = st.integers(0, 2**32 - 1)


def row(*names):
    """Registers how arrays and settings are drawn: `draw_case(draw, rng, name) -> (arrays, settings)`."""

    def register(draw_case):
        ROWS.update(dict.fromkeys(names, draw_case))
        return draw_case

    return register


def rank_of(name):
    return 2 if name.endswith("2d") else 1


def small(draw, least=1, most=3):
    return draw(st.integers(least, most))


@row("conv1d", "conv2d")
def conv(draw, rng, name):
    rank, groups = rank_of(name), small(draw, 1, 2)
    window, stride, dilation = ([small(draw) for _ in range(rank)] for _ in range(3))
    padding = [small(draw, 0, 2) for _ in range(rank)]
    spans = [d * (f - 1) + 1 for f, d in zip(window, dilation, strict=True)]
    sizes = [small(draw, max(1, s - 2 * p), 7) for s, p in zip(spans, padding, strict=True)]
    word = draw(st.sampled_from([None, None, "valid", "same"]))
    if word == "same":
        stride = [1] * rank
    elif word == "valid":
        sizes = [max(n, s) for n, s in zip(sizes, spans, strict=True)]
    c, k = groups * small(draw, 1, 2), groups * small(draw, 1, 2)
    arrays = [rng.standard_normal((small(draw, 0, 2), c, *sizes)), rng.standard_normal((k, c // groups, *window))]
    bias = rng.standard_normal(k) if draw(st.booleans()) else None
    return [*arrays, bias], {
        "stride": tuple(stride), "padding": word or tuple(padding), "dilation": tuple(dilation), "groups": groups,
    }  # fmt: skip


@row("conv_transpose1d", "conv_transpose2d")
def conv_transpose(draw, rng, name):
    rank, groups = rank_of(name), small(draw, 1, 2)
    window, stride, dilation = ([small(draw) for _ in range(rank)] for _ in range(3))
    padding = [small(draw, 0, 1) for _ in range(rank)]
    extra = [small(draw, 0, max(s, d) - 1) for s, d in zip(stride, dilation, strict=True)]
    sizes = [small(draw, 1, 4) for _ in range(rank)]
    results = [
        (n - 1) * s - 2 * p + d * (f - 1) + e + 1
        for n, s, p, d, f, e in zip(sizes, stride, padding, dilation, window, extra, strict=True)
    ]
    assume(min(results) > 0)
    c, k = groups * small(draw, 1, 2), small(draw, 1, 2)
    arrays = [rng.standard_normal((small(draw, 1, 2), c, *sizes)), rng.standard_normal((c, k, *window))]
    return [*arrays, rng.standard_normal(k * groups) if draw(st.booleans()) else None], {
        "stride": tuple(stride), "padding": tuple(padding), "output_padding": tuple(extra), "groups": groups,
        "dilation": tuple(dilation),
    }  # fmt: skip


def pooled(draw, rank, dilations):
    window, stride = ([small(draw) for _ in range(rank)] for _ in range(2))
    dilation = [small(draw, 1, dilations) for _ in range(rank)]
    padding = [small(draw, 0, f // 2) for f in window]
    spans = [d * (f - 1) + 1 for f, d in zip(window, dilation, strict=True)]
    sizes = [small(draw, max(d, s - 2 * p), 7) for d, s, p in zip(dilation, spans, padding, strict=True)]
    return (small(draw, 1, 2), 2, *sizes), {
        "kernel_size": tuple(window), "stride": tuple(stride), "padding": tuple(padding),
        "ceil_mode": draw(st.booleans()),
    }, tuple(dilation)  # fmt: skip


@row("max_pool1d", "max_pool2d")
def max_pool(draw, rng, name):
    shape, kwargs, dilation = pooled(draw, rank_of(name), 2)
    x = rng.integers(-1, 2, shape).astype(np.float64) if draw(st.booleans()) else rng.standard_normal(shape)
    if draw(st.booleans()):
        x[rng.random(shape) < 0.1] = -np.inf
    return [x], kwargs | {"dilation": dilation, "return_indices": draw(st.booleans())}


@row("avg_pool1d", "avg_pool2d")
def avg_pool(draw, rng, name):
    shape, kwargs, _ = pooled(draw, rank_of(name), 1)
    kwargs["count_include_pad"] = draw(st.booleans())
    if name == "avg_pool2d":
        kwargs["divisor_override"] = draw(st.sampled_from([None, 3, -2]))
    return [rng.standard_normal(shape)], kwargs


@row("max_unpool1d", "max_unpool2d")
def max_unpool(draw, rng, name):
    rank = rank_of(name)
    sizes = [small(draw, 3, 7) for _ in range(rank)]
    x = torch.tensor(rng.standard_normal((2, 2, *sizes)))
    y, indices = getattr(torch_functional, f"max_pool{rank}d")(x, 2, return_indices=True)
    return [y.numpy(), indices.numpy()], {"kernel_size": 2, "output_size": tuple(sizes)}


@row("adaptive_avg_pool1d", "adaptive_avg_pool2d")
def adaptive(draw, rng, name):
    rank = rank_of(name)
    x = rng.standard_normal((small(draw, 1, 2), 2, *(small(draw, 1, 6) for _ in range(rank))))
    return [x], {"output_size": tuple(small(draw, 1, 5) for _ in range(rank))}


def array(draw, rng, least=0, sizes=(0, 4)):
    return rng.standard_normal([small(draw, *sizes) for _ in range(small(draw, least, 3))])


@row("relu", "tanh", "sigmoid", "silu", "gelu", "leaky_relu", "elu", "softplus")
def activation(draw, rng, name):
    x = 3 * array(draw, rng)
    if draw(st.booleans()):
        special = np.array([0.0, -0.0, 1e4, -1e4, 20.5, np.nan])
        if name == "elu":  # at NaN PyTorch's derivative is 1 or NaN, by the place in the array
            special = special[:-1]
        x = np.where(rng.random(x.shape) < 0.3, rng.choice(special, x.shape), x)
    extra = {
        "gelu": {"approximate": draw(st.sampled_from(["none", "tanh"]))},
        "leaky_relu": {"negative_slope": draw(st.sampled_from([0.01, 0.3]))},
        "elu": {"alpha": draw(st.sampled_from([1.0, 0.4]))},
        "softplus": {"beta": draw(st.sampled_from([1.0, 2.0])), "threshold": draw(st.sampled_from([20.0, 1.0]))},
    }
    return [x], extra.get(name, {})


@row("softmax", "log_softmax")
def softmax(draw, rng, name):
    x = 5 * array(draw, rng, least=1)
    return [x], {"dim": draw(st.integers(-x.ndim, x.ndim - 1))}


@row("linear")
def linear(draw, rng, name):
    c, k = small(draw), small(draw)
    x = rng.standard_normal((*array(draw, rng).shape[:2], c))
    return [x, rng.standard_normal((k, c)), rng.standard_normal(k) if draw(st.booleans()) else None], {}


@row("embedding")
def embedding(draw, rng, name):
    numbers = rng.integers(0, 4, array(draw, rng).shape)
    return [numbers, rng.standard_normal((4, 3))], {"padding_idx": draw(st.sampled_from([None, 1, -1]))}


@row("one_hot")
def one_hot(draw, rng, name):
    return [rng.integers(0, 4, array(draw, rng, sizes=(1, 3)).shape)], {"num_classes": draw(st.sampled_from([-1, 4]))}


@row("pad")
def pad(draw, rng, name):
    mode = draw(st.sampled_from(["constant", "reflect", "replicate", "circular"]))
    least = -1 if mode == "constant" else 0
    x = rng.standard_normal((2, 2, *(small(draw, 2, 4) for _ in range(2))))
    widths = tuple(small(draw, least, 1) for _ in range(4))
    return [x], {"pad": widths, "mode": mode, **({"value": 1.5} if mode == "constant" else {})}


@row("interpolate")
def interpolate(draw, rng, name):
    rank = small(draw, 1, 2)
    x = rng.standard_normal((1, 2, *(small(draw, 1, 5) for _ in range(rank))))
    mode = draw(st.sampled_from(["nearest", "area", {1: "linear", 2: "bilinear"}[rank]]))
    kwargs = {"mode": mode}
    if "linear" in mode:
        kwargs["align_corners"] = draw(st.booleans())
    if draw(st.booleans()):
        return [x], kwargs | {"size": tuple(small(draw, 1, 8) for _ in range(rank))}
    return [x], kwargs | {"scale_factor": draw(st.sampled_from([1.0, 1.5, 2.0, 3.0]))}


@row("batch_norm")
def batch_norm(draw, rng, name):
    c, training = small(draw), draw(st.booleans())
    x = rng.standard_normal((small(draw, 2, 3), c, *array(draw, rng, sizes=(1, 3)).shape[:2]))
    running = [None, None] if training and draw(st.booleans()) else [rng.standard_normal(c), rng.uniform(1, 2, c)]
    affine = [rng.standard_normal(c) if draw(st.booleans()) else None for _ in range(2)]
    return [x, *running, *affine], {"training": training, "momentum": 0.3, "eps": draw(st.sampled_from([1e-5, 0.1]))}


@row("layer_norm")
def layer_norm(draw, rng, name):
    x = array(draw, rng, least=1, sizes=(2, 4))
    shape = x.shape[-small(draw, 1, x.ndim) :]
    return [x], {"normalized_shape": shape, "weight": rng.standard_normal(shape), "bias": rng.standard_normal(shape)}


@row("group_norm")
def group_norm(draw, rng, name):
    groups = small(draw)
    c = 2 * groups
    x = rng.standard_normal((2, c, *array(draw, rng, sizes=(1, 3)).shape[:2]))
    return [x], {"num_groups": groups, "weight": rng.standard_normal(c), "bias": rng.standard_normal(c)}


REDUCTIONS = st.sampled_from(["mean", "sum", "none"])


@row("mse_loss", "l1_loss", "huber_loss", "binary_cross_entropy", "binary_cross_entropy_with_logits")
def paired(draw, rng, name):
    shape = array(draw, rng, sizes=(1, 4)).shape
    x, t = (rng.uniform(0.01, 0.99, shape) for _ in range(2))
    kwargs = {"reduction": draw(REDUCTIONS)}
    if name == "binary_cross_entropy":
        kwargs["weight"] = rng.uniform(1, 2, shape) if draw(st.booleans()) else None
    else:
        x = 8 * x - 4
    if name == "huber_loss":
        kwargs["delta"] = draw(st.sampled_from([1.0, 2.5]))
    if name.endswith("_loss") and draw(st.booleans()):
        x, t = np.round(x), np.round(t)  # ties: where the derivative of |x| jumps
    if name.endswith("logits"):
        kwargs["pos_weight"] = rng.uniform(1, 2, shape) if draw(st.booleans()) else None
    return [x, t], kwargs


@row("nll_loss", "cross_entropy")
def classified(draw, rng, name):
    shape = draw(st.sampled_from([(3,), (4, 3), (2, 3, 2), (2, 3, 2, 2)]))
    dim = 0 if len(shape) == 1 else 1
    labels = rng.integers(0, 3, shape[:dim] + shape[dim + 1 :])
    ignored = draw(st.sampled_from([-100, 1]))
    if draw(st.booleans()):
        labels = np.where(rng.random(labels.shape) < 0.4, ignored, labels)
    kwargs = {"ignore_index": ignored, "reduction": draw(REDUCTIONS)}
    kwargs["weight"] = rng.uniform(1, 2, 3) if draw(st.booleans()) else None
    if name == "cross_entropy":
        kwargs["label_smoothing"] = draw(st.sampled_from([0.0, 0.2]))
        if draw(st.booleans()):
            del kwargs["ignore_index"]
            return [rng.standard_normal(shape), rng.dirichlet(np.ones(3), 8)[: labels.size].reshape(shape)
                    if dim == 1 and len(shape) == 2 else rng.uniform(0, 1, shape)], kwargs  # fmt: skip
    return [rng.standard_normal(shape), labels], kwargs


RANDOM = {"dropout", "dropout2d"}  # other random numbers; what they do with them is tested in test_activation.py


def test_every_function_that_pytorch_has_too_is_compared():
    both = {name for name in F.__all__ if hasattr(torch_functional, name) or hasattr(torch, name)}
    assert both - RANDOM == ROWS.keys()


def as_leaf(value, make, dtype):
    if not isinstance(value, (np.ndarray, np.generic)):
        return value
    value = np.asarray(value)  # arithmetic makes NumPy scalars of arrays without dimensions
    return make(value.astype(dtype), True) if value.dtype.kind == "f" else make(value, False)


def torch_leaf(value, requires_grad):
    return torch.tensor(value, requires_grad=requires_grad)


def mg_leaf(value, requires_grad):
    return mg.tensor(value, requires_grad=requires_grad)


def outcome(function, name, arrays, kwargs, make, dtype, seed, grad):
    """Output, the gradients of <output, random dy> by every floating array, and the running statistics."""
    inputs = [as_leaf(a, make, dtype) for a in arrays]
    given_ = {key: as_leaf(value, make, dtype) for key, value in kwargs.items()}
    constants = {"weight", "pos_weight"} if "loss" in name or "entropy" in name else set()
    for key in constants & given_.keys():
        given_[key] = given_[key] if given_[key] is None else given_[key].detach()
    statistics = [x.detach() for x in inputs[1:3] if x is not None] if name == "batch_norm" else []
    if statistics:
        inputs[1:3] = statistics
    y = function(*inputs, **given_)
    y, rest = (y[0], list(y[1:])) if isinstance(y, tuple) else (y, [])
    leaves = [x for x in (*inputs, *given_.values()) if getattr(x, "requires_grad", False)]
    if leaves:
        dy = np.random.default_rng(seed).standard_normal(tuple(y.shape)).astype(dtype)
        rest += grad(y, leaves, dy)
    return [np.asarray(a.detach().numpy()) for a in (y, *rest, *statistics)]


def torch_gradients(y, leaves, dy):
    return list(torch.autograd.grad(y, leaves, torch.tensor(dy)))


def mg_gradients(y, leaves, dy):
    return list(mg.grad(y, leaves, dy))


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning")
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", sorted(ROWS))
@settings(max_examples=30, suppress_health_check=[HealthCheck.filter_too_much, HealthCheck.too_slow])
@given(st.data())
def test_values_and_gradients_agree_with_pytorch(name, dtype, data):
    seed = data.draw(SEEDS)
    arrays, kwargs = ROWS[name](data.draw, np.random.default_rng(seed), name)
    theirs = getattr(torch_functional, name)
    right = outcome(theirs, name, arrays, kwargs, torch_leaf, dtype, seed, torch_gradients)
    with np.errstate(invalid="ignore"):
        found = outcome(getattr(F, name), name, arrays, kwargs, mg_leaf, dtype, seed, mg_gradients)
    tolerance = 1e-10 if dtype == np.float64 else 1e-4
    assert len(found) == len(right)
    for ours, expected in zip(found, right, strict=True):
        assert ours.shape == expected.shape
        assert ours.dtype == expected.dtype
        scale = np.max(np.abs(expected), where=np.isfinite(expected), initial=1.0)
        np.testing.assert_allclose(ours, expected, rtol=tolerance, atol=tolerance * min(scale, 10.0))


@pytest.mark.parametrize("mode", ["nearest", "linear"])
@pytest.mark.parametrize("scale", [0.4, 1.1, 1.3, 2.0, 2.7])
def test_scaled_sizes_pick_the_same_cells_as_in_pytorch(mode, scale):
    for size in range(3, 45):
        x = np.random.default_rng(size).standard_normal((1, 1, size), dtype=np.float32)
        expected = torch.nn.functional.interpolate(torch.tensor(x), scale_factor=scale, mode=mode).numpy()
        np.testing.assert_allclose(F.interpolate(x, scale_factor=scale, mode=mode), expected, rtol=1e-4, atol=1e-5)
