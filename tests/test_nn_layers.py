"""Layers: they hand their settings to the functions of their names; containers; losses; normalisation's state."""

import numpy as np
import pytest
from hypothesis import given, strategies as st

import minigrad as mg
from minigrad import functional as F, nn

RNG = np.random.default_rng(1)


def samples(*shape):
    return mg.tensor(RNG.normal(size=shape))


def same(a, b):
    np.testing.assert_array_equal(a.detach(), b.detach())


def test_containers_run_index_and_change_like_lists():
    a, b, c, d = (nn.Linear(2, 2) for _ in range(4))
    row = nn.Sequential(a, b)
    assert row.append(c) is row
    assert [name for name, _ in row.named_children()] == ["0", "1", "2"]
    assert row[0] is a
    assert row[-1] is c
    assert list(row[1:]) == [b, c]
    assert type(row[1:]) is nn.Sequential
    assert len(row) == 3
    row.insert(0, d)
    assert list(row) == [d, a, b, c]
    del row[1]
    row[0] = a
    assert list(row.state_dict()) == [f"{i}.{name}" for i in range(3) for name in ("weight", "bias")]
    assert list(row) == [a, b, c]
    with pytest.raises(IndexError, match="index 3 is out of range for 3"):
        row[3]
    part = row[1:].append(d)  # its names start at 1
    assert list(part) == [b, c, d]
    modules = nn.ModuleList(nn.Linear(2, 2) for _ in range(3))
    assert [name for name, _ in modules[1:].extend([nn.Tanh()]).named_children()] == ["0", "1", "2"]
    with pytest.raises(TypeError, match="need a Module or None, got function"):
        nn.Sequential(F.relu)


def test_sequential_passes_outputs_on_and_takes_names():
    x, named = samples(3, 2), nn.Sequential({"first": nn.Linear(2, 4), "second": nn.Linear(4, 1)}).double()
    same(named(x), named.second(named.first(x)))
    assert list(named.state_dict()) == ["first.weight", "first.bias", "second.weight", "second.bias"]
    assert nn.Sequential()(x) is x


def test_a_module_dict_is_a_dict_whose_members_are_found():
    modules = nn.ModuleDict({"a": nn.Linear(2, 2)})
    modules["b"] = nn.Linear(2, 3)
    modules.update([("c", nn.Tanh())])
    assert list(modules) == list(modules.keys()) == ["a", "b", "c"]
    assert list(modules.values()) == [modules["a"], modules["b"], modules["c"]]
    assert dict(modules.items())["b"] is modules["b"]
    assert "b" in modules
    assert len(list(modules.parameters())) == 4
    del modules["b"]
    assert len(modules) == 2
    with pytest.raises(KeyError):
        modules["b"]


WINDOWS = [
    {"stride": 2, "padding": 1, "dilation": 2},
    {"padding": "same", "stride": 2},
    {"padding": "valid"},
]


@pytest.mark.parametrize("settings", [*WINDOWS, {"padding": ((0, 2), (1, 0)), "stride": (2, 1)}, {"groups": 2}])
def test_conv2d_hands_its_settings_on(settings):
    layer, x = nn.Conv2d(4, 6, (2, 3), **settings, dtype=np.float64), samples(2, 4, 7, 8)
    same(layer(x), F.conv2d(x, layer.weight, layer.bias, **settings))


@pytest.mark.parametrize("settings", [*WINDOWS, {"padding": ((2, 0),)}, {"groups": 2}])
def test_conv1d_hands_its_settings_on(settings):
    layer, x = nn.Conv1d(4, 6, 3, **settings, bias=False).double(), samples(2, 4, 9)
    assert layer.bias is None
    same(layer(x), F.conv1d(x, layer.weight, None, **settings))


