"""What `mg.interpret` says of a network is so, and the network does not notice."""

import numpy as np
import pytest

import minigrad as mg
from minigrad import functional as F, interpret, nn

rng = np.random.default_rng(0)
IMAGES = rng.random((3, 1, 8, 8))


def voting(last, dtype=np.float64):
    """A network whose last convolution votes for 3 classes at every place."""
    mg.manual_seed(0)
    features = nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.BatchNorm2d(4)
    return nn.Sequential(*features, last, nn.GlobalAvgPool2d(), nn.Flatten()).to(dtype)


def pooling(*last, dtype=np.float64):
    """A network whose features are averaged before the linear layer."""
    mg.manual_seed(0)
    features = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2))
    return nn.Sequential(features, *last).to(dtype)


class Functional(nn.Module):
    """What is not the output of a module is pooled, and flattened by a function."""

    def __init__(self, end=lambda scores: scores):
        super().__init__()
        self.conv, self.pool, self.dense, self.end = (
            nn.Conv2d(1, 4, 3),
            nn.AdaptiveAvgPool2d((1, 1)),
            nn.Linear(4, 3),
            end,
        )

    def forward(self, x):
        return self.end(self.dense(self.pool(F.relu(self.conv(x))).flatten(1)))


KINDS = {
    "1x1": lambda: voting(nn.Conv1x1(4, 3)),
    "1x1 without a bias": lambda: voting(nn.Conv1x1(4, 3, bias=False)),
    "1 x 1 window": lambda: voting(nn.Conv2d(4, 3, 1)),
    "3 x 3 window": lambda: voting(nn.Conv2d(4, 3, 3, stride=2, padding=1)),
    "linear": lambda: pooling(nn.GlobalAvgPool2d(), nn.Flatten(), nn.Linear(4, 3)),
    "linear after dropout": lambda: pooling(
        nn.Identity(), nn.GlobalAvgPool2d(), nn.Flatten(), nn.Dropout(), nn.Linear(4, 3, bias=False)
    ),
    "functional": lambda: Functional().double(),
}


@pytest.mark.parametrize("kind", KINDS)
def test_the_mean_of_a_class_activation_map_plus_the_bias_is_the_score(kind):
    model = KINDS[kind]().eval()
    maps = interpret.class_activation_maps(model, IMAGES)
    parameters = dict(model.named_parameters())
    name, last = list(parameters.items())[-1]
    bias = last.data if name.endswith("bias") else 0
    assert maps.shape[:2] == (3, 3)
    assert np.ptp(maps, axis=(2, 3)).min() > 0
    assert maps.mean(axis=(2, 3)) + bias == pytest.approx(model(IMAGES).detach().numpy(), rel=1e-12, abs=1e-14)


@pytest.mark.parametrize("kind", ["1x1", "linear"])
def test_class_activation_maps_have_the_dtype_of_the_model_and_take_empty_batches(kind):
    model = KINDS[kind]().float()
    images = IMAGES.astype(np.float32)
    maps = interpret.class_activation_maps(model, images)
    assert maps.dtype == np.float32
    assert maps.shape == (3, 3, 4, 4)
    assert interpret.class_activation_maps(model, images[:0]).shape == (0, 3, 4, 4)


@pytest.mark.parametrize(
    ("model", "end"),
    [
        (lambda: nn.Sequential(nn.Flatten(), nn.Linear(64, 3)), "Linear"),
        (lambda: pooling(nn.Flatten(), nn.Linear(64, 3)), "MaxPool2d, Linear"),
        (lambda: pooling(nn.Conv1x1(4, 3), nn.ReLU(), nn.GlobalAvgPool2d()), "ReLU, GlobalAvgPool2d"),
        (lambda: pooling(nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(16, 3)), "AdaptiveAvgPool2d, Linear"),
        (lambda: Functional(lambda scores: F.softmax(scores, 1)), "AdaptiveAvgPool2d, Linear, more"),
        (lambda: Functional(lambda scores: scores[:, :2]), "AdaptiveAvgPool2d, Linear, more"),
    ],
)
def test_a_model_without_class_activation_maps_is_told_how_it_should_end(model, end):
    with pytest.raises(ValueError, match=r"GlobalAvgPool2d, Flatten, Linear; got one that ends in (.*)") as error:
        interpret.class_activation_maps(model().double(), IMAGES)
    assert str(error.value).endswith(f" {end}")


