"""Schedules of the learning rate: each sets it, after every `step()`, to a function of the number of steps so far.

The rate follows from the initial one and the count alone, so a run that is resumed goes on as it would have. Schedules
of one optimiser do not multiply: join them by `SequentialLR`.
"""

import math
import operator
from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from minigrad.kinds import check_kind, checks_kinds, refuse
from minigrad.optim.optimizer import Optimizer

__all__ = [
    "CosineAnnealingLR",
    "LRScheduler",
    "LambdaLR",
    "LinearLR",
    "MultiStepLR",
    "OneCycleLR",
    "SequentialLR",
    "StepLR",
]


class LRScheduler:
    """The base of schedules: subclasses define `rate(base, step)`.

    `last_epoch` is the number of steps taken; to resume from one, the optimiser's groups need the `initial_lr` that the
    first schedule gave them (it is in the optimiser's `state_dict`). Raises: KeyError if they have none.
    """

    _unsaved: tuple[str, ...] = ("optimizer",)

    def __init__(self, optimizer: Optimizer, last_epoch: int = -1):
        if not isinstance(optimizer, Optimizer):
            raise TypeError(f"{type(self).__name__}: need an optimizer, got {type(optimizer).__name__}")
        check_kind(type(self).__name__, "last_epoch", int, last_epoch)
        self.optimizer, self.last_epoch = optimizer, last_epoch
        for i, group in enumerate(optimizer.param_groups):
            if last_epoch == -1:
                group.setdefault("initial_lr", float(group["lr"]))
            elif "initial_lr" not in group:
                raise KeyError(f"{type(self).__name__}: to resume at {last_epoch}, group {i} needs its initial_lr")
        self.base_lrs: list[float] = [group["initial_lr"] for group in optimizer.param_groups]
        self.step()

    def rate(self, base: float, step: int) -> float:
        """The rate after `step` steps from a group's initial rate."""
        raise NotImplementedError(f"{type(self).__name__}: define rate(self, base, step)")

    def get_lr(self) -> list[float]:
        """The rates of the groups at `last_epoch`."""
        return [self.rate(base, self.last_epoch) for base in self.base_lrs]

    def get_last_lr(self) -> list[float]:
        """The rates that were set last, one per group."""
        return self._last_lr

    def step(self, epoch: int | None = None) -> None:
        """Count a step (or go to step `epoch`) and set the rates."""
        self.last_epoch = self.last_epoch + 1 if epoch is None else epoch
        try:
            self._last_lr = self.get_lr()
        except OverflowError:
            raise ValueError(f"{type(self).__name__}: the rate at step {self.last_epoch} is too large") from None
        if len(self._last_lr) != len(self.optimizer.param_groups):
            raise RuntimeError(f"{type(self).__name__}: a group was added to the optimizer; make the schedule anew")
        for group, lr in zip(self.optimizer.param_groups, self._last_lr, strict=True):
            group["lr"] = lr

    def state_dict(self) -> dict[str, Any]:
        """All settings and counts, except the optimiser (and functions)."""
        return {key: value for key, value in self.__dict__.items() if key not in self._unsaved}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from a saved state; the optimiser's own state holds the rate."""
        self.__dict__.update(state_dict)


class LambdaLR(LRScheduler):
    """base * lr_lambda(t), with one function for all groups or one for each; `state_dict` leaves functions out."""

    _unsaved = ("optimizer", "lr_lambdas")

    def __init__(
        self,
        optimizer: Optimizer,
        lr_lambda: Callable[[int], float] | Sequence[Callable[[int], float]],
        last_epoch: int = -1,
    ):
        groups = len(optimizer.param_groups)
        self.lr_lambdas = list(lr_lambda) if isinstance(lr_lambda, Sequence) else [lr_lambda] * groups
        if len(self.lr_lambdas) != groups:
            raise ValueError(f"LambdaLR: need {groups} functions, one per group, got {len(self.lr_lambdas)}")
        for factor in self.lr_lambdas:
            if not callable(factor):
                refuse("LambdaLR", "lr_lambda", "a function", factor)
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        factors = [factor(self.last_epoch) for factor in self.lr_lambdas]
        try:
            return [base * float(factor) for base, factor in zip(self.base_lrs, factors, strict=True)]
        except TypeError:
            refuse("LambdaLR", "what lr_lambda gives", "numbers", factors)


