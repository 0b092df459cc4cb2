"""`fit` is the loop one would write, and what stands around it."""

import csv
import math
import sys

import numpy as np
import pytest

import minigrad as mg
from minigrad import functional as F, nn, optim
from minigrad.training import Callback, EarlyStopping, History, accuracy, evaluate, fit, predict

SHAPE = (1, 4, 4)


def digits(count=60, seed=0, dtype=np.float32):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 3, count)
    images = rng.standard_normal((count, *SHAPE)) + labels[:, None, None, None]
    return mg.data.Split(images.astype(dtype), labels)


def network(seed=0):
    mg.manual_seed(seed)
    return nn.Sequential(nn.Flatten(), nn.Linear(16, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.2), nn.Linear(8, 3))


def weights(model):
    return [tensor.numpy().tobytes() for tensor in model.state_dict().values()]


def quiet(model, data, **settings):
    return fit(model, data, **{"epochs": 2, "progress": False} | settings)


class Noted(Callback):
    """What is called when."""

    def __init__(self, stop_at=None):
        self.calls, self.stop_at = [], stop_at

    def start(self, run):
        self.calls.append("start")

    def step(self, run):
        self.calls.append(run.step)
        if run.step == self.stop_at:
            run.stop()

    def epoch(self, run):
        self.calls.append(f"epoch {run.epoch}")

    def end(self, run):
        self.calls.append("end")


def by_hand(model, data, optimizer, scheduler, epochs, batch_size):
    batches = mg.data.Batches(data, batch_size, seed=3)
    for _ in range(epochs):
        model.train()
        for images, labels in batches:
            optimizer.zero_grad()
            F.cross_entropy(model(images), labels).backward()
            optimizer.step()
            scheduler.step()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_fit_is_the_loop_one_would_write_to_the_bit(dtype):
    data, results = digits(dtype=dtype), []
    for way in (by_hand, None):
        model = network().to(dtype)
        optimizer = optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
        scheduler = optim.lr_scheduler.StepLR(optimizer, 3, 0.5)
        if way:
            way(model, data, optimizer, scheduler, 2, 16)
        else:
            quiet(model, data, batch_size=16, seed=3, optimizer=optimizer, scheduler=scheduler)
        results.append(weights(model))
    assert results[0] == results[1]


def test_accumulated_batches_are_one_step_by_the_mean_over_all_their_samples():
    data, models = digits(50), []  # 50 = 16 + 16 + 16 + 2: batches of different sizes
    for batch_size, accumulate in ((50, 1), (16, 4)):
        model = nn.Sequential(nn.Flatten(), nn.Linear(16, 3)).double()
        model.load_state_dict({"1.weight": np.ones((3, 16)) / 9, "1.bias": np.zeros(3)})
        optimizer = optim.SGD(model.parameters(), lr=0.5)
        images = mg.data.Split(data.images.astype(np.float64), data.labels)
        history = quiet(model, images, epochs=3, batch_size=batch_size, accumulate=accumulate, optimizer=optimizer)
        models.append((model, history))
    (whole, rows), (parts, other) = models
    np.testing.assert_allclose(parts[1].weight.data, whole[1].weight.data, rtol=1e-12)
    assert other.column("loss") == pytest.approx(rows.column("loss"), rel=1e-12)


def test_rows_hold_the_means_over_the_samples_and_the_validation():
    data, held, model = digits(), digits(20, seed=1), network()
    seen = []

    class Watch(Callback):
        def epoch(self, run):
            seen.append(evaluate(run.model, held))

    history = quiet(model, data, batch_size=16, validation=held, callbacks=[Watch()])
    assert history.column("epoch") == [1, 2]
    assert history.column("samples") == [60, 60]
    assert history.column("validation_loss") == [row["loss"] for row in seen]
    assert history.column("validation_accuracy") == [row["accuracy"] for row in seen]
    assert history.column("lr") == [0.001, 0.001]
    assert all(seconds > 0 for seconds in history.column("seconds"))
    assert history[-1]["accuracy"] in [right / 60 for right in range(61)]


def test_a_run_without_learning_has_the_loss_of_evaluation():
    data, model = digits(), nn.Sequential(nn.Flatten(), nn.Linear(16, 3))
    history = quiet(model, data, batch_size=7, optimizer=optim.SGD(model.parameters(), lr=0.0))
    found = evaluate(model, data)
    assert history[-1]["loss"] == pytest.approx(found["loss"], rel=1e-6)
    assert history[-1]["accuracy"] == found["accuracy"]