@pytest.mark.parametrize(
    "settings", [{"stride": 2, "padding": 1, "output_padding": 1}, {"groups": 2, "dilation": 2}, {"padding": "same"}]
)
def test_transposed_convolutions_hand_their_settings_on(settings):
    for layer, function, x in [
        (nn.ConvTranspose1d(4, 6, 3, **settings), F.conv_transpose1d, samples(2, 4, 5)),
        (nn.ConvTranspose2d(4, 6, 3, **settings), F.conv_transpose2d, samples(2, 4, 5, 4)),
    ]:
        layer.double()
        same(layer(x), function(x, layer.weight, layer.bias, **settings))


def test_conv1x1_is_a_convolution_of_one_cell():
    layer = nn.Conv1x1(3, 5).double()
    image, signal = samples(2, 3, 4, 6), samples(2, 3, 7)
    expected = F.conv2d(image, layer.weight.reshape(5, 3, 1, 1), layer.bias)
    np.testing.assert_allclose(layer(image).detach(), expected.detach(), rtol=1e-13, atol=1e-13)
    expected = F.conv1d(signal, layer.weight.reshape(5, 3, 1), layer.bias)
    np.testing.assert_allclose(layer(signal).detach(), expected.detach(), rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("settings", [*WINDOWS, {"padding": ((0, 2), (1, 0))}])
def test_locally_connected_layers_with_one_filter_everywhere_are_convolutions(settings):
    x = samples(2, 3, 6, 7)
    shared, local = nn.Conv2d(3, 4, (2, 3), **settings), nn.LocallyConnected2d(3, 4, (6, 7), (2, 3), **settings)
    shared.double(), local.double()
    local.weight.detach().copy_(np.broadcast_to(shared.weight.data, local.weight.shape))
    local.bias.detach().copy_(np.broadcast_to(shared.bias.data[:, None, None], local.bias.shape))
    assert local.output_size == shared(x).shape[2:] == local.bias.shape[1:]
    np.testing.assert_allclose(local(x).detach(), shared(x).detach(), rtol=1e-12, atol=1e-13)


def test_locally_connected1d_has_a_filter_for_each_place():
    layer, x = nn.LocallyConnected1d(2, 3, 7, 3, stride=2, padding=1).double(), samples(2, 2, 7)
    assert layer.weight.shape == (4, 3, 2, 3)
    assert layer.bias.shape == (3, 4)
    padded = np.pad(x.data, ((0, 0), (0, 0), (1, 1)))
    for i in range(4):
        window = padded[:, :, 2 * i : 2 * i + 3]
        expected = np.einsum("kcf,ncf->nk", layer.weight.data[i], window) + layer.bias.data[:, i]
        np.testing.assert_allclose(layer(x).detach().data[:, :, i], expected, rtol=1e-13, atol=1e-13)
    assert nn.LocallyConnected1d(2, 3, 7, 3, bias=False).bias is None


def test_pools_hand_their_settings_on():
    x, signal = samples(2, 3, 7, 8), samples(2, 3, 9)
    largest = {"kernel_size": 3, "stride": 2, "padding": ((1, 0), (0, 2)), "dilation": 1, "ceil_mode": True}
    same(nn.MaxPool2d(**largest)(x), F.max_pool2d(x, **largest))
    same(nn.MaxPool1d(3, dilation=2)(signal), F.max_pool1d(signal, 3, dilation=2))
    mean = {"kernel_size": (3, 2), "stride": 2, "padding": 1, "ceil_mode": True, "count_include_pad": False}
    same(nn.AvgPool2d(**mean)(x), F.avg_pool2d(x, **mean))
    same(nn.AvgPool2d(2, divisor_override=3)(x), F.avg_pool2d(x, 2, divisor_override=3))
    mean["kernel_size"] = 3
    same(nn.AvgPool1d(**mean)(signal), F.avg_pool1d(signal, **mean))
    same(nn.AdaptiveAvgPool2d((3, None))(x), F.adaptive_avg_pool2d(x, (3, None)))
    same(nn.AdaptiveAvgPool1d(4)(signal), F.adaptive_avg_pool1d(signal, 4))
    same(nn.GlobalAvgPool2d()(x), F.global_avg_pool2d(x))
    same(nn.GlobalAvgPool1d()(signal), F.global_avg_pool1d(signal))
    same(nn.Upsample(scale_factor=2)(x), F.interpolate(x, scale_factor=2))
    same(nn.Upsample((5, 9), mode="bilinear", align_corners=True)(x), F.interpolate(x, (5, 9), None, "bilinear", True))


def test_unpooling_puts_the_largest_values_back():
    for rank, pool, unpool in [(1, nn.MaxPool1d, nn.MaxUnpool1d), (2, nn.MaxPool2d, nn.MaxUnpool2d)]:
        x = samples(2, 3, *(7,) * rank)
        y, indices = pool(2, return_indices=True)(x)
        back = unpool(2)(y, indices, output_size=x.shape[2:])
        assert back.shape == x.shape
        kept = back.data != 0
        assert kept.sum() == y.numel()
        np.testing.assert_array_equal(back.data[kept], x.data[kept])


ACTIVATIONS = [
    (nn.ReLU(), lambda x: np.maximum(x, 0)),
    (nn.LeakyReLU(0.3), lambda x: np.where(x > 0, x, 0.3 * x)),
    (nn.ELU(0.7), lambda x: np.where(x > 0, x, 0.7 * np.expm1(x))),
    (nn.SiLU(), lambda x: x / (1 + np.exp(-x))),
    (nn.GELU("tanh"), lambda x: x / 2 * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))),
    (nn.Softplus(2.0), lambda x: np.log1p(np.exp(2 * x)) / 2),
    (nn.Tanh(), np.tanh),
    (nn.Sigmoid(), lambda x: 1 / (1 + np.exp(-x))),
    (nn.Softmax(0), lambda x: np.exp(x) / np.exp(x).sum(0)),
    (nn.LogSoftmax(1), lambda x: x - np.log(np.exp(x).sum(1, keepdims=True))),
    (nn.Identity("anything", at="all"), lambda x: x),
    (nn.Flatten(), lambda x: x.reshape(4, 6)),
    (nn.Flatten(0, 1), lambda x: x.reshape(8, 3)),
]