def test_activations_are_what_each_layer_makes_of_the_one_before_though_layers_are_fused_elsewhere():
    model = voting(nn.Conv1x1(4, 3)).eval()
    outputs = interpret.activations(model, IMAGES)
    assert list(outputs) == list("0123456")
    x = mg.tensor(IMAGES)
    for layer, (path, output) in zip(model, outputs.items(), strict=True):
        x = layer(x)
        assert np.array_equal(output, x.detach().numpy()), path
        assert not output.flags.writeable


def test_modules_are_named_by_their_paths_in_the_order_in_which_they_run_and_shared_ones_each_time():
    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.last, self.act = nn.Identity(), nn.ReLU()
            self.body = nn.Sequential(nn.MaxPool2d(2, return_indices=True))
            self.same = nn.Sequential(self.act)

        def forward(self, x):
            for _ in range(4):
                x = self.act(x - 0.25)
            return self.last(self.body(x)[0])

    outputs = interpret.activations(Model(), IMAGES)
    assert list(outputs) == ["act", "same.0", "same.0 (2)", "same.0 (3)", "body.0", "last"]
    assert np.array_equal(outputs["same.0 (2)"], np.maximum(IMAGES - 0.75, 0))
    assert np.array_equal(outputs["body.0"], outputs["last"])
    assert list(interpret.activations(nn.ReLU(), IMAGES)) == [""]


class Noisy(nn.Module):
    """Draws random numbers in evaluation too, and fails when told to."""

    fails = False

    def forward(self, x):
        if self.fails:
            raise OSError("it fails")
        return F.dropout(x, 0.5)


@pytest.mark.parametrize("fails", [False, True])
@pytest.mark.parametrize("look", [interpret.activations, interpret.class_activation_maps, interpret.saliency])
def test_looking_at_a_model_leaves_it_as_it_was(look, fails):
    model = nn.Sequential(Noisy(), *voting(nn.Conv1x1(4, 3)))
    model[4].eval()
    model[0].fails = fails
    seen = []
    model[2].register_forward_hook(lambda *call: seen.append(mg.is_grad_enabled()))
    hooks = [(dict(m._forward_hooks), dict(m._forward_pre_hooks)) for m in model.modules()]
    state = {name: tensor.numpy().copy() for name, tensor in model.state_dict().items()}
    mg.manual_seed(5)
    drawn = F.dropout(np.ones(100))
    mg.manual_seed(5)
    if fails:
        with pytest.raises(OSError, match="it fails"):
            look(model, IMAGES)
    else:
        first = look(model, IMAGES)
        again = look(model, IMAGES)
        assert seen == [look is interpret.saliency] * 2  # what nobody differentiates is not recorded
        if look is not interpret.activations:
            assert np.array_equal(first, again)
    assert [m.training for m in model.modules()] == [True] * 5 + [False] + [True] * 3
    assert [(m._forward_hooks, m._forward_pre_hooks) for m in model.modules()] == hooks
    assert all(np.array_equal(state[name], tensor.numpy()) for name, tensor in model.state_dict().items())
    assert all(p.grad is None and p.requires_grad for p in model.parameters())
    assert np.array_equal(F.dropout(np.ones(100)), drawn)
    assert mg.is_grad_enabled()


@pytest.mark.parametrize("target", [None, 2, [0, 2, 1]])
def test_saliency_is_the_largest_slope_of_the_score_over_the_channels(target):
    mg.manual_seed(1)
    model = nn.Sequential(nn.Conv2d(2, 3, 3), nn.Tanh(), nn.BatchNorm2d(3), nn.Flatten(), nn.Linear(12, 3)).double()
    images = rng.normal(size=(3, 2, 4, 4))

    def scores(x):
        with mg.no_grad():
            return model(x).numpy()

    model.eval()
    targets = scores(images).argmax(axis=1) if target is None else np.broadcast_to(target, 3)
    slopes = np.zeros_like(images)
    for n, c, h, w in np.ndindex(images.shape):
        step = np.zeros_like(images)
        step[n, c, h, w] = 1e-5
        slopes[n, c, h, w] = (scores(images + step) - scores(images - step))[n, targets[n]] / 2e-5
    model.train()
    found = interpret.saliency(model, images, target)
    assert found == pytest.approx(np.abs(slopes).max(axis=1), rel=1e-6, abs=1e-9)
    with mg.no_grad():
        assert np.array_equal(interpret.saliency(model, mg.tensor(images), target), found)


