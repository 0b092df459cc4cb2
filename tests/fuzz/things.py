"""Calls on what keeps something: tensors that share memory, parameters, schedules, models, files."""

import contextlib
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

import minigrad as mg
from minigrad import data, interpret, nn, optim, training
from minigrad.classifier import Classifier
from minigrad.optim import lr_scheduler

from .commands import write_image

Arguments = dict[str, Any]
Calls = dict[str, tuple[Callable[..., Any], Arguments]]
IMAGES, LABELS = np.arange(4 * 36, dtype=np.float32).reshape(4, 1, 6, 6) / 144, np.arange(4) % 3
ROWS = np.arange(30, dtype=np.float32).reshape(5, 6) / 30
MATRIX = ROWS[:3, :2].copy()


def in_place(name: str) -> Callable[..., Any]:
    """A method that changes a tensor, of one that shares its memory with an array.

    What must not be changed for others refuses with the advice to change a clone, which is followed.
    """

    def call(self: Any, **arguments: Any) -> Any:
        tensor = mg.as_tensor(self)
        try:
            getattr(tensor, name)(*arguments.values())
        except RuntimeError as error:
            if "clone" not in str(error):
                raise
            tensor = tensor.clone()
            getattr(tensor, name)(*arguments.values())
        return tensor

    return call


def optimise(name: str) -> Callable[..., Any]:
    """Two steps of an optimiser on a parameter that shares its memory with an array; of a clone, as in `in_place`."""

    def call(parameter: Any, gradient: Any, **settings: Any) -> Any:
        leaf = mg.as_tensor(parameter).detach()
        try:
            return _stepped(name, leaf, gradient, settings)
        except ValueError as error:
            if "lie in one place" not in str(error) and "read-only" not in str(error):
                raise
            return _stepped(name, leaf.detach().clone(), gradient, settings)

    return call


def _stepped(name: str, leaf: mg.Tensor, gradient: Any, settings: Arguments) -> mg.Tensor:
    leaf = leaf.detach().requires_grad_()
    optimizer = getattr(optim, name)([leaf], **settings)
    leaf.grad = mg.tensor(gradient)
    for _ in range(2):
        optimizer.step()
    return leaf.detach()


def _schedule(name: str) -> Callable[..., Any]:
    """The learning rates of some steps."""

    def call(**settings: Any) -> Any:
        optimizer = optim.SGD([nn.Parameter(MATRIX)], lr=0.1, momentum=0.9)
        try:
            schedule = getattr(lr_scheduler, name)(optimizer, **settings)
        except KeyError as error:  # as PyTorch has it, where a group has no initial_lr
            raise ValueError(error.args[0]) from error
        rates = []
        for _ in range(4):
            optimizer.step()
            schedule.step()
            rates += schedule.get_last_lr()
        return tuple(rates)

    return call


SCHEDULES: dict[str, Arguments] = {
    "CosineAnnealingLR": {"T_max": 4, "eta_min": 0.01, "last_epoch": -1},
    "LambdaLR": {"lr_lambda": float, "last_epoch": -1},
    "LinearLR": {"start_factor": 0.5, "end_factor": 1.0, "total_iters": 3, "last_epoch": -1},
    "MultiStepLR": {"milestones": (1, 3), "gamma": 0.1, "last_epoch": -1},
    "OneCycleLR": {
        "max_lr": 0.5, "total_steps": 5, "epochs": None, "steps_per_epoch": None, "pct_start": 0.3,
        "anneal_strategy": "cos", "cycle_momentum": True, "base_momentum": 0.85, "max_momentum": 0.95,
        "div_factor": 25.0, "final_div_factor": 1e4, "three_phase": False,
    },
    "StepLR": {"step_size": 2, "gamma": 0.5, "last_epoch": -1},
}  # fmt: skip


def _picked(x: Any, index: Any) -> Any:
    return mg.as_tensor(x)[index]


def _put(self: Any, index: Any, value: Any) -> Any:
    tensor = mg.as_tensor(self).clone()
    tensor[index] = value
    return tensor


def _model() -> nn.Sequential:
    with mg.random.seeded(0):
        return nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(32, 3))


class _OneStep(training.Callback):
    """Some ask for years of training."""

    def step(self, run: training.Run) -> None:
        run.stop()


def _fitted(images: Any, labels: Any, **settings: Any) -> Any:
    return training.fit(_model(), (images, labels), progress=False, callbacks=[_OneStep()], **settings).column("loss")


