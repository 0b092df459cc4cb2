"""Modules: names, state, modes, dtypes, hooks, copies; no layer's mathematics."""

import copy
import multiprocessing
import pickle
from concurrent.futures import ProcessPoolExecutor

import numpy as np
import pytest

import minigrad as mg
from minigrad import nn

RNG = np.random.default_rng(0)


class Block(nn.Module):
    """A module with a parameter, an absent one, buffers of both kinds and submodules."""

    def __init__(self, features=3):
        super().__init__()
        self.scale = nn.Parameter(RNG.normal(size=features))
        self.register_parameter("shift", None)
        self.register_buffer("count", mg.tensor([0]))
        self.register_buffer("scratch", mg.tensor([1.0]), persistent=False)
        self.layers = nn.Sequential(nn.Linear(features, features), nn.Tanh(), nn.Linear(features, 2))
        self.note = "plain"

    def forward(self, x):
        return self.layers(x * self.scale)


PARAMETERS = ["scale", "layers.0.weight", "layers.0.bias", "layers.2.weight", "layers.2.bias"]
MODULES = ["", "layers", "layers.0", "layers.1", "layers.2"]


def test_attributes_give_members_their_names_in_order_of_assignment():
    block = Block()
    assert [name for name, _ in block.named_parameters()] == PARAMETERS
    assert [name for name, _ in block.named_modules()] == MODULES
    assert [name for name, _ in block.named_children()] == ["layers"]
    assert [name for name, _ in block.named_buffers()] == ["count", "scratch"]
    assert [name for name, _ in block.named_parameters(prefix="top")] == [f"top.{name}" for name in PARAMETERS]
    assert [name for name, _ in block.named_parameters(recurse=False)] == ["scale"]
    assert all(a is b for a, (_, b) in zip(block.parameters(), block.named_parameters(), strict=True))
    assert block.shift is None
    assert {"scale", "shift", "count", "layers", "note"} <= set(dir(block))


def test_paths_lead_to_members():
    block = Block()
    assert block.get_submodule("layers.2") is block.layers[2]
    assert block.get_submodule("") is block
    assert block.get_parameter("layers.2.bias") is block.layers[2].bias
    assert block.get_buffer("count") is block.count
    for get, path in [
        (block.get_submodule, "layers.7"),
        (block.get_parameter, "layers.1.weight"),
        (block.get_parameter, "shift"),
        (block.get_buffer, "scale"),
    ]:
        with pytest.raises(AttributeError, match=path.rpartition(".")[2]):
            get(path)


def test_a_shared_member_is_listed_once_but_saved_under_both_names():
    block = Block()
    block.again, block.tied = block.layers, block.scale
    assert [name for name, _ in block.named_parameters()] == PARAMETERS
    assert [name for name, _ in block.named_modules()] == MODULES
    both = dict(block.named_parameters(remove_duplicate=False))
    assert both["again.0.weight"] is both["layers.0.weight"]
    assert both["tied"] is both["scale"]
    assert {"again.0.weight", "layers.0.weight", "tied", "scale"} <= block.state_dict().keys()


def test_assignment_moves_a_name_between_kinds_of_members():
    block, parameter = Block(), nn.Parameter([1.0])
    block.note = parameter
    assert "note" not in vars(block)
    assert dict(block.named_parameters())["note"] is parameter
    block.note = nn.Identity()
    assert "note" not in dict(block.named_parameters())
    assert "note" in dict(block.named_modules())
    block.scratch = nn.Parameter([2.0])
    assert "scratch" in block.state_dict()
    assert [name for name, _ in block.named_buffers()] == ["count"]
    del block.note, block.scale, block.count, block.layers
    assert [name for name, _ in block.named_parameters()] == ["scratch"]
    with pytest.raises(AttributeError, match="no attribute 'scale'"):
        _ = block.scale


def test_a_buffer_that_is_assigned_anew_stays_what_it_was():
    block = Block()
    block.count, block.scratch = mg.tensor([5]), mg.tensor([2.0])
    assert block.state_dict()["count"].item() == 5
    assert "scratch" not in block.state_dict()
    block.count = None
    assert "count" not in block.state_dict()


def test_what_does_not_fit_a_name_is_refused():
    block = Block()
    for name, value in [("scale", mg.tensor([1.0])), ("layers", 3), ("count", np.zeros(1))]:
        with pytest.raises(TypeError, match=f"Block.{name}: need a"):
            setattr(block, name, value)
    for name in ["", "a.b", "forward", "train"]:
        with pytest.raises(ValueError, match="need a name"):
            block.add_module(name, nn.Identity())
    with pytest.raises(TypeError, match=r"int64"):
        nn.Parameter([1, 2])


