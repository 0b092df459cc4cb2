"""What is done beside training, between its steps and epochs."""

import copy
import importlib
import math
import signal
import sys
import threading
from collections.abc import Mapping
from typing import Any

from minigrad.kinds import checks_kinds
from minigrad.training.run import Run


class Callback:
    """The base of callbacks: subclasses define what they need, and what they keep in a checkpoint."""

    def start(self, run: Run) -> None:
        """Before the first step, after a checkpoint was read."""

    def step(self, run: Run) -> None:
        """After each step of the optimiser."""

    def epoch(self, run: Run) -> None:
        """After each epoch; its row is `run.history[-1]`."""

    def end(self, run: Run) -> None:
        """After the last step, also when training fails."""

    def state_dict(self) -> dict[str, Any]:
        """A tree of dicts and lists with arrays, numbers and strings that a checkpoint keeps."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from such a state."""


class EarlyStopping(Callback):
    """Stop where `monitor` has not become better by more than `min_delta` for `patience` epochs.

    `mode` says what is better: 'min' or 'max'. With `restore_best` the model ends with the weights of its best epoch.
    Raises: ValueError for settings out of range; KeyError, in training, for a `monitor` that no row has.
    Source: L. Prechelt, "Early stopping - but when?", 1998.
    """

    @checks_kinds
    def __init__(
        self,
        monitor: str = "validation_loss",
        patience: int = 3,
        *,
        mode: str = "min",
        min_delta: float = 0.0,
        restore_best: bool = True,
    ):
        if patience < 1 or mode not in ("min", "max") or not min_delta >= 0:
            raise ValueError(
                f"EarlyStopping: need patience >= 1, mode 'min' or 'max' and min_delta >= 0, "
                f"got {patience}, {mode!r} and {min_delta}"
            )
        self.monitor, self.patience, self.mode = monitor, patience, mode
        self.min_delta, self.restore_best = min_delta, restore_best
        self.best, self.best_epoch, self.weights = math.inf, 0, dict[str, Any]()

    def epoch(self, run: Run) -> None:
        value = run.history.column(self.monitor)[-1]
        if (value if self.mode == "min" else -value) < self.best - self.min_delta:
            self.best, self.best_epoch = (value if self.mode == "min" else -value), run.epoch
            if self.restore_best:
                self.weights = copy.deepcopy(run.model.state_dict())
        elif run.epoch - self.best_epoch >= self.patience:
            run.stop()
        if run.finished and self.weights:
            run.model.load_state_dict(self.weights)

    def state_dict(self) -> dict[str, Any]:
        return {"best": self.best, "best_epoch": self.best_epoch, "weights": self.weights}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.best, self.best_epoch = state["best"], state["best_epoch"]
        self.weights = copy.deepcopy(dict(state["weights"]))


class StopOnInterrupt(Callback):
    """Let the first Ctrl-C leave off after the current step, and a second one end the program as usual.

    `pressed` tells whether there was one. In another thread than the main one, where signals do not arrive, it does
    nothing.
    """

    pressed = False
    _usual: Any = None

    def start(self, run: Run) -> None:
        def press(*_: Any) -> None:
            self.pressed = True
            run.interrupt()
            self.end(run)

        if threading.current_thread() is threading.main_thread():
            self._usual = signal.signal(signal.SIGINT, press)

    def end(self, run: Run) -> None:
        self.pressed = self.pressed or run.interrupted  # also where the signal came to another process of the run
        if self._usual is not None:
            signal.signal(signal.SIGINT, self._usual)
            self._usual = None


class Progress(Callback):
    """A bar of the samples on stderr with the loss so far, and after each epoch its row; without tqdm the row alone."""

    def start(self, run: Run) -> None:
        self._bar: Any = None
        try:
            self._tqdm = importlib.import_module("tqdm").tqdm
        except ModuleNotFoundError:
            self._tqdm = None

    def step(self, run: Run) -> None:
        if self._tqdm is None:
            return
        if self._bar is None:
            self._bar = self._tqdm(total=run.batches.samples, desc=_title(run, run.epoch + 1), unit=" samples")
        self._bar.set_postfix_str(f"loss {run.sums.means()['loss']:.4f}", refresh=False)
        self._bar.update(run.sums.samples - self._bar.n)

    def epoch(self, run: Run) -> None:
        hidden = ("epoch", "samples", "lr", "seconds")
        row = ", ".join(f"{name} {value:.4f}" for name, value in run.history[-1].items() if name not in hidden)
        if self._bar is None:
            print(f"{_title(run, run.epoch)}: {row}", file=sys.stderr, flush=True)
        else:
            self._bar.set_postfix_str(row)
            self.end(run)

    def end(self, run: Run) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None


def _title(run: Run, epoch: int) -> str:
    return f"epoch {epoch}/{run.epochs}"