class StepLR(LRScheduler):
    """base * gamma^floor(t / step_size)"""

    @checks_kinds
    def __init__(self, optimizer: Optimizer, step_size: int, gamma: float = 0.1, last_epoch: int = -1):
        if step_size < 1:
            raise ValueError(f"StepLR: need step_size >= 1, got {step_size}")
        self.step_size, self.gamma = step_size, gamma
        super().__init__(optimizer, last_epoch)

    def rate(self, base: float, step: int) -> float:
        return base * self.gamma ** (step // self.step_size)


class MultiStepLR(LRScheduler):
    """base * gamma^(number of milestones <= t)"""

    @checks_kinds
    def __init__(self, optimizer: Optimizer, milestones: Iterable[int], gamma: float = 0.1, last_epoch: int = -1):
        self.milestones, self.gamma = sorted(_integers("MultiStepLR", milestones)), gamma
        super().__init__(optimizer, last_epoch)

    def rate(self, base: float, step: int) -> float:
        return base * self.gamma ** bisect_right(self.milestones, step)


class LinearLR(LRScheduler):
    """base times a factor that goes in a line from `start_factor` to `end_factor` in `total_iters` steps: a warm-up."""

    @checks_kinds
    def __init__(
        self,
        optimizer: Optimizer,
        start_factor: float = 1.0 / 3,
        end_factor: float = 1.0,
        total_iters: int = 5,
        last_epoch: int = -1,
    ):
        if not 0.0 < start_factor <= 1.0 or not 0.0 <= end_factor <= 1.0:
            raise ValueError(
                f"LinearLR: need factors from 0 to 1, the first not 0, got {start_factor} and {end_factor}"
            )
        if total_iters < 1:
            raise ValueError(f"LinearLR: need total_iters >= 1, got {total_iters}")
        self.start_factor, self.end_factor, self.total_iters = start_factor, end_factor, total_iters
        super().__init__(optimizer, last_epoch)

    def rate(self, base: float, step: int) -> float:
        done = min(step, self.total_iters) / self.total_iters
        return base * (self.start_factor + (self.end_factor - self.start_factor) * done)


class CosineAnnealingLR(LRScheduler):
    """eta_min + (base - eta_min) (1 + cos(pi t / T_max)) / 2; after T_max it rises again.

    Source: Loshchilov and Hutter, "SGDR: stochastic gradient descent with warm restarts", 2017 (without the restarts).
    """

    @checks_kinds
    def __init__(self, optimizer: Optimizer, T_max: int, eta_min: float = 0.0, last_epoch: int = -1):
        if T_max < 1:
            raise ValueError(f"CosineAnnealingLR: need T_max >= 1, got {T_max}")
        self.T_max, self.eta_min = T_max, eta_min
        super().__init__(optimizer, last_epoch)

    def rate(self, base: float, step: int) -> float:
        return self.eta_min + (base - self.eta_min) * (1 + math.cos(math.pi * step / self.T_max)) / 2


class OneCycleLR(LRScheduler):
    """One rise to `max_lr` in the first `pct_start` of the steps, then a fall to far below where it began.

    The rate goes from max_lr / div_factor to max_lr, then to max_lr / (div_factor final_div_factor), with `three_phase`
    by way of the initial one. With `cycle_momentum` the momentum (Adam: beta1) goes the other way, between
    `base_momentum` and `max_momentum`. Step this after every batch, `total_steps` (or epochs * steps_per_epoch) times.
    Raises: ValueError for settings out of range, and for more steps than there are.
    Source: Smith and Topin, "Super-convergence", 2018.
    """

    @checks_kinds
    def __init__(
        self,
        optimizer: Optimizer,
        max_lr: float | Sequence[float],
        total_steps: int | None = None,
        epochs: int | None = None,
        steps_per_epoch: int | None = None,
        pct_start: float = 0.3,
        anneal_strategy: str = "cos",
        cycle_momentum: bool = True,
        base_momentum: float = 0.85,
        max_momentum: float = 0.95,
        div_factor: float = 25.0,
        final_div_factor: float = 1e4,
        three_phase: bool = False,
        last_epoch: int = -1,
    ):
        if total_steps is None and epochs is not None and steps_per_epoch is not None:
            total_steps = epochs * steps_per_epoch
        if total_steps is None or total_steps < 1:
            raise ValueError("OneCycleLR: need total_steps, or epochs and steps_per_epoch, of at least 1")
        if not 0 <= pct_start <= 1 or anneal_strategy not in ("cos", "linear"):
            raise ValueError(
                f"OneCycleLR: need pct_start in [0, 1] and 'cos' or 'linear', got {pct_start} and {anneal_strategy!r}"
            )
        if cycle_momentum and not {"momentum", "betas"} & optimizer.defaults.keys():
            raise ValueError("OneCycleLR: the optimizer has no momentum to cycle; pass cycle_momentum=False")
        groups = optimizer.param_groups
        peaks = list(max_lr) if isinstance(max_lr, Sequence) else [max_lr] * len(groups)
        for peak in peaks:
            check_kind("OneCycleLR", "max_lr", float, peak)
        if len(peaks) != len(groups):
            raise ValueError(f"OneCycleLR: need one max_lr or {len(groups)}, one per group, got {len(peaks)}")
        if not min(div_factor, final_div_factor) > 0:
            raise ValueError(f"OneCycleLR: need factors > 0 to divide by, got {div_factor} and {final_div_factor}")
        if last_epoch == -1:
            for group, peak in zip(groups, peaks, strict=True):
                group["initial_lr"] = float(peak) / div_factor
        self.total_steps, self.pct_start, self.anneal_strategy = total_steps, pct_start, anneal_strategy
        self.cycle_momentum, self.base_momentum, self.max_momentum = cycle_momentum, base_momentum, max_momentum
        self.div_factor, self.final_div_factor, self.three_phase = div_factor, final_div_factor, three_phase
        super().__init__(optimizer, last_epoch)

    def _along(self, step: int, values: Sequence[float]) -> float:
        """Where `step` is on the way along `values`, which are reached at the ends of the phases."""
        ends = [self.pct_start * self.total_steps - 1, float(self.total_steps - 1)]
        if self.three_phase:
            ends.insert(1, 2 * self.pct_start * self.total_steps - 2)
        phase = next((i for i, end in enumerate(ends) if step <= end), len(ends) - 1)
        first = ends[phase - 1] if phase else 0.0
        part = (step - first) / (ends[phase] - first or 1.0)
        start, end = values[phase], values[phase + 1]
        if self.anneal_strategy == "linear":
            return start + (end - start) * part
        return end + (start - end) / 2 * (1 + math.cos(math.pi * part))

    def rate(self, base: float, step: int) -> float:
        peak, last = base * self.div_factor, base / self.final_div_factor
        return self._along(step, (base, peak, base, last) if self.three_phase else (base, peak, last))

    def step(self, epoch: int | None = None) -> None:
        """Count a step and set the rates and momenta."""
        following = self.last_epoch + 1 if epoch is None else epoch
        if following > self.total_steps:
            raise ValueError(f"OneCycleLR: step {following} of {self.total_steps}")
        super().step(epoch)
        if not self.cycle_momentum:
            return
        low, high = self.base_momentum, self.max_momentum
        momentum = self._along(self.last_epoch, (high, low, high, high) if self.three_phase else (high, low, high))
        for group in self.optimizer.param_groups:
            if "betas" in group:
                group["betas"] = (momentum, *group["betas"][1:])
            else:
                group["momentum"] = momentum


class SequentialLR(LRScheduler):
    """One schedule after another: `schedulers[i + 1]` starts at its step 0 when `milestones[i]` is reached.

    Raises: ValueError unless all are of this optimiser and there is one milestone fewer than schedules.
    """

    _unsaved = ("optimizer", "schedulers")

    @checks_kinds
    def __init__(
        self, optimizer: Optimizer, schedulers: Sequence[LRScheduler], milestones: Sequence[int], last_epoch: int = -1
    ):
        if not schedulers or len(milestones) != len(schedulers) - 1:
            need = f"one milestone fewer than schedules, got {len(milestones)} and {len(schedulers)}"
            raise ValueError(f"SequentialLR: need {need}")
        if any(scheduler.optimizer is not optimizer for scheduler in schedulers):
            raise ValueError("SequentialLR: need schedules of the optimizer it is given")
        self.schedulers, self.milestones = list(schedulers), _integers("SequentialLR", milestones)
        self.optimizer, self.last_epoch = optimizer, last_epoch
        self.step()

    def step(self, epoch: int | None = None) -> None:
        """Count a step (or go to step `epoch`) and set the rates by the schedule whose turn it is."""
        self.last_epoch = self.last_epoch + 1 if epoch is None else epoch
        turn = bisect_right(self.milestones, self.last_epoch)
        scheduler = self.schedulers[turn]
        scheduler.step(self.last_epoch - (self.milestones[turn - 1] if turn else 0))
        self._last_lr = scheduler.get_last_lr()

    def state_dict(self) -> dict[str, Any]:
        """All counts, with the states of the schedules."""
        return super().state_dict() | {"schedulers": [scheduler.state_dict() for scheduler in self.schedulers]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from a saved state; the optimiser's own state holds the rate."""
        for scheduler, state in zip(self.schedulers, state_dict["schedulers"], strict=True):
            scheduler.load_state_dict(state)
        super().load_state_dict({key: value for key, value in state_dict.items() if key != "schedulers"})


def _integers(name: str, milestones: Iterable[int]) -> list[int]:
    try:
        return [operator.index(milestone) for milestone in list(milestones)]
    except TypeError:
        refuse(name, "milestones", "integers", milestones)
