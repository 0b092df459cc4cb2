"""Export to ONNX: whole models, what a file cannot say, and that nothing else changes."""

import copy

import numpy as np
import pytest
from onnx_files import check_close, check_exports, exported, onnx

import minigrad as mg
from minigrad import functional as F, nn

RNG = np.random.default_rng(8)


def normal(*shape):
    return lambda n: (RNG.normal(size=(n, *shape)).astype(np.float32),)


def lenet():
    return nn.Sequential(
        nn.Conv2d(1, 6, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(400, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU(), nn.Linear(84, 10),
    )  # fmt: skip


def test_lenet_is_written_as_its_layers_with_the_names_of_its_state():
    model = lenet()
    graph = check_exports(model, normal(1, 28, 28)).graph
    assert [node.op_type for node in graph.node] == [
        *["Conv", "Relu", "MaxPool"] * 2, "Reshape", *["Gemm", "Relu"] * 2, "Gemm",
    ]  # fmt: skip
    arrays = {array.name: onnx.numpy_helper.to_array(array) for array in graph.initializer}
    assert {name for name in arrays if not name.startswith("constant_")} == set(model.state_dict())
    for name, tensor in model.state_dict().items():
        np.testing.assert_array_equal(arrays[name], tensor)
    assert [node.name.split("/")[0] for node in graph.node] == list(map(str, range(12)))


class Network(nn.Module):
    """Convolutions with batch normalisation, beside each other, written with F and operators."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(1, 8, 3, padding="same", bias=False), nn.BatchNorm2d(8), nn.SiLU())
        self.branches = nn.ModuleList([nn.Conv2d(8, 4, 3, padding=1), nn.Conv1x1(8, 4)])
        self.norm, self.drop = nn.BatchNorm2d(8), nn.Dropout(0.3)
        self.classes = nn.Linear(8, 10)

    def forward(self, image, scale):
        x = self.stem(image * scale[:, None, None, None])
        x = self.norm(mg.concatenate([branch(x) for branch in self.branches], 1)) + x
        x = F.leaky_relu(F.pad(x, (1, 1, 0, 2), mode="replicate"), 0.1)
        maps = F.avg_pool2d(x, 3, 2, 1, ceil_mode=True)
        return {"scores": self.classes(self.drop(maps.mean((2, 3)))), "maps": maps}


def test_a_network_after_training_is_the_same_in_the_file():
    model, labels = Network(), RNG.integers(0, 10, 6)
    optimiser = mg.optim.SGD(model.parameters(), lr=0.1)
    images, scale = RNG.normal(size=(6, 1, 8, 8)).astype(np.float32), np.ones(6, np.float32)
    for _ in range(2):
        optimiser.zero_grad()
        F.cross_entropy(model(mg.tensor(images), mg.tensor(scale))["scores"], labels).backward()
        optimiser.step()
    proto, run = exported(model, (mg.tensor(images), scale))
    assert [(value.name, sizes(value)) for value in proto.graph.input] == [("image", ["N", 1, 8, 8]), ("scale", ["N"])]
    assert [(y.name, sizes(y)) for y in proto.graph.output] == [("scores", ["N", 10]), ("maps", ["N", 8, 6, 6])]
    model.eval()
    with mg.no_grad():
        expected = model(mg.tensor(images), mg.tensor(scale))
    check_close(run(images, scale), list(expected.values()))


def sizes(value):
    """A shape in a file."""
    return [dim.dim_param or dim.dim_value for dim in value.type.tensor_type.shape.dim]


class Written(nn.Module):
    """A model that is one function."""

    def __init__(self, function):
        super().__init__()
        self.function, self.layer = function, nn.Linear(4, 4)
        self.register_buffer("seen", mg.tensor([0.0]))

    def forward(self, x):
        return self.function(self, x)


EXPRESSIVE = {
    "statistics": lambda m, x: (x - x.mean(0)) / (x.std(1, keepdim=True) + 1e-3) + x.logsumexp(1)[:, None],
    "mean of all": lambda m, x: (x * 2 - x.mean() / len(x)) ** 2 * np.float32(len(x)),
    "extrema": lambda m, x: (*x.max(1), x.argmin(), x.min()),
    "indices": lambda m, x: (x[:, 1:3], x[..., -1], x[:, [0, 2]], x[:, None, ::-1], x[-1]),
    "masks": lambda m, x: x[:, np.array([True, False, True, True])],
    "several indices": lambda m, x: x.reshape(-1, 2, 2)[:, [0, 1], [1, -1]],
    "shapes": lambda m, x: (x.reshape(len(x) * 2, 2), x.reshape(2, -1), x.flatten(), x.T),
    "expanded": lambda m, x: x[:, :, None].expand(-1, 4, 3),
    "batch as channels": lambda m, x: x.T.reshape(2, 2, len(x)) @ x,
    "joined": lambda m, x: (mg.concatenate([x, x * 2]), mg.stack([x, m.layer(x)], 1), *mg.split(x, [1, 3], 1)),
    "choice": lambda m, x: mg.where((x > 0) & ~(x > 1), x, 0.5) + (x != x.max()) * 2.0,
    "products": lambda m, x: (x @ m.layer.weight, mg.einsum("ni,ij,nj->n", x, m.layer.weight, x), x[0] @ x[1]),
    "detached": lambda m, x: m.layer(x.detach()) + x.detach() * mg.as_tensor(x.numpy()),
    "integers": lambda m, x: ((x * 9).to(np.int64) // 4 % 3, F.one_hot((x > 0).to(np.int64), 2)),
    "itself": lambda m, x: (x, x, m.layer.weight, mg.tensor([1.0])),
    "buffers": lambda m, x: (m.seen.add_(1.0), x * 2)[1],
}  # fmt: skip


@pytest.mark.parametrize("name", EXPRESSIVE)
def test_what_is_written_with_operators_is_the_same_in_the_file(name):
    check_exports(Written(EXPRESSIVE[name]), normal(4), (2, 3, 7))


def test_sizes_in_which_the_batch_is_are_named_so():
    proto, _ = exported(Written(lambda m, x: (x.reshape(-1, 2), x.T, x.sum())), np.ones((2, 4)))
    assert {y.name: sizes(y) for y in proto.graph.output} == {
        "output_0": ["2N", 2], "output_1": [4, "N"], "output_2": [],
    }  # fmt: skip


REFUSED = {
    "values by NumPy": (lambda m, x: x * np.tanh(x.numpy()), "multiply: .*computed outside of ops, is an array"),
    "numbers": (lambda m, x: m.layer(x) / m.layer(x).max().item(), "divide: .*computed outside of ops, is "),
    "branches": (lambda m, x: x if float(x.sum()) > 12 else x * 2, "the model: .*calls of ops"),
    "other branches": (lambda m, x: x + 1 if float(x.sum()) > 12 else x * 2, "the model: .*multiply.* is add in"),
    "in place": (lambda m, x: m.layer(x).add_(1.0) * 2, "multiply: .*changed in place"),
    "buffers in place": (lambda m, x: x * m.seen.add_(1.0), "multiply: .*changed in place"),
    "half the batch": (lambda m, x: x[: len(x) // 2], "getitem: .*its output's shape is 1 for a batch of 3 and 4 for"),
    "variance over the batch": (lambda m, x: x.var(0), "divide: .*2.0 for a batch of 3 and 7.0 for one of 8"),
    "masks": (lambda m, x: x[x > 0], "getitem: .*its setting index is an array"),
    "dropout": (lambda m, x: F.dropout(x), "dropout: there is no converter for this op; it is for training only"),
    "booleans": (lambda m, x: (x > 0) * (x < 1), "multiply: ONNX has no arithmetic of booleans"),
    "roll": (lambda m, x: mg.OPS["roll"](x, shifts=1, dims=0), "roll: needs fixed sizes, got N where N is the batch"),
    "small integers": (lambda m, x: x.to(np.uint8) ** 2, "ONNX does not take it: .*power/Pow"),
    "outputs": (lambda m, x: (x,) * (1 + (float(x.sum()) > 12)), "the model: .*1 and 2 outputs"),
    "text": (lambda m, x: "x", "need a model that gives tensors, got str"),
}


@pytest.mark.parametrize("name", REFUSED)
@pytest.mark.parametrize("value", ["drawn", "placeholder"])
def test_what_a_file_cannot_say_is_refused_with_the_op(name, value, tmp_path):
    function, message = REFUSED[name]
    x = np.zeros((1, 4), np.float32) if value == "placeholder" else RNG.uniform(0.5, 1, (2, 4)).astype(np.float32)
    with pytest.raises((ValueError, TypeError), match=f"onnx.export: {message}"):
        mg.onnx.export(Written(function), tmp_path / "x.onnx", x)
    assert not list(tmp_path.iterdir())


def test_an_error_names_the_module(tmp_path):
    model = nn.Sequential(nn.Linear(4, 4), nn.Sequential(nn.Tanh(), Written(lambda m, x: F.dropout(x))))
    with pytest.raises(ValueError, match=r"onnx.export: dropout in module 1.1: there is no converter"):
        mg.onnx.export(model, tmp_path / "x", np.ones((1, 4), np.float32))


def test_a_model_for_one_batch_size_says_which_batch_it_was_given(tmp_path):
    with pytest.raises(ValueError, match="do not fit shape") as caught:
        mg.onnx.export(Written(lambda m, x: x.reshape(3, -1, 3)), tmp_path / "x", np.ones((9, 4), np.float32))
    assert caught.value.__notes__ == ["onnx.export: in a forward pass with inputs of shapes [(3, 4)]"]


@pytest.mark.parametrize(
    ("model", "example", "error", "message"),
    [
        (F.relu, np.ones((1, 2)), TypeError, "need a Module, got function"),
        (nn.ReLU(), [[1.0]], TypeError, "need tensors or arrays as example, got list"),
        (nn.ReLU(), np.ones(()), ValueError, r"need examples that begin with one batch size, got shapes \[\(\)\]"),
        (nn.ReLU(), (np.ones((2, 3)), np.ones((3, 3))), ValueError, r".*, got shapes \[\(2, 3\), \(3, 3\)\]"),
    ],
)
def test_what_is_no_model_or_example_is_refused(model, example, error, message, tmp_path):
    with pytest.raises(error, match=f"onnx.export: {message}"):
        mg.onnx.export(model, tmp_path / "x", example)


@pytest.mark.parametrize(
    "example",
    [np.zeros((0, 4), np.float32), np.ones((4, 3), np.float32).T, mg.tensor(np.ones((1, 4), np.float32))],
    ids=["empty", "transposed", "tensor"],
)
def test_any_example_of_the_right_shape_will_do(example):
    model = nn.Linear(4, 2)
    _, run = exported(model, example)
    x = RNG.normal(size=(5, 4)).astype(np.float32)
    check_close(run(x), [model(mg.tensor(x)).detach()])


class Counting(nn.Module):
    """Changes itself as it runs."""

    def __init__(self):
        super().__init__()
        self.layer, self.drop = nn.Linear(4, 4), nn.Dropout()
        self.register_buffer("calls", mg.tensor([0.0]))
        self.register_buffer("last", mg.tensor(np.zeros(4, np.float32)))

    def forward(self, x):
        self.calls.add_(1.0)
        nn.init.normal_(mg.tensor(np.zeros(2)))
        y = self.drop(self.layer(x))
        self.last = y.detach()[0]
        return y


def test_the_model_and_the_modes_come_out_unchanged(tmp_path):
    model, seen = Counting(), []
    model.drop.eval()
    model.layer.register_forward_hook(lambda module, args, output: seen.append(output.shape))
    model.layer.weight.grad = mg.tensor(np.ones((4, 4), np.float32))
    members, state = dict(model.named_buffers()), copy.deepcopy(model.state_dict())
    mg.manual_seed(3)
    expected = nn.init.normal_(mg.tensor(np.zeros(3))).data
    mg.manual_seed(3)
    for example in (np.ones((1, 4), np.float32), np.ones((1, 4))):  # the second one fails: float64 in a float32 layer
        try:
            mg.onnx.export(model, tmp_path / "x", example)
        except TypeError:
            continue
    np.testing.assert_array_equal(nn.init.normal_(mg.tensor(np.zeros(3))), expected)
    assert (model.training, model.layer.training, model.drop.training) == (True, True, False)
    assert all(a is b for a, b in zip(members.values(), model.buffers(), strict=True))
    for name, tensor in model.state_dict().items():
        np.testing.assert_array_equal(tensor, state[name])
    assert seen == [(3, 4), (8, 4)]
    assert len(model.layer._forward_hooks) == 1
    assert mg.is_grad_enabled()
    assert model(mg.tensor(np.ones((1, 4), np.float32))).requires_grad


def test_a_buffer_that_changes_after_its_use_is_in_the_file_as_it_was():
    model = Written(lambda m, x: (x + m.seen, m.seen.add_(1.0))[0])
    check_exports(model, normal(4), (2,))
    assert model.seen.item() == 1  # from the comparison alone


def test_what_a_hook_puts_in_place_of_an_output_is_in_the_file():
    model = nn.Sequential(nn.Linear(4, 4), nn.ReLU())
    model[0].register_forward_hook(lambda module, args, output: output * 3)
    check_exports(model, normal(4), (2,))


def test_a_tied_weight_is_in_the_file_once():
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    model[1].weight = model[0].weight
    proto = check_exports(model, normal(4), (2,))
    assert [array.name for array in proto.graph.initializer] == ["0.weight", "0.bias", "1.bias"]


def test_an_op_of_ones_own_needs_a_converter(tmp_path):
    @mg.op
    def onnx_cube(x, *, scale=1.0):
        """scale x^3"""
        return scale * x * x * x, (x,)

    model, make = Written(lambda m, x: onnx_cube(x, scale=2.0)), normal(4)
    with pytest.raises(ValueError, match=r"onnx_cube: there is no converter for this op; register one"):
        mg.onnx.export(model, tmp_path / "x", make(1))

    @mg.onnx.converts("onnx_cube")
    def converter(graph, x, *, scale=1.0):
        cubed = graph.add("Mul", graph.add("Mul", x, x), x)
        return graph.add("Mul", cubed, graph.constant(scale, x.dtype))

    try:
        check_exports(model, make)
    finally:
        del mg.onnx.CONVERTERS["onnx_cube"]


def test_a_model_that_is_too_large_is_refused_and_the_old_file_stays(tmp_path, monkeypatch):
    path = tmp_path / "x.onnx"
    mg.onnx.export(nn.ReLU(), path, np.ones((1, 4)))
    before = path.read_bytes()
    monkeypatch.setattr(mg.onnx.graph, "MOST_BYTES", 63)
    with pytest.raises(ValueError, match="need at most 63 bytes of parameters in one file, got 80"):
        mg.onnx.export(nn.Linear(4, 4), path, np.ones((1, 4), np.float32))
    assert [p.name for p in tmp_path.iterdir()] == ["x.onnx"]
    assert path.read_bytes() == before


def test_a_file_says_who_made_it_and_for_which_version():
    proto, _ = exported(nn.Sequential(nn.ReLU()), np.ones((1, 4)))
    assert (proto.producer_name, proto.producer_version) == ("minigrad", mg.__version__)
    assert [(o.domain, o.version) for o in proto.opset_import] == [("", 20)]
    assert proto.ir_version == 9
    assert proto.graph.name == "Sequential"