@pytest.mark.parametrize(("layer", "formula"), ACTIVATIONS, ids=lambda value: str(value)[:20])
def test_activations_follow_their_formulas(layer, formula):
    x = samples(4, 2, 3)
    np.testing.assert_allclose(layer(x), formula(x.data), rtol=1e-12, atol=1e-13)
    np.testing.assert_allclose(layer(x.data), formula(x.data), rtol=1e-12, atol=1e-13)  # arrays do as well


@pytest.mark.parametrize("kind", [nn.Dropout, nn.Dropout2d])
def test_dropout_drops_in_training_only(kind):
    layer, x = kind(0.4), mg.tensor(np.ones((50, 40, 3, 3)))
    y = layer(x).data
    assert set(np.unique(y)) == {0.0, 1 / 0.6}
    assert abs((y == 0).mean() - 0.4) < 0.05
    assert (kind is nn.Dropout2d) == bool(np.all(y == y[:, :, :1, :1]))
    assert not np.array_equal(y, layer(x).data)
    np.testing.assert_array_equal(layer.eval()(x), x)
    with pytest.raises(ValueError, match="need 0 <= p <= 1"):
        kind(1.5)


def test_embedding_looks_rows_up_and_its_padding_row_does_not_learn():
    layer = nn.Embedding(5, 3, padding_idx=-1).double()
    index, dy = np.array([[0, 4], [2, 2]]), RNG.normal(size=(2, 2, 3))
    assert layer.padding_idx == 4
    assert not np.any(layer.weight.data[4])
    y = layer(index)
    np.testing.assert_array_equal(y.detach(), layer.weight.data[index])
    y.backward(dy)
    expected = np.zeros((5, 3))
    expected[0], expected[2] = dy[0, 0], dy[1].sum(0)
    np.testing.assert_allclose(layer.weight.grad, expected, rtol=1e-14)
    with pytest.raises(ValueError, match="padding_idx within 5 rows"):
        nn.Embedding(5, 3, padding_idx=5)