def test_forgetting_to_initialise_the_base_says_so():
    class Parametrised(nn.Module):
        def __init__(self):
            self.weight = nn.Parameter([1.0])

    class Plain(nn.Module):
        def __init__(self):
            self.size = 3

        def forward(self, x):
            return x

    with pytest.raises(AttributeError, match="Plain has no attribute 'sizes'"):
        _ = Plain().sizes
    with pytest.raises(AttributeError, match=r"Parametrised: call super\(\).__init__\(\)"):
        Parametrised()
    for use in (lambda m: m(1), lambda m: list(m.parameters()), lambda m: m.training):
        with pytest.raises(AttributeError, match=r"Plain: call super\(\).__init__\(\)"):
            use(Plain())


def test_a_module_without_forward_says_so():
    with pytest.raises(NotImplementedError, match="ModuleList: define forward"):
        nn.ModuleList()(1)


def test_a_parameter_owns_a_copy_and_learns_unless_told_not_to():
    data = np.ones(3)
    parameter = nn.Parameter(data)
    data[:] = 7
    assert parameter.tolist() == [1.0] * 3
    assert parameter.requires_grad
    assert parameter.is_leaf
    assert not nn.Parameter([1, 2], requires_grad=False).requires_grad
    assert repr(nn.Parameter([1.0])) == "Parameter containing:\ntensor([1.], requires_grad=True)"


def test_training_mode_reaches_all_modules_by_their_own_methods():
    class Frozen(nn.Module):
        def train(self, mode=True):
            return super().train(False)

    block = Block()
    block.frozen = Frozen()
    assert all(module.training for module in block.modules())
    assert block.eval() is block
    assert not any(module.training for module in block.modules())
    block.train()
    assert [name for name, module in block.named_modules() if not module.training] == ["frozen"]


def test_gradients_can_be_taken_away_zeroed_and_switched_off():
    block = Block().double()
    block(mg.tensor(RNG.normal(size=(4, 3)))).backward(RNG.normal(size=(4, 2)))
    assert all(np.any(p.grad.data) for p in block.parameters())
    block.zero_grad(set_to_none=False)
    assert all(not np.any(p.grad.data) for p in block.parameters())
    block.zero_grad()
    assert all(p.grad is None for p in block.parameters())
    assert block.requires_grad_(False) is block
    assert not block(mg.tensor(RNG.normal(size=(4, 3)))).requires_grad


def test_apply_goes_from_the_inside_out():
    block, order = Block(), []
    assert block.apply(order.append) is block
    assert order == [block.layers[0], block.layers[1], block.layers[2], block.layers, block]


def test_conversion_keeps_the_objects_and_leaves_integers_alone():
    block = Block().double()
    block(mg.tensor(RNG.normal(size=(4, 3)))).backward(RNG.normal(size=(4, 2)))
    before, values = list(block.parameters()), [p.data.copy() for p in block.parameters()]
    gradients = [p.grad.data for p in before]
    assert block.float() is block
    for p, old, value, gradient in zip(block.parameters(), before, values, gradients, strict=True):
        assert p is old
        assert p.dtype == p.grad.dtype == np.float32
        np.testing.assert_array_equal(p.data, value.astype(np.float32))
        np.testing.assert_array_equal(p.grad.data, gradient.astype(np.float32))
    assert block.count.dtype == np.int64
    assert block.scratch.dtype == np.float32
    assert block.to("float64").scale.dtype == np.float64
    with pytest.raises(TypeError, match="to: need float32 or float64, got int64"):
        block.to(np.int64)


def test_a_graph_from_before_a_conversion_cannot_be_differentiated():
    layer = nn.Linear(3, 2)
    x = mg.tensor(RNG.normal(size=(4, 3)).astype(np.float32), requires_grad=True)
    y = layer(x)
    layer.double()
    with pytest.raises(RuntimeError, match="changed in place"):
        y.backward(RNG.normal(size=(4, 2)))


def test_state_is_restored_in_place():
    source, target = Block().double(), Block().double()
    source.count.fill_(3)
    parameters = list(target.parameters())
    result = target.load_state_dict({name: tensor.numpy() for name, tensor in source.state_dict().items()})
    assert result == ([], [])
    assert all(a is b for a, b in zip(target.parameters(), parameters, strict=True))
    assert target.count.item() == 3
    x = RNG.normal(size=(4, 3))
    np.testing.assert_array_equal(source(mg.tensor(x)).detach(), target(mg.tensor(x)).detach())
    source.scale.detach()[0] = 100.0
    assert target.scale[0].item() != 100.0
    target.load_state_dict(dict(source.named_parameters()), strict=False)
    assert target.scale[0].item() == 100.0