def _loaded(**tensors: Any) -> Any:
    layer = nn.BatchNorm1d(6)
    strict = tensors.pop("strict")
    layer.load_state_dict(layer.state_dict() | tensors, strict=strict)
    return layer.running_mean


def _submodule(target: Any) -> str:
    try:
        return str(_model().get_submodule(target))
    except AttributeError as error:  # as PyTorch has it
        if "has no module" not in str(error):
            raise
        raise ValueError(f"get_submodule: {error}") from error


@contextlib.contextmanager
def _folder() -> Iterator[None]:
    """A folder of its own with a file of each kind in it."""
    before = Path.cwd()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        try:
            Path("empty").touch()
            Path("folder").mkdir()
            for name in ("a/1", "a/2", "b/1", "b/2"):
                Path("images", name).parent.mkdir(parents=True, exist_ok=True)
                write_image(Path("images", f"{name}.png"))
            data.write_idx("idx", IMAGES)
            mg.save({"a": ROWS}, "tensors")
            training.History([{"epoch": 1, "loss": 0.5}]).to_json("history")
            Classifier("mlp", (1, 2, 2), ("a", "b"), "digits").save("classifier")
            yield
        finally:
            os.chdir(before)


def _filed(function: Callable[..., Any]) -> Callable[..., Any]:
    """In that folder. What the system says of a path names the path: as clear as a function's own name."""

    def call(**arguments: Any) -> Any:
        with _folder():
            try:
                return function(**arguments)
            except OSError as error:
                raise ValueError(f"path: {error}") from error

    return call


