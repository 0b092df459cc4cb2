"""Initial values: bounds, moments and shapes of distributions, and the seed."""

import math

import numpy as np
import pytest
from scipy import stats

import minigrad as mg
from minigrad import nn
from minigrad.nn import init

SHAPE = (64, 16, 5, 5)  # fan in 400, fan out 1600
P_VALUE = 1e-4  # with fixed seeds these tests cannot flicker


@pytest.fixture(autouse=True)
def _seed():
    mg.manual_seed(7)


def blank(*shape):
    return nn.Parameter(np.zeros(shape or SHAPE))


def fits(tensor, distribution):
    return stats.kstest(tensor.data.ravel(), distribution.cdf).pvalue > P_VALUE


def uniform(bound):
    return stats.uniform(-bound, 2 * bound)


DRAWS = [
    (lambda t: init.uniform_(t, -2.0, 5.0), stats.uniform(-2, 7)),
    (lambda t: init.normal_(t, 1.0, 3.0), stats.norm(1, 3)),
    (lambda t: init.xavier_uniform_(t, 2.0), uniform(2 * math.sqrt(6 / 2000))),
    (lambda t: init.xavier_normal_(t), stats.norm(0, math.sqrt(2 / 2000))),
    (lambda t: init.kaiming_uniform_(t, a=math.sqrt(5)), uniform(1 / 20)),
    (lambda t: init.kaiming_uniform_(t, mode="fan_out", nonlinearity="tanh"), uniform(5 / 3 * math.sqrt(3) / 40)),
    (lambda t: init.kaiming_normal_(t, nonlinearity="relu"), stats.norm(0, math.sqrt(2) / 20)),
    (lambda t: init.trunc_normal_(t), stats.truncnorm(-2, 2)),
    (lambda t: init.trunc_normal_(t, 1.0, 0.5, 0.0, 9.0), stats.truncnorm(-2, 16, 1.0, 0.5)),
    (lambda t: init.trunc_normal_(t, 0.0, 1.0, 4.0, math.inf), stats.truncnorm(4, math.inf)),
    (lambda t: init.trunc_normal_(t, 0.0, 1.0, -math.inf, -30.0), stats.truncnorm(-math.inf, -30)),
]


@pytest.mark.parametrize(("draw", "distribution"), DRAWS)
def test_draws_follow_their_distributions(draw, distribution):
    tensor = blank()
    assert draw(tensor) is tensor
    assert fits(tensor, distribution)
    low, high = distribution.support()
    assert low <= tensor.data.min() <= tensor.data.max() <= high


LAYERS = [
    (nn.Linear(300, 200), 300),
    (nn.Conv1d(30, 200, 5), 150),
    (nn.Conv2d(16, 128, 3, groups=2), 72),
    (nn.Conv1x1(100, 200), 100),
    (nn.ConvTranspose1d(64, 200, 5), 1000),
    (nn.ConvTranspose2d(16, 128, 3, groups=2), 576),
    (nn.LocallyConnected1d(4, 8, 60, 3), 12),
    (nn.LocallyConnected2d(3, 8, 9, 3), 27),
]


@pytest.mark.parametrize(("layer", "terms"), LAYERS, ids=lambda value: type(value).__name__)
def test_layers_start_uniformly_within_one_over_the_root_of_their_terms(layer, terms):
    layer.double()
    layer.reset_parameters()
    assert fits(layer.weight, uniform(1 / math.sqrt(terms)))
    assert fits(layer.bias, uniform(1 / math.sqrt(terms)))


def test_embedding_starts_normally_and_norms_at_one_and_zero():
    assert fits(nn.Embedding(300, 40).weight, stats.norm())
    for norm in (nn.BatchNorm1d(4), nn.BatchNorm2d(4), nn.LayerNorm(4), nn.GroupNorm(2, 4)):
        np.testing.assert_array_equal(norm.weight.detach(), np.ones(4))
        np.testing.assert_array_equal(norm.bias.detach(), np.zeros(4))