def test_images_may_be_read_only_strided_float32_or_none_at_all():
    model = voting(nn.Conv1x1(4, 3)).float()
    wide = rng.random((3, 1, 8, 16)).astype(np.float32)
    strided = wide[..., ::2]
    strided.flags.writeable = False
    for look in (interpret.class_activation_maps, interpret.saliency):
        assert np.array_equal(look(model, strided), look(model, strided.copy()))
        assert look(model, strided).dtype == np.float32
    assert interpret.saliency(model, strided[:0]).shape == (0, 8, 8)
    assert interpret.saliency(model, strided[:0], []).shape == (0, 8, 8)
    outputs = interpret.activations(model, strided[:0])
    assert outputs["2"].shape == (0, 4, 4, 4)


@pytest.mark.parametrize(
    ("error", "images", "target", "message"),
    [
        (ValueError, IMAGES[0], None, r"need images \(N, C, H, W\), got \(1, 8, 8\)"),
        (TypeError, IMAGES.astype(int), None, "need images in float32 or float64, got int64"),
        (ValueError, IMAGES, 3, "saliency: need classes from 0 to below 3, got 3 to 3"),
        (ValueError, IMAGES, [0, -1, 0], "need classes from 0 to below 3, got -1 to 0"),
        (ValueError, IMAGES, [0, 1], r"need one class or 3, got shape \(2,\)"),
        (TypeError, IMAGES, 1.0, "need classes as integers, got float64"),
    ],
)
def test_saliency_refuses_what_it_cannot_mean(error, images, target, message):
    with pytest.raises(error, match=message):
        interpret.saliency(voting(nn.Conv1x1(4, 3)), images, target)
    with pytest.raises(ValueError, match=r"gives scores \(N, classes\), got \(3, 1, 8, 8\)"):
        interpret.saliency(nn.ReLU(), IMAGES)


def test_filters_are_the_first_weights_as_images():
    convolution = nn.Sequential(nn.BatchNorm2d(2), nn.Conv2d(2, 5, 3), nn.Flatten(), nn.Linear(5, 3))
    assert np.array_equal(interpret.filters(convolution), convolution[1].weight.data)
    dense = nn.Sequential(nn.Flatten(), nn.Linear(24, 5))
    assert np.array_equal(interpret.filters(dense, (2, 3, 4))[4, 1], dense[1].weight.data[4, 12:].reshape(3, 4))


@pytest.mark.parametrize(
    ("model", "shape", "message"),
    [
        (lambda: nn.Linear(24, 5), None, r"need shape \(C, H, W\) with C H W = 24, as weight's, got None"),
        (lambda: nn.Linear(24, 5), (1, 5, 5), r"need .*got \(1, 5, 5\)"),
        (lambda: nn.Linear(24, 5), (24,), r"need .*got \(24,\)"),
        (lambda: nn.Sequential(nn.Conv1d(1, 2, 3)), None, r"need .*got 0.weight \(2, 1, 3\)"),
        (nn.ReLU, None, "need .*got no weights"),
    ],
)
def test_filters_refuses_layers_whose_weights_are_no_images(model, shape, message):
    with pytest.raises(ValueError, match=f"filters: {message}"):
        interpret.filters(model(), shape)


def test_mistakes_come_with_the_surest_first_and_equally_sure_ones_in_order():
    scores = np.array([[3, 0], [0, 3], [0, 1], [2, 0], [3, 0], [0, 1]], np.float32)
    samples, predicted, sure = interpret.mistakes(scores, [0, 1, 0, 1, 0, 0])
    assert samples.tolist() == [3, 2, 5]
    assert predicted.tolist() == [0, 1, 1]
    assert sure == pytest.approx(1 / (1 + np.exp([-2, -1, -1])))
    assert [len(found) for found in interpret.mistakes(scores[:0], [])] == [0, 0, 0]
    with pytest.raises(ValueError, match=r"need scores \(N, classes\) and labels \(N,\), got \(6, 2\) and \(5,\)"):
        interpret.mistakes(scores, [0] * 5)
    with pytest.raises(ValueError, match="mistakes: need classes from 0 to below 2, got 0 to 2"):
        interpret.mistakes(scores, [0, 1, 0, 1, 0, 2])
