"""What minigrad.testing gives to users' tests: what it draws, how it shrinks, and the mistakes that it finds."""

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import Phase, find, given, settings, strategies as st

import minigrad as mg
from minigrad import functional as F, nn, random
from minigrad.testing import (
    LAYOUTS,
    ConvCase,
    LayerError,
    PoolCase,
    arrays,
    broadcastable_shapes,
    check_layer,
    conv_cases,
    pool_cases,
    shapes,
    tensors,
)

shrinking = settings(phases=(Phase.generate, Phase.shrink), database=None, max_examples=200)


def simplest(drawn, wanted=lambda value: True):
    """What Hypothesis shrinks to among the values that are wanted."""
    return find(drawn, wanted, settings=shrinking)


RANKS = pytest.mark.parametrize("rank", [1, 2])


def test_it_is_imported_on_first_use_and_names_the_command_that_installs_hypothesis():
    code = (
        "import sys, minigrad as mg; assert 'minigrad.testing' not in sys.modules\n"
        "sys.modules['hypothesis'] = None\n"
        "mg.testing"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)
    assert done.stderr.rstrip().endswith(
        'minigrad.testing needs hypothesis, which is not installed: python -m pip install "hypothesis"'
    )
    assert mg.testing.check_layer is check_layer
    with pytest.raises(AttributeError, match="has no attribute 'tests'"):
        mg.tests  # noqa: B018


# Strategies


@given(st.data(), st.integers(0, 2), st.integers(0, 2), st.integers(0, 2), st.integers(0, 2))
def test_shapes_keep_their_bounds(data, least, more, side, longer):
    shape = data.draw(shapes(least, least + more, side, side + longer))
    assert least <= len(shape) <= least + more
    assert all(side <= n <= side + longer for n in shape)


@given(broadcastable_shapes(count=3, min_dims=1, max_dims=4))
def test_shapes_that_are_drawn_to_broadcast_do(found):
    full = np.broadcast_shapes(*found)
    assert all(1 <= len(shape) <= len(full) <= 4 for shape in found)


@given(arrays(shapes(max_side=6), low=-1.0, high=3.0))
def test_values_are_distinct_and_not_0(x):
    assert len(np.unique(x)) == x.size
    if x.size:
        assert np.abs(x).min() >= 0.005
        assert np.diff(np.sort(x.ravel())).min(initial=1.0) >= 0.02


def test_ties_and_zeros_come_on_request():
    shape = (3, 4)
    assert np.unique(simplest(arrays(shape, ties=True), lambda x: len(np.unique(x)) < x.size)).size <= 4
    assert np.any(simplest(arrays(shape, zeros=True), lambda x: not x.all()))


@pytest.mark.parametrize("layout", list(LAYOUTS))
def test_each_layout_lies_in_memory_as_it_says(layout):
    x = simplest(arrays((3, 4), layouts=[layout]))
    is_c, is_fortran, is_writeable = x.flags.c_contiguous, x.flags.f_contiguous, x.flags.writeable
    expected = {
        "contiguous": (True, False, True),
        "strided": (False, False, True),
        "fortran": (False, True, True),
        "reversed": (False, False, True),
        "read-only": (True, False, False),
    }
    assert (is_c, is_fortran, is_writeable) == expected[layout]
    assert (x.strides[0] < 0) == (layout == "reversed")


@pytest.mark.parametrize("layout", list(LAYOUTS))
@pytest.mark.parametrize("shape", [(), (0,), (0, 2), (1, 1)])
def test_layouts_keep_shapes_that_have_little_to_lay_out(layout, shape):
    x = np.ones(shape)
    y = LAYOUTS[layout](x)
    assert y.shape == shape
    assert not np.may_share_memory(x, y)


@given(tensors(shapes(), st.sampled_from([np.float32, np.float64]), layouts=list(LAYOUTS)))
def test_tensors_require_grad_and_share_the_layout_that_was_drawn(x):
    assert x.requires_grad
    assert mg.grad(x * 2, x, np.ones(x.shape))[0].dtype == x.dtype


@RANKS
@settings(max_examples=50)
@given(data=st.data())
def test_a_convolution_of_a_drawn_case_has_the_output_shape_that_the_case_says(rank, data):
    case = data.draw(conv_cases(rank, asymmetric=True))
    conv = {1: F.conv1d, 2: F.conv2d}[rank]
    y = conv(case.input(), np.ones(case.weight_shape, case.dtype), **case.settings)
    assert (y.shape, y.dtype) == (case.output_shape, case.dtype)


@RANKS
@settings(max_examples=50)
@given(data=st.data())
def test_a_pooling_of_a_drawn_case_has_the_output_shape_that_the_case_says(rank, data):
    case = data.draw(pool_cases(rank, asymmetric=True, max_kernel=4, max_dilation=4))
    y = {1: F.max_pool1d, 2: F.max_pool2d}[rank](case.input(), **case.settings)
    assert (y.shape, y.dtype) == (case.output_shape, case.dtype)
    if case.dilation == (1,) * rank:
        assert {1: F.avg_pool1d, 2: F.avg_pool2d}[rank](case.input(), **case.settings).shape == y.shape