@pytest.mark.parametrize("shape", [(3, 8), (8, 3), (4, 2, 3), (5, 5)])
def test_orthogonal_rows_or_columns(shape):
    tensor = blank(*shape)
    init.orthogonal_(tensor, gain=2.0)
    matrix = tensor.data.reshape(shape[0], -1)
    product = matrix @ matrix.T if matrix.shape[0] <= matrix.shape[1] else matrix.T @ matrix
    np.testing.assert_allclose(product, 4 * np.eye(len(product)), atol=1e-12)


def test_orthogonal_matrices_have_no_preferred_sign():
    corners = [init.orthogonal_(blank(2, 2)).data[0, 0] for _ in range(200)]
    assert stats.kstest(corners, stats.arcsine(-1, 2).cdf).pvalue > P_VALUE


def test_constants():
    tensor = blank(3, 2)
    for fill, value in [(lambda t: init.constant_(t, 0.3), 0.3), (init.ones_, 1.0), (init.zeros_, 0.0)]:
        assert fill(tensor) is tensor
        np.testing.assert_array_equal(tensor.detach(), np.full((3, 2), value))
    assert tensor.requires_grad


def test_the_seed_decides_and_the_dtype_only_rounds():
    def layers(dtype):
        mg.manual_seed(3)
        return [nn.Linear(5, 4, dtype=dtype), nn.Conv2d(2, 3, 3, dtype=dtype)]

    for once, again, double in zip(layers(None), layers(None), layers(np.float64), strict=True):
        assert once.weight.dtype == np.float32
        assert double.bias.dtype == np.float64
        np.testing.assert_array_equal(once.weight.detach(), again.weight.detach())
        np.testing.assert_array_equal(once.weight.data, double.weight.data.astype(np.float32))
    assert not np.array_equal(nn.Linear(5, 4).weight.data, nn.Linear(5, 4).weight.data)


def test_a_value_saved_for_backward_cannot_be_drawn_anew():
    w = nn.Parameter([1.0, 2.0])
    y = w * w
    init.uniform_(w)
    with pytest.raises(RuntimeError, match="changed in place"):
        y.backward([1.0, 1.0])


def test_a_normal_distribution_may_be_cut_off_anywhere():
    """Nearly all is then at the bound."""
    for mean, a, b in [(0.0, 1e150, math.inf), (-1e300, 5.0, 6.0), (1e300, 5.0, 6.0), (0.0, 1e6, 1e6 + 1)]:
        x = init.trunc_normal_(mg.tensor(np.zeros(100)), mean, 1.0, a, b).numpy()
        assert np.all((x >= a) & (x <= b))
        np.testing.assert_allclose(x, b if mean > b else a, rtol=1e-4)


WRONG = [
    (lambda: init.uniform_(np.zeros(3)), TypeError, "uniform_: need a floating tensor, got ndarray"),
    (lambda: init.zeros_(mg.tensor([1])), TypeError, "constant_: need a floating tensor, got int64"),
    (lambda: init.kaiming_normal_(blank(3)), ValueError, "2 or more dimensions"),
    (lambda: init.kaiming_normal_(blank(), mode="fan"), ValueError, "need mode 'fan_in' or 'fan_out'"),
    (lambda: init.orthogonal_(blank(3)), ValueError, "2 or more dimensions"),
    (lambda: init.trunc_normal_(blank(), a=1.0, b=1.0), ValueError, "need a < b, std > 0 and a finite mean"),
    (lambda: init.trunc_normal_(blank(), mean=math.inf), ValueError, "need a < b, std > 0 and a finite mean"),
    (lambda: init.uniform_(blank(), 1.0, 0.0), ValueError, "uniform_: need finite a <= b, got 1.0 and 0.0"),
    (lambda: init.normal_(blank(), std=-1.0), ValueError, "normal_: need std >= 0"),
    (lambda: init.xavier_normal_(blank(), -1.0), ValueError, "need a finite gain >= 0"),
    (lambda: init.uniform_(blank(), "0"), TypeError, "uniform_: need a as a number, got '0'"),
    (lambda: init.calculate_gain("swish"), ValueError, "calculate_gain: need one of"),
]


@pytest.mark.parametrize(("use", "error", "message"), WRONG)
def test_wrong_arguments_are_named(use, error, message):
    with pytest.raises(error, match=message):
        use()
