"""Layers beside PyTorch's: the same signatures, states, outputs and gradients, and the same initial distributions."""

import inspect

import numpy as np
import pytest

import minigrad as mg
from minigrad import nn

torch = pytest.importorskip("torch")
files = pytest.importorskip("safetensors.torch")
pytestmark = pytest.mark.parity

RNG = np.random.default_rng(4)
TOLERANCE = {np.float64: 1e-10, np.float32: 1e-5}
SKIPPED = {"Parameter", "Module", "Identity", "init"}
OTHER_DEFAULTS = {  # PyTorch guesses a dim, with a warning
    ("Softmax", "dim"), ("LogSoftmax", "dim"), ("ModuleList", "modules"), ("ModuleDict", "modules"),
}  # fmt: skip


@pytest.mark.parametrize("name", sorted(set(nn.__all__) - SKIPPED))
def test_signatures_are_pytorchs_without_what_does_not_apply(name):
    theirs = getattr(torch.nn, name, None)
    if theirs is None:
        assert name in {"Conv1x1", "LocallyConnected1d", "LocallyConnected2d", "GlobalAvgPool1d", "GlobalAvgPool2d"}
        return
    theirs = inspect.signature(theirs).parameters
    ours = inspect.signature(getattr(nn, name)).parameters
    ours = {n: p for n, p in ours.items() if p.kind is p.POSITIONAL_OR_KEYWORD}
    assert list(ours) == [n for n in theirs if n in ours]
    for n, parameter in ours.items():
        assert parameter.default == theirs[n].default or (name, n) in OTHER_DEFAULTS, n


LAYERS = [
    ("Linear", (5, 3), {}, (4, 5)),
    ("Linear", (5, 3), {"bias": False}, (2, 3, 5)),
    ("Conv1d", (4, 6, 3), {"stride": 2, "padding": 2, "dilation": 2, "groups": 2}, (3, 4, 9)),
    ("Conv2d", (3, 5, (3, 2)), {"stride": (2, 1), "padding": (1, 0)}, (2, 3, 7, 6)),
    ("Conv2d", (4, 4, 3), {"groups": 4, "bias": False, "padding": "same", "dilation": 2}, (2, 4, 6, 6)),
    ("ConvTranspose1d", (4, 6, 3), {"stride": 2, "padding": 1, "output_padding": 1, "groups": 2}, (3, 4, 5)),
    ("ConvTranspose2d", (3, 4, (3, 2)), {"stride": (2, 1), "dilation": 2}, (2, 3, 4, 5)),
    ("MaxPool1d", (3,), {"stride": 2, "padding": 1}, (2, 3, 8)),
    ("MaxPool2d", (3, 2, 1), {"ceil_mode": True}, (2, 3, 8, 6)),
    ("AvgPool1d", (3,), {"padding": 1, "count_include_pad": False}, (2, 3, 8)),
    ("AvgPool2d", ((3, 2), 2, 1), {"ceil_mode": True, "divisor_override": 5}, (2, 3, 8, 6)),
    ("AdaptiveAvgPool1d", (3,), {}, (2, 3, 8)),
    ("AdaptiveAvgPool2d", ((3, None),), {}, (2, 3, 8, 5)),
    ("Upsample", (), {"scale_factor": 2}, (2, 3, 4, 5)),
    ("Upsample", ((7, 6),), {"mode": "bilinear", "align_corners": False}, (2, 3, 4, 5)),
    ("Flatten", (), {}, (2, 3, 4)),
    ("ReLU", (), {}, (3, 4)),
    ("LeakyReLU", (0.2,), {}, (3, 4)),
    ("ELU", (0.7,), {}, (3, 4)),
    ("GELU", (), {}, (3, 4)),
    ("GELU", ("tanh",), {}, (3, 4)),
    ("SiLU", (), {}, (3, 4)),
    ("Softplus", (2.0, 1.0), {}, (3, 4)),
    ("Tanh", (), {}, (3, 4)),
    ("Sigmoid", (), {}, (3, 4)),
    ("Softmax", (1,), {}, (3, 4, 2)),
    ("LogSoftmax", (-1,), {}, (3, 4)),
    ("BatchNorm1d", (4,), {}, (5, 4)),
    ("BatchNorm1d", (4,), {"momentum": None}, (5, 4, 3)),
    ("BatchNorm2d", (3, 1e-3, 0.2), {}, (4, 3, 2, 5)),
    ("BatchNorm2d", (3,), {"affine": False, "track_running_stats": False}, (4, 3, 2, 5)),
    ("LayerNorm", ((3, 4),), {}, (2, 3, 4)),
    ("LayerNorm", (4,), {"bias": False}, (2, 3, 4)),
    ("GroupNorm", (2, 4), {}, (3, 4, 5, 2)),
]
each_layer = pytest.mark.parametrize(
    ("name", "args", "kwargs", "shape"), LAYERS, ids=[f"{name}-{i}" for i, (name, *_) in enumerate(LAYERS)]
)
each_dtype = pytest.mark.parametrize("dtype", TOLERANCE, ids=lambda dtype: dtype.__name__)