@RANKS
def test_cases_shrink_to_one_cell_and_their_repr_says_no_more_and_builds_them_again(rank):
    ones = (1,) * rank
    assert repr(simplest(conv_cases(rank))) == f"ConvCase(sizes={ones}, kernel_size={ones})"
    assert repr(simplest(pool_cases(rank))) == f"PoolCase(sizes={ones}, kernel_size={ones})"
    for drawn in (conv_cases(rank, asymmetric=True), pool_cases(rank, asymmetric=True)):
        case = simplest(drawn, lambda case: case.batch == 0 and case.dilation[0] * case.kernel_size[0] > 2)
        assert eval(repr(case), {"ConvCase": ConvCase, "PoolCase": PoolCase}) == case


@RANKS
@settings(max_examples=50)
@given(data=st.data())
def test_a_bound_of_1_turns_a_feature_off(rank, data):
    off = dict.fromkeys(("max_stride", "max_dilation", "max_groups", "max_channels", "max_batch"), 1)
    case = data.draw(conv_cases(rank, **off, max_padding=0, empty=False, dtypes=["float32"]))
    assert case.settings == {"stride": (1,) * rank, "padding": (0,) * rank, "dilation": (1,) * rank, "groups": 1}
    assert case.input().shape == (1, 1, *case.sizes)
    assert case.input().dtype == np.float32


def test_a_case_that_fits_nowhere_is_refused():
    with pytest.raises(ValueError, match="ConvCase: a window of 3 cells"):
        ConvCase(sizes=(2,), kernel_size=(3,))


# check_layer

ALL = (
    "unchanged inputs", "determinism", "gradients", "second order", "dtype", "batch independence", "memory layouts",
    "empty batch", "state_dict",
)  # fmt: skip


def conv_layer(case):
    return nn.Conv2d(case.in_channels, case.out_channels, case.kernel_size, **case.settings)


@settings(max_examples=3)
@given(conv_cases(2, max_size=3, asymmetric=True))
def test_a_right_layer_has_every_property(case):
    assert check_layer(conv_layer, case).ran == ALL


def test_a_layer_may_be_a_module_an_op_or_a_function_and_what_is_not_checked_is_said():
    x = mg.tensor(np.linspace(-1, 1, 6).reshape(2, 3))
    assert check_layer(nn.Linear(3, 2), x).ran == ALL
    assert check_layer(nn.Dropout(), x.numpy()).ran == ALL
    assert check_layer(mg.OPS["relu"], ConvCase(sizes=(3,), kernel_size=(1,))).ran == ALL[:-1]
    assert set(check_layer(lambda i: i * 2, np.arange(3)).skipped.values()) == {
        "nothing requires grad",
        "a function has no state",
    }
    report = check_layer(lambda x, w: x @ w, (x, np.ones((3, 2))), skip=["second order"])
    assert report.skipped == {"second order": "left out on request", "state_dict": "a function has no state"}
    assert str(report).splitlines()[1:] == [f"skipped: {k}: {v}" for k, v in report.skipped.items()]
    assert check_layer(nn.BatchNorm1d(3), x, batch_independent=False).skipped == {
        "batch independence": "batch_independent=False"
    }


def test_random_numbers_go_on_as_if_nothing_had_been_checked():
    mg.manual_seed(3)
    expected = random.key()
    mg.manual_seed(3)
    check_layer(nn.Dropout(), np.ones((2, 3)))
    assert random.key() == expected


def test_what_check_layer_cannot_use_is_refused():
    with pytest.raises(ValueError, match=r"need names of checks to skip, unchanged inputs, .* got \['speed'\]"):
        check_layer(nn.ReLU(), np.ones(2), skip=["speed"])
    with pytest.raises(TypeError, match="need a module or a function, got int"):
        check_layer(3, np.ones(2))
    with pytest.raises(TypeError, match="need a function that builds a layer from the case, got 3"):
        check_layer(lambda case: 3, ConvCase(sizes=(3,), kernel_size=(1,)))
    with pytest.raises(ValueError, match=r"input 0 has no batch axis.*batched=0"):
        check_layer(nn.ReLU(), np.array(1.0))
    with pytest.raises(TypeError, match="need a layer that returns tensors, got ndarray"):
        check_layer(lambda x: x.detach().numpy(), np.ones(2), skip=["gradients", "second order"])
    with pytest.raises(Exception, match="ConvCase") as raised:
        check_layer(F.relu, ConvCase(sizes=(3,), kernel_size=(1,)))
    assert "to build a layer from it" in raised.value.__notes__[0]


def pair(forward, backward):
    """An op of two functions on arrays."""
    return mg.op.pair(forward, backward, name="planted")


def copied(x):
    return x.copy()


def same(dy, x):
    return dy.copy()


def shifted(x):
    x += 1
    return x.copy()


def halving(dy, x):
    dy *= 0.5
    return dy * 2