def test_state_shares_memory_until_it_is_copied_deeply():
    block = Block()
    state, snapshot = block.state_dict(), copy.deepcopy(block.state_dict())
    before = block.scale.data.copy()
    block.scale.detach().add_(1.0)
    np.testing.assert_array_equal(state["scale"], before + 1)
    np.testing.assert_array_equal(snapshot["scale"], before)
    assert not state["scale"].requires_grad


def test_state_keeps_the_dtypes_of_the_module(tmp_path):
    source, target = Block().double(), Block().float()
    mg.save(source.state_dict(), tmp_path / "block.safetensors")
    target.load_state_dict(mg.load(tmp_path / "block.safetensors"))
    assert target.scale.dtype == np.float32
    np.testing.assert_array_equal(target.scale.data, source.scale.data.astype(np.float32))


def test_all_faults_of_a_state_are_listed_and_nothing_changes():
    block = Block()
    state = {name: np.zeros(tensor.shape) for name, tensor in block.state_dict().items()}
    del state["scale"], state["layers.0.bias"]
    state |= {"extra": np.zeros(1), "layers.2.weight": np.zeros((3, 2))}
    before = copy.deepcopy(block.state_dict())
    message = (
        r"Block.load_state_dict: missing: scale, layers.0.bias; unexpected: extra; "
        r"misshapen: layers.2.weight \(need \(2, 3\), got \(3, 2\)\)"
    )
    with pytest.raises(ValueError, match=message):
        block.load_state_dict(state)
    with pytest.raises(ValueError, match="load_state_dict: misshapen"):
        block.load_state_dict(state, strict=False)
    for name, tensor in block.state_dict().items():
        np.testing.assert_array_equal(tensor, before[name])
    del state["layers.2.weight"]
    result = block.load_state_dict(state, strict=False)
    assert result.missing_keys == ["scale", "layers.0.bias", "layers.2.weight"]
    assert result.unexpected_keys == ["extra"]
    assert not np.any(block.layers[0].weight.data)
    assert np.any(block.scale.data)


def test_a_state_that_cannot_be_loaded_leaves_everything_as_it_was():
    weight = np.ones(3)
    weight.flags.writeable = False
    model = nn.ModuleDict({"layer": nn.Linear(2, 3), "loss": nn.CrossEntropyLoss(weight)})
    state, before = {k: v.data * 2 for k, v in model.state_dict().items()}, copy.deepcopy(model.state_dict())
    with pytest.raises(ValueError, match=r"ModuleDict.load_state_dict: read-only: loss.weight"):
        model.load_state_dict(state)
    with pytest.raises(TypeError, match=r"ModuleDict.load_state_dict: loss.weight: .* got object"):
        model.load_state_dict(state | {"loss.weight": None})
    for name, tensor in model.state_dict().items():
        np.testing.assert_array_equal(tensor, before[name])


def test_conv1x1_takes_the_weight_of_a_convolution_of_one_cell():
    layers, weight = nn.Sequential(nn.Conv1x1(3, 4, bias=False)), RNG.normal(size=(4, 3, 1, 1))
    for cells in ((), (1,), (1, 1)):
        layers[0].weight.detach().zero_()
        layers.load_state_dict({"0.weight": weight.reshape(4, 3, *cells)})
        np.testing.assert_array_equal(layers[0].weight.data, weight[:, :, 0, 0].astype(np.float32))
    for wrong in (weight[:, :2], weight.reshape(2, 2, 3, 1), weight[:, :, 0, 0].T):
        with pytest.raises(ValueError, match=r"misshapen: 0.weight \(need \(4, 3\), got"):
            layers.load_state_dict({"0.weight": wrong})


def test_forward_hooks_see_and_replace_and_can_be_removed():
    layer, seen = nn.Identity(), []
    pre = layer.register_forward_pre_hook(lambda module, args: (args[0] * 2,))
    watch = layer.register_forward_hook(lambda module, args, output: seen.append((module, *args, output)))
    with layer.register_forward_hook(lambda module, args, output: output + 1):
        assert layer(5) == 11
    assert seen == [(layer, 10, 10)]
    watch.remove()
    pre.remove()
    assert layer(5) == 5
    assert len(seen) == 1
    layer.register_forward_pre_hook(lambda module, args: args[0] + 1)
    assert layer(5) == 6