def twins(name, args, kwargs, dtype):
    """A layer of each library, with the same random state."""
    ours, theirs = getattr(nn, name)(*args, **kwargs).to(dtype), getattr(torch.nn, name)(*args, **kwargs)
    theirs = theirs.double() if dtype is np.float64 else theirs.float()
    torch.manual_seed(5)
    for parameter in theirs.parameters():
        torch.nn.init.normal_(parameter)
    ours.load_state_dict({name: tensor.numpy() for name, tensor in theirs.state_dict().items()})
    return ours, theirs


def close(ours, theirs, dtype, what):
    ours, theirs = np.asarray(ours), theirs.detach().numpy()
    assert ours.dtype == theirs.dtype, what
    tolerance = TOLERANCE[dtype] * max(1.0, np.abs(theirs).max(initial=0.0))
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=tolerance, err_msg=what)


def compare(ours, theirs, x, dtype):
    """One forward and backward of each, with a random cotangent."""
    a, b = mg.tensor(x, requires_grad=True), torch.tensor(x, requires_grad=True)
    y, expected = ours(a), theirs(b)
    close(y.detach(), expected, dtype, "output")
    dy = RNG.normal(size=y.shape).astype(dtype)
    ours.zero_grad()
    theirs.zero_grad()
    y.backward(dy)
    expected.backward(torch.tensor(dy))
    close(a.grad, b.grad, dtype, "dx")
    for (name, p), q in zip(ours.named_parameters(), theirs.parameters(), strict=True):
        close(p.grad, q.grad, dtype, name)


@each_dtype
@each_layer
def test_outputs_gradients_and_states_are_pytorchs(name, args, kwargs, shape, dtype):
    ours, theirs = twins(name, args, kwargs, dtype)
    for mode in (True, True, False):  # twice in training, so that running statistics count
        ours.train(mode)
        theirs.train(mode)
        compare(ours, theirs, RNG.normal(size=shape).astype(dtype), dtype)
    expected = theirs.state_dict()
    assert list(ours.state_dict()) == list(expected)
    for key, tensor in ours.state_dict().items():
        assert tensor.shape == tuple(expected[key].shape), key
        close(tensor, expected[key], dtype, key)


@each_dtype
def test_embedding_looks_up_and_sends_back_as_pytorchs(dtype):
    ours, theirs = twins("Embedding", (6, 3), {"padding_idx": 1}, dtype)
    index, dy = RNG.integers(0, 6, (4, 5)), RNG.normal(size=(4, 5, 3)).astype(dtype)
    y, expected = ours(index), theirs(torch.tensor(index))
    close(y.detach(), expected, dtype, "output")
    y.backward(dy)
    expected.backward(torch.tensor(dy))
    close(ours.weight.grad, theirs.weight.grad, dtype, "weight")


@each_dtype
@pytest.mark.parametrize("shape", [(2, 3, 5), (2, 3, 4, 5)], ids=["signal", "image"])
def test_conv1x1_is_pytorchs_convolution_of_one_cell(shape, dtype):
    rank = len(shape) - 2
    ours, theirs = nn.Conv1x1(3, 4).to(dtype), (torch.nn.Conv1d, torch.nn.Conv2d)[rank - 1](3, 4, 1)
    theirs = theirs.double() if dtype is np.float64 else theirs
    ours.load_state_dict(theirs.state_dict())
    a, b = (lambda x: (mg.tensor(x, requires_grad=True), torch.tensor(x, requires_grad=True)))(
        RNG.normal(size=shape).astype(dtype)
    )
    y, expected, dy = ours(a), theirs(b), RNG.normal(size=(2, 4, *shape[2:])).astype(dtype)
    close(y.detach(), expected, dtype, "output")
    y.backward(dy)
    expected.backward(torch.tensor(dy))
    close(a.grad, b.grad, dtype, "dx")
    close(ours.weight.grad.reshape(theirs.weight.shape), theirs.weight.grad, dtype, "weight")
    close(ours.bias.grad, theirs.bias.grad, dtype, "bias")