def uneven(x):
    return x + np.random.default_rng().random()


def of_the_batch(dy, x):
    return dy + 1e-3 * dy.mean(0)


@mg.op
def planted_square(x):
    return x * x, (x,)


@planted_square.vjp
def planted_square_vjp(dy, x):
    return dy * 2 * (x.detach() if isinstance(x, mg.Tensor) else x)


class Forgetful(nn.Module):
    """Keeps its weight where no state dict finds it."""

    def __init__(self, case):
        super().__init__()
        self.weight = [mg.tensor(random.generator().normal(size=3))]

    def forward(self, x):
        return x * self.weight[0].to(x.dtype)


class Moving(nn.Module):
    """Changes its weight as it computes."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(np.ones(3))

    def forward(self, x):
        y = x * self.weight.detach()
        self.weight.detach().add_(1.0)
        return y


def largest_of_all(x):
    return x / abs(x.detach().numpy()).max()


def contiguity(x):
    return float(x.detach().numpy().flags.c_contiguous)


def refusing_read_only(x):
    x.detach().numpy().view().flags.writeable = True
    return x * 2


# A layer, the check that should name its mistake, part of the message, and what to leave out to come to it.
MISTAKES = {
    "a gradient of another size": (pair(copied, lambda dy, x: dy * 1.01), "gradients", "6 of 36 elements", ()),
    "a wrong second derivative": (planted_square, "second order", "0", ()),
    "arithmetic in float64": (lambda x: x.double(), "dtype", "came a float64 output", ()),
    "parameters in float64": (lambda x: x * mg.tensor(np.ones(3)), "dtype", "came a float64 output", ()),
    "centred by the batch": (
        lambda x: x - x.mean(dim=0, keepdim=True),
        "batch independence",
        "sample 0 of 2 changes with the others: output[1] is",
        (),
    ),
    "a gradient of the whole batch": (
        pair(copied, of_the_batch),
        "batch independence",
        "with the others: gradient by x[0] is",
        ("gradients",),
    ),
    "a sum over the batch": (lambda x: x.sum(0), "batch independence", "of 2 samples came an output of shape (3,)", ()),
    "a forward that changes its input": (pair(shifted, same), "unchanged inputs", "forward changed x[0, 0]", ()),
    "a forward that changes a parameter": (Moving(), "unchanged inputs", "forward changed weight[0]", ()),
    "a backward that changes dy": (pair(copied, halving), "unchanged inputs", "backward changed dy 0[0, 0]", ()),
    "a result by strides": (lambda x: x * contiguity(x), "memory layouts", "strided inputs give something else", ()),
    "a write to what may be read only": (refusing_read_only, "memory layouts", "read-only inputs raise ValueError", ()),
    "no empty batch": (
        largest_of_all,
        "empty batch",
        "no samples raise ValueError",
        ("gradients", "second order", "batch independence"),
    ),
    "an empty batch of one sample": (
        lambda x: x * 2 if len(x) else mg.tensor(np.zeros((1, 3))),
        "empty batch",
        "need an output float64[0, 3] of no samples, got float64[1, 3]",
        (),
    ),
    "random numbers of its own": (pair(uneven, same), "determinism", "the second run differs: output[0, 0]", ()),
    "a weight outside the state": (Forgetful, "state_dict", "loaded into another layer, output[0, 0, 0] is", ()),
}


@pytest.mark.parametrize("mistake", list(MISTAKES))
def test_a_mistake_is_found_by_the_check_of_its_property(mistake):
    layer, check, words, skip = MISTAKES[mistake]
    case = np.array([[0.5, -1.0, 2.0], [1.5, 0.25, -0.75]])
    if layer is Forgetful:
        case = ConvCase(batch=2, sizes=(3,), kernel_size=(1,))
    with pytest.raises(LayerError) as raised:
        check_layer(layer, case, skip=skip)
    assert raised.value.check == check
    assert words in str(raised.value)


def test_a_pair_of_kernels_is_excused_from_second_derivatives():
    report = check_layer(pair(copied, same), np.ones((2, 3)))
    assert "first derivatives only" in report.skipped["second order"]
    assert report.ran == tuple(name for name in ALL if name not in ("second order", "state_dict"))


class StridedWrongly(nn.Conv1d):
    """A convolution whose input gets a gradient from every second output, if the stride is not 1."""

    def forward(self, x):
        y = super().forward(x)
        if self.stride == (1,):
            return y
        kept = np.arange(y.shape[-1]) % 2 == 0
        return mg.where(kept, y, y.detach() + super().forward(x.detach()) - super().forward(x.detach()).detach())


def test_under_hypothesis_a_failing_case_shrinks_to_the_least_geometry():
    def fails(case):
        try:
            check_layer(StridedWrongly(case.in_channels, case.out_channels, case.kernel_size, **case.settings), case)
        except LayerError as error:
            return error.check == "gradients"
        return False

    case = simplest(conv_cases(1), fails)
    assert case == ConvCase(sizes=(3,), kernel_size=(1,), stride=(2,))