def test_a_hook_that_removes_itself_does_not_disturb_the_others():
    layer, seen = nn.Identity(), []
    handles = []

    def once(module, args, output):
        seen.append("once")
        handles[0].remove()

    handles.append(layer.register_forward_hook(once))
    layer.register_forward_hook(lambda module, args, output: seen.append("always"))
    layer(1)
    layer(1)
    assert seen == ["once", "always", "always"]


def test_repr_shows_the_tree_and_its_settings():
    class Named(nn.Sequential):
        def extra_repr(self):
            return "two\nlines"

    net = Named(nn.Conv2d(1, 6, 5, padding=((1, 2), (3, 4))), nn.Sequential(nn.ReLU(), nn.MaxPool2d(2)))
    assert repr(net) == (
        "Named(\n"
        "  two\n"
        "  lines\n"
        "  (0): Conv2d(1, 6, kernel_size=(5, 5), stride=(1, 1), padding=((1, 2), (3, 4)))\n"
        "  (1): Sequential(\n"
        "    (0): ReLU()\n"
        "    (1): MaxPool2d(kernel_size=2, stride=2, padding=0, dilation=1, ceil_mode=False)\n"
        "  )\n"
        ")"
    )
    assert repr(nn.Sequential()) == "Sequential()"


def test_a_deep_copy_computes_the_same_and_shares_nothing():
    block = Block().double()
    block.tied = block.scale
    twin = copy.deepcopy(block)
    assert twin.tied is twin.scale is not block.scale
    x = mg.tensor(RNG.normal(size=(4, 3)))
    np.testing.assert_array_equal(block(x).detach(), twin(x).detach())
    twin.scale.detach().zero_()
    assert np.all(block.scale.data)
    assert type(twin.scale) is nn.Parameter
    assert [name for name, _ in twin.named_parameters()] == PARAMETERS


def test_a_module_can_be_sent_to_a_spawned_process():
    net = nn.Sequential(nn.Conv2d(2, 3, 3, padding="same"), nn.BatchNorm2d(3), nn.ReLU(), nn.Flatten())
    net.double().eval().requires_grad_(False)  # what comes back has no history, which would stay in its process
    x = mg.tensor(RNG.normal(size=(2, 2, 4, 4)))
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as executor:
        there = executor.submit(net, x).result()
    np.testing.assert_array_equal(there, net(x))
    assert [n for n, _ in pickle.loads(pickle.dumps(net)).named_parameters()] == [n for n, _ in net.named_parameters()]


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(nn.Linear(3, 3), nn.Sequential(nn.Tanh(), nn.Linear(3, 3)))
        self.head = nn.ModuleList([nn.Linear(3, 2)])
        self.outside = [nn.Linear(2, 2)]

    def forward(self, x):
        return self.outside[0](self.head[0](self.features(x)))


@pytest.mark.parametrize(
    ("path", "find"),
    [
        ("features.0", lambda net: net.features[0]),
        ("features.1.1", lambda net: net.features[1][1]),
        ("head.0", lambda net: net.head[0]),
        ("Linear", lambda net: net.outside[0]),
    ],
)
def test_an_anomaly_names_the_path_of_its_module(path, find):
    net, x = Net(), mg.tensor(np.ones((2, 3), np.float32))
    find(net).weight.detach().fill_(np.nan)
    with mg.detect_anomaly(), pytest.raises(FloatingPointError, match=f"forward of linear.* in module {path}: nan"):
        net(x)
    assert np.isnan(net(x).detach().numpy()).any()


def test_an_anomaly_in_backward_names_the_module_of_its_forward():
    class Root(nn.Module):
        def forward(self, x):
            return x.sqrt()

    net = nn.Sequential(nn.Identity(), Root())
    x = mg.tensor([4.0, 0.0], requires_grad=True)
    with mg.detect_anomaly(), np.errstate(divide="ignore"):
        y = net(x)
        with pytest.raises(FloatingPointError, match="backward of sqrt in module 1: inf"):
            y.backward([1.0, 1.0])


def test_after_an_error_in_an_anomaly_search_paths_start_anew():
    def fail(module, args):
        raise KeyError("on purpose")

    net = Net()
    handle = net.features[0].register_forward_pre_hook(fail)
    x = mg.tensor(np.ones((2, 3), np.float32))
    with mg.detect_anomaly():
        with pytest.raises(KeyError, match="on purpose"):
            net(x)
        handle.remove()
        net.features[1][1].bias.detach().fill_(np.inf)
        with pytest.raises(FloatingPointError, match=r"in module features.1.1: inf"):
            net(x)