@each_dtype
@pytest.mark.parametrize("settings", [{}, {"stride": 2, "padding": 1, "dilation": 2}])
def test_locally_connected2d_is_what_pytorch_computes_by_unfolding(settings, dtype):
    ours, x = nn.LocallyConnected2d(3, 4, (6, 7), (2, 3), **settings).to(dtype), RNG.normal(size=(2, 3, 6, 7))
    a, b = mg.tensor(x.astype(dtype), requires_grad=True), torch.tensor(x.astype(dtype), requires_grad=True)
    weight = torch.tensor(ours.weight.data, requires_grad=True)
    bias = torch.tensor(ours.bias.data, requires_grad=True)
    outs = ours.output_size
    columns = torch.nn.functional.unfold(b, (2, 3), **settings).reshape(2, 3 * 6, *outs)
    expected = torch.einsum("ijkt,ntij->nkij", weight.reshape(*outs, 4, 3 * 6), columns) + bias
    y, dy = ours(a), RNG.normal(size=expected.shape).astype(dtype)
    close(y.detach(), expected, dtype, "output")
    y.backward(dy)
    expected.backward(torch.tensor(dy))
    for name, p, q in [("dx", a, b), ("weight", ours.weight, weight), ("bias", ours.bias, bias)]:
        close(p.grad, q.grad, dtype, name)


@pytest.mark.parametrize("rank", [1, 2])
def test_unpooling_is_pytorchs(rank):
    pool, their_pool = (getattr(library, f"MaxPool{rank}d")(2, return_indices=True) for library in (nn, torch.nn))
    unpool, their_unpool = (getattr(library, f"MaxUnpool{rank}d")(2) for library in (nn, torch.nn))
    for length, size in [(6, None), (7, (7,) * rank)]:
        x = RNG.normal(size=(2, 3, *(length,) * rank))
        y, indices = pool(mg.tensor(x))
        expected, expected_indices = their_pool(torch.tensor(x))
        np.testing.assert_array_equal(indices, expected_indices)
        np.testing.assert_array_equal(unpool(y, indices, size), their_unpool(expected, expected_indices, size))


WEIGHT = RNG.uniform(0.5, 2.0, 3)
LOSSES = [
    ("CrossEntropyLoss", {"weight": WEIGHT, "ignore_index": 1, "label_smoothing": 0.1}, "labels"),
    ("CrossEntropyLoss", {"weight": WEIGHT}, "probabilities"),
    ("NLLLoss", {"weight": WEIGHT, "ignore_index": 2}, "labels"),
    ("MSELoss", {}, "numbers"),
    ("L1Loss", {}, "numbers"),
    ("HuberLoss", {"delta": 0.4}, "numbers"),
    ("BCEWithLogitsLoss", {"weight": WEIGHT, "pos_weight": WEIGHT[::-1].copy()}, "probabilities"),
    ("BCELoss", {"weight": WEIGHT}, "probabilities"),
]


@each_dtype
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize(("name", "settings", "kind"), LOSSES, ids=[f"{name}-{kind}" for name, _, kind in LOSSES])
def test_losses_are_pytorchs(name, settings, kind, reduction, dtype):
    labels = RNG.integers(0, 3, 6)
    target = {
        "labels": labels,
        "probabilities": RNG.dirichlet(np.ones(3), 6).astype(dtype),
        "numbers": RNG.normal(size=(6, 3)).astype(dtype),
    }[kind]
    weights = {k: v.astype(dtype) for k, v in settings.items() if isinstance(v, np.ndarray)}
    ours = getattr(nn, name)(reduction=reduction, **settings | weights)
    theirs = getattr(torch.nn, name)(reduction=reduction, **settings | {k: torch.tensor(v) for k, v in weights.items()})
    x = (RNG.uniform(0.05, 0.95, (6, 3)) if name == "BCELoss" else RNG.normal(size=(6, 3))).astype(dtype)
    a, b = mg.tensor(x, requires_grad=True), torch.tensor(x, requires_grad=True)
    loss, expected = ours(a, target), theirs(b, torch.tensor(target))
    close(loss.detach(), expected, dtype, "loss")
    dy = np.asarray(RNG.normal(size=loss.shape)).astype(dtype)
    loss.backward(dy)
    expected.backward(torch.tensor(dy))
    close(a.grad, b.grad, dtype, "dx")


def network(nn):
    """A small digit classifier, in either library."""
    return nn.Sequential(
        nn.Conv2d(1, 6, 5, padding=2),
        nn.BatchNorm2d(6),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Sequential(
            nn.ConvTranspose2d(6, 4, 2, stride=2, bias=False), nn.GroupNorm(2, 4), nn.SiLU(), nn.AvgPool2d(2)
        ),
        nn.AdaptiveAvgPool2d((3, 3)),
        nn.Flatten(),
        nn.Linear(36, 10),
        nn.LogSoftmax(1),
    )