FILES: Calls = {
    "data.read_idx": (data.read_idx, {"path": "idx", "limit": 10**6}),
    "data.write_idx": (lambda **a: (data.write_idx(**a), data.read_idx(a["path"]))[1], {"path": "x", "array": IMAGES}),
    "data.load": (lambda source: str(data.load(source)), {"source": "digits"}),
    "data.image_folder": (
        lambda **settings: str(data.image_folder(**settings).train.pixels),
        {"folder": "images", "size": 8, "mode": "L", "test": 0.5},
    ),
    "mg.load": (lambda path: mg.load(path)["a"], {"path": "tensors"}),
    "mg.save": (
        lambda a, path, metadata: (mg.save({"a": a}, path, metadata), mg.load(path)["a"])[1],
        {"a": ROWS, "path": "x", "metadata": None},
    ),
    "training.History.from_json": (training.History.from_json, {"path": "history"}),
    "training.History.to_csv": (lambda path: training.History([{"loss": 0.5}]).to_csv(path), {"path": "x"}),
    "Classifier.load": (lambda path: Classifier.load(path).classes, {"path": "classifier"}),
    "training.fit": (
        _fitted,
        {
            "images": IMAGES, "labels": LABELS, "epochs": 1, "batch_size": 2, "seed": 0, "accumulate": 1,
            "checkpoint": "run", "checkpoint_every": 10.0, "resume": True, "scheduler_interval": "step",
        },
    ),
}  # fmt: skip
INDEXED: Calls = {
    "index": (_picked, {"x": ROWS, "index": np.array([3, 0, 3])}),
    "index_of_a_mask": (_picked, {"x": ROWS, "index": ROWS > 0.4}),
    "index_of_two": (
        lambda x, rows, columns: _picked(x, (rows, columns)),
        {"x": ROWS, "rows": np.array([4, 0, 4]), "columns": np.array([[5], [0]])},
    ),
    "index_of_samples": (lambda x, index: _picked(x, (slice(None), index)), {"x": ROWS, "index": np.array([1, -1])}),
    "put": (_put, {"self": ROWS, "index": np.array([3, 0]), "value": ROWS[:2]}),
    "put_by_a_mask": (_put, {"self": ROWS, "index": ROWS > 0.4, "value": 0.5}),
}
OPERATORS = (
    "__add__ __radd__ __sub__ __mul__ __rtruediv__ __floordiv__ __mod__ __rmod__ __rpow__ __lt__ __le__ __gt__ __ge__"
).split()
OTHERS: Calls = {
    "mg.constant": (lambda array: mg.constant(array).array, {"array": ROWS}),
    "mg.from_dlpack": (  # which takes native arrays only
        lambda source: mg.from_dlpack(mg.as_tensor(source) if isinstance(source, np.ndarray) else source),
        {"source": ROWS},
    ),
    "mg.grad": (
        lambda x, dy, create_graph: mg.grad((leaf := nn.Parameter(x)).exp(), leaf, dy, create_graph)[0],
        {"x": ROWS, "dy": ROWS, "create_graph": False},
    ),
    "mg.jvp": (lambda x, v: mg.jvp(mg.exp, x, v)[1], {"x": ROWS, "v": ROWS}),
    "mg.jacobian": (lambda x: mg.jacobian(mg.exp, x), {"x": MATRIX}),
    "mg.hessian": (lambda x: mg.hessian(lambda x: mg.exp(x).sum(), x), {"x": MATRIX}),
    "mg.gradgradcheck": (
        lambda x, **settings: str(mg.gradgradcheck(mg.exp, mg.tensor(x, requires_grad=True), **settings)),
        {"x": np.float64(MATRIX), "eps": 1e-4, "atol": 1e-3, "rtol": 1e-2, "seed": 0},
    ),
    "nn.Parameter": (nn.Parameter, {"data": ROWS, "requires_grad": True}),
    "nn.Sequential": (lambda first, x: nn.Sequential(first, nn.ReLU())(x), {"first": nn.Tanh(), "x": ROWS}),
    "nn.ModuleList": (lambda modules: str(nn.ModuleList(modules)), {"modules": (nn.ReLU(), nn.Tanh())}),
    "nn.ModuleDict": (lambda modules: str(nn.ModuleDict(modules)), {"modules": {"a": nn.ReLU()}}),
    "nn.load_state_dict": (_loaded, {"weight": ROWS[0], "running_mean": ROWS[1], "strict": True}),
    "nn.register_buffer": (
        lambda name, tensor: str(nn.Module().register_buffer(name, mg.as_tensor(tensor))),
        {"name": "a", "tensor": ROWS},
    ),
    "nn.get_submodule": (_submodule, {"target": "0"}),
    "nn.init.calculate_gain": (nn.init.calculate_gain, {"nonlinearity": "leaky_relu", "param": 0.1}),
    "nn.init.fan_in_and_fan_out": (lambda x: nn.init.fan_in_and_fan_out(mg.as_tensor(x)), {"x": ROWS}),
    "data.arrays": (
        lambda **settings: str(data.arrays(**settings)),
        {"images": IMAGES, "labels": LABELS, "test": 0.5, "classes": None, "name": "x", "seed": 0},
    ),
    "data.holdout": (
        lambda part, seed: data.Split(IMAGES, LABELS).holdout(part, seed)[0].labels,
        {"part": 0.5, "seed": 0},
    ),
    "training.evaluate": (
        lambda images, labels, batch_size: training.evaluate(_model(), (images, labels), batch_size=batch_size),
        {"images": IMAGES, "labels": LABELS, "batch_size": 2},
    ),
    "training.predict": (
        lambda images, batch_size: training.predict(_model(), images, batch_size=batch_size),
        {"images": IMAGES, "batch_size": 2},
    ),
    "training.EarlyStopping": (
        lambda **settings: str(vars(training.EarlyStopping(**settings))),
        {"monitor": "loss", "patience": 3, "mode": "min", "min_delta": 0.0, "restore_best": True},
    ),
    "interpret.activations": (lambda input: interpret.activations(_model(), input)["0"], {"input": IMAGES}),
    "interpret.filters": (lambda shape: interpret.filters(_model(), shape), {"shape": (1, 6, 6)}),
    "interpret.mistakes": (interpret.mistakes, {"scores": ROWS[:4, :3], "labels": LABELS}),
    "interpret.saliency": (
        lambda input, target: interpret.saliency(_model(), input, target),
        {"input": IMAGES, "target": LABELS},
    ),
    "interpret.scores": (lambda input: interpret.scores(_model(), input), {"input": IMAGES}),
}
THINGS: Calls = {
    **{name: (_filed(function), arguments) for name, (function, arguments) in FILES.items()},
    **{f"Tensor.{name}": call for name, call in INDEXED.items()},
    **{f"lr_scheduler.{name}": (_schedule(name), settings) for name, settings in SCHEDULES.items()},
    "Tensor.__eq__": (lambda self, other: mg.as_tensor(self) == other, {"self": ROWS, "other": ROWS}),
    **OTHERS,
}