def test_several_inputs_other_losses_and_own_metrics():
    class Line(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second = nn.Linear(2, 1), nn.Linear(3, 1, bias=False)

        def forward(self, x, z):
            return self.first(x) + self.second(z)

    rng = np.random.default_rng(0)
    x, z = rng.standard_normal((80, 2)).astype("f"), rng.standard_normal((80, 3)).astype("f")
    y = x @ np.float32([[1], [-2]]) + z @ np.float32([[3], [0], [1]]) + 1

    def largest_error(outputs, targets):
        return np.abs(outputs - targets).max()

    model = Line()
    history = quiet(
        model, (x, z, y), epochs=40, loss=F.mse_loss, metrics=[largest_error], validation=(x, z, y),
        optimizer=optim.SGD(model.parameters(), lr=0.2),
    )  # fmt: skip
    assert history[-1]["validation_largest_error"] < 1e-3
    np.testing.assert_allclose(predict(model, x, z), y, atol=1e-3)


def test_callbacks_are_called_in_order_and_end_even_when_training_fails():
    noted = Noted()
    quiet(network(), digits(40), batch_size=16, callbacks=[noted])
    assert noted.calls == ["start", 1, 2, 3, "epoch 1", 4, 5, 6, "epoch 2", "end"]

    class Fails(Callback):
        def step(self, run):
            raise OSError("no")

    noted = Noted()
    with pytest.raises(OSError, match="no"):
        quiet(network(), digits(), callbacks=[noted, Fails()])
    assert noted.calls == ["start", 1, "end"]


def test_a_run_that_is_stopped_ends_after_the_step_and_its_epoch_counts():
    noted = Noted(stop_at=5)
    history = quiet(network(), digits(40), batch_size=16, epochs=9, callbacks=[noted])
    assert noted.calls == ["start", 1, 2, 3, "epoch 1", 4, 5, "epoch 2", "end"]
    assert history.column("samples") == [40, 32]


@pytest.mark.parametrize("mode", ["min", "max"])
def test_early_stopping_ends_with_the_best_epochs_weights(mode):
    values = iter([3.0, 2.0, 2.5, 2.0, 1.99, 9.0])
    after = []

    def scripted(outputs, targets):
        return next(values) * (1 if mode == "min" else -1)

    class Kept(Callback):
        def epoch(self, run):
            after.append(weights(run.model))

    model, held = network(), digits(10, seed=1)

    class Fed(Callback):
        """The script goes into the rows after each epoch, so that training's batches take nothing from it."""

        def epoch(self, run):
            run.history[-1]["scripted"] = scripted(None, None)

    stopping = EarlyStopping("scripted", patience=3, mode=mode, min_delta=0.1)
    history = quiet(model, digits(), epochs=50, validation=held, callbacks=[Fed(), Kept(), stopping])
    assert len(history) == 5  # the second was the best; 1.99 is no better by more than 0.1
    assert stopping.best_epoch == 2
    assert weights(model) == after[1] != after[4]


def test_early_stopping_can_leave_the_last_weights_and_wants_a_quantity_that_there_is():
    model, last = network(), []

    class Kept(Callback):
        def epoch(self, run):
            last[:] = weights(run.model)

    stopping = EarlyStopping("loss", patience=1, min_delta=100.0, restore_best=False)
    assert len(quiet(model, digits(), epochs=9, callbacks=[Kept(), stopping])) == 2
    assert weights(model) == last
    with pytest.raises(
        KeyError, match="need one of epoch, samples, loss, accuracy, lr, seconds, got 'validation_loss'"
    ):
        quiet(network(), digits(), callbacks=[EarlyStopping()])


def test_a_schedule_is_stepped_with_the_optimiser_or_with_the_epoch():
    for interval, expected in (("step", [0.1, 0.01]), ("epoch", [1.0, 0.1])):
        model = network()
        optimizer = optim.SGD(model.parameters(), lr=1.0)
        schedule = optim.lr_scheduler.StepLR(optimizer, 1 if interval == "epoch" else 3)
        history = quiet(
            model, digits(60), batch_size=16, optimizer=optimizer, scheduler=schedule, scheduler_interval=interval
        )
        assert history.column("lr") == pytest.approx(expected)


def test_prediction_is_in_order_in_evaluation_mode_and_leaves_every_mode_as_it_was():
    model, data = network(), digits(37)
    model[2].eval()
    modes = [module.training for module in model.modules()]
    before = weights(model)
    found = predict(model, data.images, batch_size=10)
    assert [module.training for module in model.modules()] == modes
    assert weights(model) == before
    model.eval()
    with mg.no_grad():
        np.testing.assert_array_equal(
            found, np.concatenate([model(data.images[i : i + 10]).numpy() for i in (0, 10, 20, 30)])
        )
    assert predict(model, data.images[:0]).shape == (0, 3)
    readonly = data.images[::-1]
    readonly.flags.writeable = False
    np.testing.assert_array_equal(
        predict(model, readonly, batch_size=37), predict(model, data.images, batch_size=37)[::-1]
    )


def test_a_loss_that_is_no_number_ends_the_run_and_says_where():
    data = digits()
    data.images[:] = np.inf
    with (
        np.errstate(all="ignore"),
        pytest.raises(FloatingPointError, match=r"is nan in step 1, epoch 1.*detect_anomaly"),
    ):
        quiet(network(), data)


@pytest.mark.parametrize("installed", [True, False])
def test_progress_goes_to_stderr_with_and_without_a_bar(installed, monkeypatch, capsys):
    if not installed:
        monkeypatch.setitem(sys.modules, "tqdm", None)
    history = quiet(network(), digits(), progress=True)
    shown = capsys.readouterr()
    assert shown.out == ""
    for row in history:
        assert f"epoch {row['epoch']}/2" in shown.err
        assert f"loss {row['loss']:.4f}, accuracy {row['accuracy']:.4f}" in shown.err
    assert ("60/60" in shown.err) == installed


def test_history_goes_to_json_and_csv(tmp_path):
    history = History([{"epoch": 1, "loss": 0.1}, {"epoch": 2, "loss": math.pi, "validation_loss": 1e-300}])
    history.to_json(tmp_path / "h.json")
    assert History.from_json(tmp_path / "h.json") == history
    history.to_csv(tmp_path / "h.csv")
    with open(tmp_path / "h.csv", newline="") as file:
        first, second = csv.DictReader(file)
    assert first == {"epoch": "1", "loss": "0.1", "validation_loss": ""}
    assert float(second["loss"]) == math.pi
    (tmp_path / "x.json").write_text("{}")
    with pytest.raises(ValueError, match=r"x\.json: no list of rows"):
        History.from_json(tmp_path / "x.json")


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"epochs": 0}, ValueError, "epochs as an integer of at least 1, got 0"),
        ({"accumulate": 1.5}, ValueError, "accumulate as an integer of at least 1, got 1.5"),
        ({"accumulate": 2**63}, ValueError, "accumulate below 2\\*\\*63"),
        ({"data": digits().images}, TypeError, "need a Split, arrays .* or Batches, got ndarray"),
        ({"data": digits(0)}, ValueError, "need at least one batch, got 0 samples"),
        ({"validation": digits(0)}, ValueError, "evaluate: need at least one sample"),
        ({"metrics": [lambda o, t: 0.0, lambda o, t: 1.0]}, ValueError, "metrics of different names"),
        ({"metrics": ["accuracy"]}, TypeError, "metrics as functions"),
        ({"resume": True}, ValueError, "name the file"),
        ({"scheduler_interval": "week"}, ValueError, "'step' or 'epoch', got 'week'"),
        ({"batch_size": 0}, ValueError, "batch_size"),
    ],
)
def test_bad_settings_are_named(settings, error, message):
    with pytest.raises(error, match=message):
        quiet(network(), settings.pop("data", digits()), **settings)


def test_accuracy_refuses_what_has_no_classes_or_no_samples():
    assert accuracy(np.array([[0.0, 1.0], [2.0, 1.0]]), np.array([1, 1])) == 0.5
    for scores, labels in ((np.ones(3), np.ones(3, int)), (np.ones((2, 3)), np.ones(3, int)), (np.ones((0, 3)), [])):
        with pytest.raises(ValueError, match="accuracy: need scores"):
            accuracy(scores, labels)