@each_dtype
def test_a_network_has_pytorchs_names_and_gradients(dtype):
    ours, theirs = network(nn).to(dtype), network(torch.nn)
    theirs = theirs.double() if dtype is np.float64 else theirs
    ours.load_state_dict({name: tensor.numpy() for name, tensor in theirs.state_dict().items()})
    compare(ours, theirs, RNG.normal(size=(4, 1, 12, 12)).astype(dtype), dtype)
    assert [n for n, _ in ours.named_parameters()] == [n for n, _ in theirs.named_parameters()]
    assert [n for n, _ in ours.named_modules()] == [n for n, _ in theirs.named_modules()]


class LeNet:
    """LeNet-5 with batch normalisation, in either library."""

    def __new__(cls, nn):
        class LeNet5(nn.Module):
            def __init__(self):
                super().__init__()
                self.conv1, self.bn1 = nn.Conv2d(1, 6, 5, padding=2), nn.BatchNorm2d(6)
                self.conv2, self.bn2 = nn.Conv2d(6, 16, 5, bias=False), nn.BatchNorm2d(16, momentum=None)
                self.pool, self.act = nn.MaxPool2d(2), nn.ReLU()
                self.classifier = nn.ModuleList([nn.Linear(400, 120), nn.Linear(120, 84), nn.Linear(84, 10)])

            def forward(self, x):
                x = self.pool(self.act(self.bn1(self.conv1(x))))
                x = self.pool(self.act(self.bn2(self.conv2(x)))).flatten(1)
                for i, layer in enumerate(self.classifier):
                    x = layer(x) if i == 2 else self.act(layer(x))
                return x

        return LeNet5()


def check_files(ours, theirs, inputs, dtype, tmp_path):
    """A state goes from PyTorch into ours by a file, the outputs are equal, and it comes back bit by bit."""
    there, back = tmp_path / "there.safetensors", tmp_path / "back.safetensors"
    state = theirs.state_dict()
    files.save_file(state, there)
    ours.load_state_dict(mg.load(there))
    y, expected = ours.eval()(*map(mg.tensor, inputs)), theirs.eval()(*map(torch.tensor, inputs))
    close(y.detach(), expected, dtype, "output")
    mg.save(ours.state_dict(), back)
    found = files.load_file(back)
    assert found.keys() == state.keys()
    for name, tensor in state.items():
        assert found[name].dtype == tensor.dtype, name
        assert torch.equal(found[name], tensor), name
    theirs.load_state_dict(found)


def in_dtype(module, dtype):
    return module.double() if dtype is np.float64 else module.float()


@each_dtype
@each_layer
def test_layers_go_through_files_in_both_directions(name, args, kwargs, shape, dtype, tmp_path):
    ours, (_, theirs) = getattr(nn, name)(*args, **kwargs).to(dtype), twins(name, args, kwargs, dtype)
    theirs(torch.tensor(RNG.normal(size=shape).astype(dtype)))  # running statistics move
    check_files(ours, theirs, [RNG.normal(size=shape).astype(dtype)], dtype, tmp_path)


@each_dtype
def test_embeddings_and_weights_of_losses_go_through_files(dtype, tmp_path):
    ours, (_, theirs) = nn.Embedding(6, 3, 1).to(dtype), twins("Embedding", (6, 3), {"padding_idx": 1}, dtype)
    check_files(ours, theirs, [RNG.integers(0, 6, (4, 5))], dtype, tmp_path)
    scores, labels = RNG.normal(size=(5, 3)).astype(dtype), RNG.integers(0, 3, 5)
    loss, weight = torch.nn.CrossEntropyLoss(torch.tensor(WEIGHT.astype(dtype))), np.ones(3, dtype)
    check_files(nn.CrossEntropyLoss(weight), loss, [scores, labels], dtype, tmp_path)


@each_dtype
def test_lenet_goes_through_files_with_its_running_statistics(dtype, tmp_path):
    ours, theirs = in_dtype(LeNet(nn), dtype), in_dtype(LeNet(torch.nn), dtype)
    images = RNG.normal(size=(6, 1, 28, 28)).astype(dtype)
    for batch in (images[:4], images[2:]):
        theirs(torch.tensor(batch))
    check_files(ours, theirs, [images], dtype, tmp_path)
    assert ours.bn2.num_batches_tracked.item() == 2
    assert ours.bn2.num_batches_tracked.dtype == np.int64
    assert list(ours.state_dict()) == list(theirs.state_dict())
    assert ours.load_state_dict(theirs.state_dict()) == ([], [])  # without a file too


