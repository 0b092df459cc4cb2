"""An error between two layers names both and the number that would fit, and costs nothing while all fits."""

import gc
import pickle
import threading
import weakref

import numpy as np
import pytest

import minigrad as mg
from minigrad import functional as F, nn
from minigrad.trail import notes

IMAGES = np.random.default_rng(0).random((2, 1, 28, 28), np.float32)
RULE = r"linear: need input \(..., 490\) and weight \(K, C\), got \(2, 400\) and \(\d+, 490\)"


class LeNet(nn.Module):
    """LeNet with a wrong number in it, and several ways from conv2 to fc1."""

    def __init__(self, way, features=490, stride=1):
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(1, 6, 5, padding=2), nn.Conv2d(6, 16, 5, stride=stride)
        self.relu, self.pool, self.drop = nn.ReLU(), nn.MaxPool2d(2), nn.Dropout()
        self.fc1 = nn.Linear(features, 10)
        self.way = way

    def forward(self, x):
        return self.fc1(self.way(self, self.relu(self.conv2(F.max_pool2d(self.conv1(x), 2)))))


def message(model, x=IMAGES):
    with pytest.raises(ValueError, match=r"\(linear: need input") as caught:
        model(mg.tensor(x))
    return str(caught.value)


@pytest.mark.parametrize("recording", [True, False])
def test_the_error_is_as_the_documents_show_it(recording):
    with mg.set_grad_enabled(recording):
        told = message(LeNet(lambda self, x: x.flatten(1), stride=2))
    assert told.startswith("fc1 expects 490 features, conv2 gives 16 x 5 x 5 = 400: use Linear(400, ...) (linear: need")


WAYS = {
    "pooled by a module": (lambda self, x: self.pool(x).flatten(1), "pool, after conv2, gives 16 x 5 x 5 = 400"),
    "pooled by a function": (lambda self, x: F.max_pool2d(x, 2).flatten(1), "conv2 gives 16 x 5 x 5 = 400"),
    "dropped": (lambda self, x: self.drop(self.pool(x).flatten(1)), "pool, after conv2, gives 16 x 5 x 5 = 400"),
    "reshaped": (lambda self, x: self.pool(x).reshape(len(x), -1), "pool, after conv2, gives 16 x 5 x 5 = 400"),
    "averaged": (lambda self, x: x.mean((2, 3)), "conv2 gives 16: use Linear(16, ...)"),
    "another branch between": (
        lambda self, x: (self.conv1(x[:, :1]), self.pool(x).flatten(1))[1],
        "pool, after conv2, gives 16 x 5 x 5 = 400",
    ),
}


@pytest.mark.parametrize(("way", "told"), WAYS.values(), ids=list(WAYS))
def test_functions_and_modules_between_are_seen_through(way, told):
    assert told in message(LeNet(way))


def test_what_functions_changed_after_the_layer_is_said():
    told = message(LeNet(lambda self, x: F.max_pool2d(x, 2).flatten(1)))
    assert "; functions after conv2, which gives 16 x 10 x 10, changed the size (linear" in told


def test_a_forgotten_flatten_is_told_from_a_wrong_number():
    assert "conv2 gives 16 x 10 x 10 = 1600: call flatten(1)" in message(LeNet(lambda self, x: x, 1600))
    assert "use Linear(10, ...) for the last dimension, or flatten(1) and Linear(1600, ...)" in message(
        LeNet(lambda self, x: x)
    )
    told = message(LeNet(lambda self, x: x.flatten(), 1600))
    assert "conv2 gives 16 x 10 x 10 = 1600: flatten(1) keeps the samples apart" in told