@pytest.mark.parametrize("momentum", [0.3, None])
def test_batch_norm_remembers_its_batches(momentum):
    layer = nn.BatchNorm2d(3, momentum=momentum).double()
    batches = [RNG.normal(2.0, 3.0, size=(4, 3, 2, 5)) for _ in range(3)]
    mean, var = np.zeros(3), np.ones(3)
    for i, batch in enumerate(batches):
        part = momentum if momentum is not None else 1 / (i + 1)
        layer(mg.tensor(batch))
        mean = (1 - part) * mean + part * batch.mean((0, 2, 3))
        var = (1 - part) * var + part * batch.var((0, 2, 3), ddof=1)
    np.testing.assert_allclose(layer.running_mean, mean, rtol=1e-12)
    np.testing.assert_allclose(layer.running_var, var, rtol=1e-12)
    assert layer.num_batches_tracked.item() == 3
    assert layer.num_batches_tracked.dtype == np.int64
    x = batches[0]
    y = layer.eval()(mg.tensor(x)).detach()
    expected = (x - mean[:, None, None]) / np.sqrt(var[:, None, None] + layer.eps)
    np.testing.assert_allclose(y, expected, rtol=1e-11, atol=1e-12)
    assert layer.num_batches_tracked.item() == 3


def test_batch_norm_without_memory_normalises_by_the_batch_always():
    layer, x = nn.BatchNorm1d(3, affine=False, track_running_stats=False).double(), samples(8, 3, 4)
    assert not layer.state_dict()
    for mode in (True, False):
        y = layer.train(mode)(x).data
        np.testing.assert_allclose(y.mean((0, 2)), 0, atol=1e-14)
        np.testing.assert_allclose(y.var((0, 2)), 1, rtol=1e-4)
    assert layer(samples(8, 3)).shape == (8, 3)


def test_norms_scale_and_shift_by_what_they_learn():
    for layer, x, shape in [
        (nn.LayerNorm((3, 4)), samples(2, 3, 4), (3, 4)),
        (nn.GroupNorm(2, 4), samples(2, 4, 5), (4, 1)),
        (nn.BatchNorm1d(4), samples(3, 4, 5), (4, 1)),
    ]:
        layer.double()
        plain = layer(x).detach()
        layer.weight.detach().copy_(RNG.normal(size=layer.weight.shape))
        layer.bias.detach().copy_(RNG.normal(size=layer.bias.shape))
        expected = plain.data * layer.weight.data.reshape(shape) + layer.bias.data.reshape(shape)
        np.testing.assert_allclose(layer(x).detach(), expected, rtol=1e-12, atol=1e-13)
    assert nn.LayerNorm(3, bias=False).bias is None
    assert nn.LayerNorm(3, elementwise_affine=False).weight is None