def test_modules_print_as_pytorchs():
    def tree(nn):
        return nn.Sequential(
            nn.Conv2d(2, 4, 3, padding="same", dilation=2, groups=2),
            nn.ModuleDict({"up": nn.ConvTranspose2d(2, 2, 3, 2, 1, 1, 2, False, 2), "pool": nn.MaxPool2d(2)}),
            nn.ModuleList([nn.Embedding(3, 2, 1), nn.Flatten(), nn.GELU(), nn.Softmax(1), nn.AdaptiveAvgPool2d(1)]),
            nn.Sequential(nn.Linear(3, 2, bias=False), nn.Sequential(), nn.CrossEntropyLoss()),
        )

    assert repr(tree(nn)) == repr(tree(torch.nn))


INITIALISED = [
    ("Linear", (300, 200)),
    ("Conv1d", (30, 200, 5)),
    ("Conv2d", (16, 128, 3, 1, 0, 1, 2)),
    ("ConvTranspose1d", (64, 200, 5)),
    ("ConvTranspose2d", (16, 128, 3, 1, 0, 0, 2)),
    ("Embedding", (300, 50)),
]


@pytest.mark.parametrize(("name", "args"), INITIALISED, ids=lambda value: value if isinstance(value, str) else "")
def test_layers_start_with_pytorchs_bounds_and_deviations(name, args):
    mg.manual_seed(1)
    torch.manual_seed(1)
    ours, theirs = getattr(nn, name)(*args), getattr(torch.nn, name)(*args)
    for (key, a), b in zip(ours.named_parameters(), theirs.parameters(), strict=True):
        b = b.detach().numpy()
        rtol = 6 / np.sqrt(a.numel())  # six standard errors and more
        np.testing.assert_allclose(a.data.std(), b.std(), rtol=rtol, err_msg=key)
        assert abs(a.data.mean()) < 5 * b.std() / np.sqrt(a.numel()), key
        if name != "Embedding":
            most = max(10 / a.numel(), 1e-4)
            np.testing.assert_allclose(np.abs(a.data).max(), np.abs(b).max(), rtol=most, err_msg=key)


INITIALISERS = [
    ("uniform_", {"a": -1.0, "b": 3.0}),
    ("normal_", {"mean": 2.0, "std": 0.5}),
    ("constant_", {"val": 0.25}),
    ("zeros_", {}),
    ("ones_", {}),
    ("trunc_normal_", {"mean": 0.5, "std": 2.0, "a": -1.0, "b": 3.0}),
    ("xavier_uniform_", {"gain": 2.0}),
    ("xavier_normal_", {}),
    ("kaiming_uniform_", {"a": 0.3}),
    ("kaiming_normal_", {"mode": "fan_out", "nonlinearity": "relu"}),
    ("orthogonal_", {"gain": 3.0}),
]


@pytest.mark.parametrize(("name", "settings"), INITIALISERS, ids=[name for name, _ in INITIALISERS])
def test_initialisers_have_pytorchs_signatures_and_moments(name, settings):
    mg.manual_seed(2)
    torch.manual_seed(2)
    ours, theirs = getattr(nn.init, name), getattr(torch.nn.init, name)
    expected = {n: p.default for n, p in inspect.signature(theirs).parameters.items() if n != "generator"}
    assert {n: p.default for n, p in inspect.signature(ours).parameters.items()} == expected
    a = ours(mg.tensor(np.zeros((60, 20, 3, 3))), **settings).data
    b = theirs(torch.zeros((60, 20, 3, 3), dtype=torch.float64), **settings).numpy()
    error = b.std() / np.sqrt(b.size)
    np.testing.assert_allclose(a.mean(), b.mean(), rtol=0, atol=8 * error)
    np.testing.assert_allclose(a.std(), b.std(), rtol=0, atol=8 * error)
    if "normal" not in name:
        np.testing.assert_allclose([a.min(), a.max()], [b.min(), b.max()], rtol=0.3 if name == "orthogonal_" else 1e-2)


def test_gains_are_pytorchs():
    for name in ("linear", "conv1d", "conv2d", "conv_transpose2d", "sigmoid", "tanh", "relu", "leaky_relu", "selu"):
        assert nn.init.calculate_gain(name) == torch.nn.init.calculate_gain(name), name
    assert nn.init.calculate_gain("leaky_relu", 0.2) == torch.nn.init.calculate_gain("leaky_relu", 0.2)
