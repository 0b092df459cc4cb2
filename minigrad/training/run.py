"""A training run under way: what the loop changes, callbacks see, and a checkpoint keeps."""

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Literal

from minigrad import distributed, nn, random
from minigrad.data import Batches
from minigrad.optim import Optimizer
from minigrad.optim.lr_scheduler import LRScheduler
from minigrad.training.evaluation import Metric
from minigrad.training.history import History, Row

if TYPE_CHECKING:
    from minigrad.distributed.processes import Group
    from minigrad.training.callbacks import Callback


@dataclasses.dataclass
class Sums:
    """What the samples of an epoch add up to so far."""

    samples: int = 0
    seconds: float = 0.0
    totals: Row = dataclasses.field(default_factory=dict)  # the loss and each metric, times the number of samples

    def add(self, count: int, values: Row) -> None:
        self.samples += count
        for name, value in values.items():
            self.totals[name] = self.totals.get(name, 0.0) + value * count

    def means(self) -> Row:
        return {name: total / self.samples for name, total in self.totals.items()}


@dataclasses.dataclass
class Run:
    """A run of `fit`: callbacks read it, and may `stop()` or `interrupt()` it.

    `epoch` counts the whole epochs behind it, `batch` the batches of the one that it is in, `step` the optimiser's
    steps in all.
    """

    model: nn.Module
    batches: Batches
    optimizer: Optimizer
    scheduler: LRScheduler | None
    scheduler_interval: str
    loss: Callable[[Any, Any], Any]
    metrics: tuple[Metric, ...]
    validation: Any
    epochs: int
    accumulate: int
    callbacks: "list[Callback]"
    settings: Mapping[str, Any]  # a checkpoint of a run with others is refused
    group: "Group | None" = None  # the processes that share the batches, if there are several
    keepers: "list[Callback]" = dataclasses.field(default_factory=list)  # callbacks that show or write, after the rest
    epoch: int = 0
    batch: int = 0
    step: int = 0
    sums: Sums = dataclasses.field(default_factory=Sums)
    history: History = dataclasses.field(default_factory=History)
    stopped: bool = False
    interrupted: bool = False
    _is_to_leave_off: bool = False
    _shared: distributed.DistributedDataParallel | None = None

    def share(self) -> None:
        """Begin alike on all processes: with the weights and the random numbers of the first one.

        Raises: ValueError where they are to do different things.
        """
        if self.group is None:
            return
        facts = self.group.from_first(lambda: dict(self.settings))
        if self.group.any(facts != dict(self.settings))[0]:
            raise ValueError(f"fit: the processes have different data or settings, the first one {facts}")
        self._shared = distributed.DistributedDataParallel(self.model)
        random.set_rng_state(self.group.from_first(random.get_rng_state))

    @property
    def network(self) -> nn.Module:
        """The model as it is called with whole batches."""
        return self._shared or self.model

    def outputs(self, samples: int, inputs: list[Any]) -> Any:
        """The model's outputs for a batch of so many samples, given what of its inputs this process holds."""
        return self._shared.of_run(samples, *inputs) if self._shared else self.model(*inputs)

    def batches_of_epoch(self) -> Iterator[tuple[Any, ...]]:
        """The rest of the epoch that the run is in; of the inputs what this process holds."""
        self.batches.set_epoch(self.epoch, self.batch)
        group = self.group
        return iter(self.batches) if group is None else self.batches.dealt(lambda samples: group.shard(samples).held)

    def tell(self, event: Literal["step", "epoch"]) -> None:
        """Call the callbacks; all processes stop or leave off if one of them is to."""
        for callback in self.callbacks:
            getattr(callback, event)(self)
        if self.group is not None:
            self.stopped, self.interrupted = self.group.any(self.stopped, self._is_to_leave_off)
        for keeper in self.keepers:
            getattr(keeper, event)(self)

    def stop(self) -> None:
        """End training after this step: its epoch counts as it is, and the run is finished."""
        self.stopped = True

    def interrupt(self) -> None:
        """Leave off after this step; a checkpoint lets the run go on another time."""
        self._is_to_leave_off = True
        self.interrupted = self.group is None  # or all of them do after the next step that they take together

    @property
    def finished(self) -> bool:
        """Whether there is nothing left to train."""
        return self.stopped or self.epoch >= self.epochs

    def state_dict(self) -> dict[str, Any]:
        """All that the rest of the run depends on, as a tree of arrays, numbers and names."""
        return {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scheduler": self.scheduler.state_dict() if self.scheduler else None,
            "callbacks": [{"name": type(kept).__name__, "state": kept.state_dict()} for kept in self._keeping()],
            "random": list(random.get_rng_state()),
            "settings": dict(self.settings),
            "sums": dataclasses.asdict(self.sums),
            "history": list(self.history),
            **{name: getattr(self, name) for name in ("epoch", "batch", "step", "stopped")},
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a state.

        Raises: ValueError where it is of another run: other settings, model, optimiser, schedule or callbacks.
        """
        other = [
            f"{name} {state['settings'].get(name)} instead of {value}"
            for name, value in self.settings.items()
            if state["settings"].get(name) != value
        ]
        if other:
            raise ValueError(f"it is of a run with {', '.join(other)}")
        if bool(self.scheduler) != bool(state["scheduler"]):
            raise ValueError(f"it is of a run {'without' if self.scheduler else 'with'} a scheduler")
        kept, own = [entry["name"] for entry in state["callbacks"]], [type(one).__name__ for one in self._keeping()]
        if kept != own:
            raise ValueError(f"it is of a run with callbacks {kept} instead of {own}")
        _check_counts(state)
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        if self.scheduler:
            self.scheduler.load_state_dict(state["scheduler"])
        for callback, entry in zip(self._keeping(), state["callbacks"], strict=True):
            callback.load_state_dict(entry["state"])
        random.set_rng_state(tuple(state["random"]))
        self.sums, self.history = Sums(**state["sums"]), History(state["history"])
        for name in ("epoch", "batch", "step", "stopped"):
            setattr(self, name, state[name])

    def _keeping(self) -> "list[Callback]":
        """The callbacks that have a state."""
        return [callback for callback in self.callbacks if callback.state_dict()]


def _check_counts(state: Mapping[str, Any]) -> None:
    """ValueError where what a state says of the run's course are no counts, sums and rows."""
    counts = [state[name] for name in ("epoch", "batch", "step")] + [state["sums"]["samples"]]
    numbers = [state["sums"]["seconds"], *state["sums"]["totals"].values()]
    numbers += [value for row in state["history"] for value in row.values()]
    if not all(type(count) is int and count >= 0 for count in counts) or type(state["stopped"]) is not bool:
        raise ValueError("it does not say how far the run was")
    if not all(type(number) in (int, float) for number in numbers):
        raise ValueError("it has sums or a history that are no numbers")


def named(metrics: Iterable[Metric]) -> tuple[Metric, ...]:
    """The metrics; TypeError for one that is no named function, ValueError for a name that is taken."""
    chosen = tuple(metrics)
    names = [getattr(metric, "__name__", None) for metric in chosen]
    if not all(map(callable, chosen)) or None in names:
        raise TypeError(f"fit: need metrics as functions with a name, got {chosen}")
    if len({"loss", *names}) <= len(names):
        raise ValueError(f"fit: need metrics of different names, other than loss, got {names}")
    return chosen