def sequential(features=490):
    return nn.Sequential(
        nn.Conv2d(1, 6, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(features, 120), nn.ReLU(), nn.Linear(120, 10),
    )  # fmt: skip


def test_numbered_layers_are_named_with_their_kind_also_where_they_are_computed_at_once():
    model = sequential()
    told = "7 (Linear) expects 490 features, 5 (MaxPool2d), after 3 (Conv2d), gives 16 x 5 x 5 = 400: use Linear(400"
    assert message(model).startswith(told)
    model[4].register_forward_hook(lambda *_: None)  # then they are not
    assert message(model).startswith(told)


def test_names_are_paths_in_the_outermost_model():
    model = nn.Sequential({"body": sequential()[:6], "head": nn.Sequential(nn.Flatten(), nn.Linear(490, 10))})
    told = message(nn.ModuleDict({"net": model})["net"])
    assert told.startswith("head.1 (Linear) expects 490 features, body.5 (MaxPool2d), after body.3 (Conv2d), gives")
    assert told.count("expects") == 1


def test_between_linear_layers_the_number_is_named_too():
    model = nn.Sequential({"fc1": nn.Linear(784, 30), "act": nn.Tanh(), "fc2": nn.Linear(20, 10)})
    assert message(model, IMAGES.reshape(2, -1)).startswith(
        "fc2 expects 20 features, fc1 gives 30: use Linear(30, ...)"
    )


def test_a_weight_of_ones_own_is_named_by_its_path():
    class Own(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(np.ones((3, 5), np.float32))

        def forward(self, x):
            return F.linear(x.flatten(1), self.weight)

    model = nn.Sequential(nn.Conv2d(1, 2, 28), Own())
    assert message(model).startswith("1.weight expects 5 features, 0 (Conv2d) gives 2 x 1 x 1 = 2")


def test_a_layer_alone_and_a_function_state_the_rule():
    for call in (nn.Linear(490, 10), lambda x: F.linear(x, np.ones((10, 490), np.float32))):
        with pytest.raises(ValueError, match=f"^{RULE}$"):
            call(mg.tensor(np.ones((2, 400), np.float32)))


def test_an_earlier_pass_is_not_taken_for_this_one():
    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.fc = nn.Conv2d(1, 1, 1), nn.Linear(16, 2)

        def forward(self, x):
            return self.fc(self.conv(x).flatten(1) if x.ndim > 2 else x)

    model = Model()
    model(mg.tensor(np.ones((2, 1, 4, 4), np.float32)))
    assert message(model, np.ones((2, 9), np.float32)).startswith("fc expects 16 features, got 9")
    model.fc = nn.Linear(17, 2)
    assert "conv gives" in message(model, np.ones((2, 1, 4, 4), np.float32))
    assert message(model, np.ones((2, 16), np.float32)).startswith("fc expects 17 features, got 16")


def test_modules_that_give_one_number_or_none_do_not_hide_the_error():
    class Odd(nn.Module):
        def forward(self, x):
            return x.sum() if x.ndim > 2 else (x, x)

    model = LeNet(lambda self, x: (self.odd(x), self.odd(self.pool(x).flatten(1))[0])[1])
    model.odd = Odd()
    assert "pool, after conv2, gives 16 x 5 x 5 = 400: use" in message(model)


def test_each_thread_has_its_own_trail():
    model, told = sequential(), []
    model[:6](mg.tensor(IMAGES))
    other = threading.Thread(target=lambda: told.append(message(model[6:], np.ones((2, 400), np.float32))))
    other.start()
    other.join()
    assert told[0].startswith("7 (Linear) expects 490 features, 6 (Flatten) gives 400: use")


def test_notes_keep_nothing_alive_and_stay_few():
    model = sequential(400)
    for _ in range(20):
        seen = model[0](mg.tensor(IMAGES))
        model(mg.tensor(IMAGES))
    gone = [weakref.ref(seen), weakref.ref(model), weakref.ref(model[0].weight)]
    del seen, model
    gc.collect()
    assert [ref() for ref in gone] == [None] * 3
    trail = notes.get()
    assert len(trail) <= 64
    assert all(isinstance(number, int) for _, shape in trail for number in shape)


def test_an_error_that_was_handled_leaves_nothing_alive():
    model = sequential()
    message(model)
    gone = weakref.ref(model)
    del model
    gc.collect()
    assert gone() is None


@pytest.mark.parametrize("way", [
    lambda self, x: x.flatten(1), lambda self, x: F.linear(x.flatten(1), self.fc1.weight * 2),
])  # fmt: skip
def test_the_error_is_a_value_error_that_can_be_sent_to_another_process(way):
    with pytest.raises(ValueError, match=r"linear: need input \(..., 490\)") as caught:
        LeNet(way)(mg.tensor(IMAGES))
    copy = pickle.loads(pickle.dumps(caught.value))
    assert isinstance(copy, ValueError)
    assert str(copy) == str(caught.value)