def test_losses_hand_their_settings_on():
    x, probabilities = samples(5, 3), mg.tensor(RNG.uniform(0.1, 0.9, (5, 3)))
    labels, weight = np.array([0, 2, 1, 1, 0]), RNG.uniform(0.5, 2.0, 3)
    target = samples(5, 3)
    same(
        nn.CrossEntropyLoss(weight, 1, "sum", 0.1)(x, labels),
        F.cross_entropy(x, labels, mg.tensor(weight), 1, "sum", 0.1),
    )
    same(nn.NLLLoss(weight, 1, "none")(x, labels), F.nll_loss(x, labels, mg.tensor(weight), 1, "none"))
    same(nn.MSELoss("sum")(x, target), F.mse_loss(x, target, "sum"))
    same(nn.L1Loss("none")(x, target), F.l1_loss(x, target, "none"))
    same(nn.HuberLoss("mean", 0.4)(x, target), F.huber_loss(x, target, "mean", 0.4))
    same(
        nn.BCELoss(weight, "sum")(probabilities, probabilities),
        F.binary_cross_entropy(probabilities, probabilities, mg.tensor(weight), "sum"),
    )
    same(
        nn.BCEWithLogitsLoss(weight, "none", weight[::-1])(x, probabilities),
        F.binary_cross_entropy_with_logits(x, probabilities, mg.tensor(weight), "none", mg.tensor(weight[::-1].copy())),
    )
    assert list(nn.CrossEntropyLoss(weight).state_dict()) == ["weight"]
    with pytest.raises(ValueError, match="MSELoss: need reduction 'mean', 'sum' or 'none', got 'avg'"):
        nn.MSELoss("avg")


WRONG = [
    (lambda: nn.Conv2d(3, 4, 3, groups=2), ValueError, "Conv2d: need groups that divide 3 and 4 channels, got 2"),
    (lambda: nn.Conv2d(0, 4, 3), ValueError, "Conv2d: need in_channels of at least 1"),
    (lambda: nn.Conv2d(3, 4, (3, 3, 3)), ValueError, "Conv2d: need kernel_size as one number or 2"),
    (lambda: nn.Conv1d(3, 4, 3, stride=0), ValueError, "Conv1d: need stride of at least 1"),
    (lambda: nn.Conv2d(3, 4, 3, padding="full"), ValueError, "Conv2d: need padding as numbers, 'valid' or 'same'"),
    (lambda: nn.ConvTranspose2d(3, 4, 3, output_padding=-1), ValueError, "ConvTranspose2d: need output_padding"),
    (lambda: nn.LocallyConnected2d(3, 4, 2, 3), ValueError, "LocallyConnected2d: a window of 3 cells"),
    (lambda: nn.MaxPool2d(2.5), TypeError, "MaxPool2d: need kernel_size as integers"),
    (lambda: nn.AvgPool1d(2, padding=-1), ValueError, "AvgPool1d: need padding of at least 0"),
    (lambda: nn.Linear(3, 0), ValueError, "Linear: need out_features of at least 1"),
    (lambda: nn.GroupNorm(3, 4), ValueError, "GroupNorm: need num_groups that divides 4 channels, got 3"),
    (lambda: nn.BatchNorm2d(3)(samples(2, 3, 4)), ValueError, r"BatchNorm2d: need input \(N, C, H, W\) with C = 3"),
    (lambda: nn.BatchNorm1d(3)(samples(2, 4)), ValueError, r"BatchNorm1d: need input \(N, C\) or \(N, C, L\)"),
    (lambda: nn.Conv2d(3, 4, 3)(samples(1, 3, 5, 5)), TypeError, "conv2d: need one dtype"),
]


@pytest.mark.parametrize(("use", "error", "message"), WRONG)
def test_wrong_settings_and_inputs_are_named(use, error, message):
    with pytest.raises(error, match=message):
        use()


@given(size=st.integers(5, 9), stride=st.integers(1, 3), dilation=st.integers(1, 2), same_padding=st.booleans())
def test_a_float32_network_learns_in_float32(size, stride, dilation, same_padding):
    net = nn.Sequential(
        nn.Conv2d(2, 4, 3, stride, "same" if same_padding else 1, dilation), nn.ReLU(), nn.Flatten(), nn.LayerNorm(4)
    )
    pooled = nn.Sequential(net[:2], nn.GlobalAvgPool2d(), net[2:])
    y = pooled(mg.tensor(RNG.normal(size=(3, 2, size, size)).astype(np.float32)))
    y.backward(RNG.normal(size=y.shape))
    assert y.dtype == np.float32
    assert all(p.grad.dtype == np.float32 for p in pooled.parameters())
    assert np.any(net[0].weight.grad.data)
