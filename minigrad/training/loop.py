"""The loop: epochs of steps, each of which shows the model a batch and corrects its weights."""

import contextlib
import itertools
import math
import os
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal

import numpy as np

from minigrad import functional as F, nn
from minigrad.data import Batches, Split
from minigrad.distributed import processes
from minigrad.kinds import check_kind
from minigrad.optim import Adam, Optimizer
from minigrad.optim.lr_scheduler import LRScheduler
from minigrad.training.callbacks import Callback, Progress
from minigrad.training.checkpoint import Checkpoint
from minigrad.training.evaluation import Metric, Samples, accuracy, evaluate, measured
from minigrad.training.history import History, Row
from minigrad.training.run import Run, Sums, named


def fit(
    model: nn.Module,
    data: Batches | Samples,
    *,
    epochs: int = 10,
    batch_size: int = 64,
    seed: int = 0,
    optimizer: Optimizer | None = None,
    scheduler: LRScheduler | None = None,
    scheduler_interval: Literal["step", "epoch"] = "step",
    loss: Callable[[Any, Any], Any] = F.cross_entropy,
    metrics: Iterable[Metric] = (accuracy,),
    validation: Samples | None = None,
    accumulate: int = 1,
    callbacks: Sequence[Callback] = (),
    progress: bool = True,
    checkpoint: str | os.PathLike[str] | None = None,
    checkpoint_every: float = 10.0,
    resume: bool = False,
    settings: Mapping[str, Any] | None = None,
) -> History:
    """Train a model; what became of each epoch.

        history = mg.training.fit(model, train, epochs=5, validation=validation)

    A step shows the model `accumulate` batches and takes the mean of the loss over all their samples downhill:
    w <- w - optimizer(d loss / d w). `data` and `validation` are a split, or arrays (inputs, ..., targets); the model
    is called with the inputs. Batches of `batch_size` come in an order that `seed` gives; to have them otherwise, pass
    `mg.data.Batches`. The optimiser is Adam with a learning rate of 0.001 unless given. `scheduler` is stepped after
    every step of the optimiser, or with `scheduler_interval="epoch"` after every epoch. A metric is a function of
    (outputs, targets), named as it is.

    With `checkpoint`, the whole state of the run is kept in that file after every epoch, and in between when
    `checkpoint_every` seconds have passed; with `resume` a run goes on from there, or from the beginning where there
    is none, and ends with the same bits as one that was never left off. `settings` are further facts that make the run
    what it is: a checkpoint with others is refused.

    Processes that `mpiexec` started together share every batch, and end with the same bits as one would: see
    `mg.distributed`. Callbacks run on all of them; the bar and the checkpoint are the first one's.
    Units: loss as its function gives it (nats per sample for cross-entropy); seconds.
    Raises: TypeError, ValueError for settings or data that do not fit; FloatingPointError when the loss is no number
    any more; CheckpointError when the file is damaged, something else, or of another run.
    """
    for name, value in (("epochs", epochs), ("accumulate", accumulate)):
        if not isinstance(value, int | np.integer) or value < 1:
            raise ValueError(f"fit: need {name} as an integer of at least 1, got {value!r}")
    if accumulate >= 2**63:
        raise ValueError(f"fit: need accumulate below 2**63, got {accumulate}")
    check_kind("fit", "scheduler_interval", str, scheduler_interval)
    check_kind("fit", "checkpoint_every", float, checkpoint_every)
    check_kind("fit", "resume", bool, resume)
    if scheduler_interval not in ("step", "epoch"):
        raise ValueError(f"fit: need scheduler_interval 'step' or 'epoch', got {scheduler_interval!r}")
    if resume and checkpoint is None:
        raise ValueError("fit: to resume, name the file: checkpoint=...")
    batches = data if isinstance(data, Batches) else Batches(_arrays(data), batch_size, seed=seed)
    if not len(batches):
        raise ValueError(f"fit: need at least one batch, got {batches.samples} samples")
    group = processes.group()
    keeper = None if checkpoint is None else Checkpoint(checkpoint, checkpoint_every)
    shown = [*([Progress()] if progress else []), *([keeper] if keeper else [])]
    run = Run(
        model=model,
        batches=batches,
        optimizer=optimizer or Adam(model.parameters()),
        scheduler=scheduler,
        scheduler_interval=scheduler_interval,
        loss=loss,
        metrics=named(metrics),
        validation=validation,
        epochs=epochs,
        accumulate=accumulate,
        callbacks=list(callbacks),
        settings=_facts(batches, accumulate) | dict(settings or {}),
        group=group,
        keepers=shown if group is None or group.rank == 0 else [],
    )
    with contextlib.nullcontext() if group is None else group.together():
        run.share()
        if keeper and resume:
            keeper.restore(run)
        with _started(run):
            while not run.finished and not run.interrupted:
                _epoch(run)
    return run.history


def _arrays(data: Any) -> Any:
    if isinstance(data, Split) or (isinstance(data, tuple | list) and len(data) > 1):
        return data
    raise TypeError(f"fit: need a Split, arrays (inputs, ..., targets) or Batches, got {type(data).__name__}")


def _facts(batches: Batches, accumulate: int) -> dict[str, Any]:
    """What the bits of a run depend on, and is known here."""
    orders = {name: getattr(batches, name) for name in ("samples", "batch_size", "shuffle", "seed", "drop_last")}
    augment = re.sub(" at 0x[0-9a-f]+", "", repr(batches.augment))  # where a function lies is another thing each time
    return orders | {"accumulate": accumulate, "augment": augment}


@contextlib.contextmanager
def _started(run: Run) -> Iterator[None]:
    """The callbacks' start, and their end whatever happens."""
    with contextlib.ExitStack() as ends:
        for callback in (*run.callbacks, *run.keepers):
            callback.start(run)
            ends.callback(callback.end, run)
        yield


def _epoch(run: Run) -> None:
    """Train on the rest of an epoch, and note what became of it."""
    run.model.train()
    begun = time.perf_counter() - run.sums.seconds
    for group in _groups(run.batches_of_epoch(), run.accumulate):
        _step(run, group)
        run.sums.seconds = time.perf_counter() - begun
        run.tell("step")
        if run.stopped or run.interrupted:
            break
    row: Row = {"epoch": run.epoch + 1, "samples": run.sums.samples, **run.sums.means()}
    row |= {"lr": run.optimizer.param_groups[0]["lr"], "seconds": run.sums.seconds}
    if run.validation is not None:
        found = evaluate(run.network, run.validation, loss=run.loss, metrics=run.metrics)
        row |= {f"validation_{name}": value for name, value in found.items()}
    run.history.append(row)
    if run.batch >= len(run.batches) or run.stopped:
        if run.scheduler and run.scheduler_interval == "epoch":
            run.scheduler.step()
        run.epoch, run.batch, run.sums = run.epoch + 1, 0, Sums()
        run.tell("epoch")


def _step(run: Run, group: list[tuple[np.ndarray, ...]]) -> None:
    """One step downhill, by the mean of the loss over the samples of some batches."""
    run.optimizer.zero_grad()
    samples = sum(len(batch[-1]) for batch in group)
    for *inputs, targets in group:
        outputs = run.outputs(len(targets), inputs)
        loss = run.loss(outputs, targets)
        value = loss.item()
        if not math.isfinite(value):
            raise FloatingPointError(
                f"fit: the loss is {value} in step {run.step + 1}, epoch {run.epoch + 1}: try a smaller learning rate; "
                "`with mg.detect_anomaly():` names the op at which it begins"
            )
        (loss if len(group) == 1 else loss * (len(targets) / samples)).backward()
        run.sums.add(len(targets), {"loss": value, **measured(run.metrics, outputs.detach().numpy(), targets)})
    run.optimizer.step()
    if run.scheduler and run.scheduler_interval == "step":
        run.scheduler.step()
    run.step += 1
    run.batch += len(group)


def _groups(batches: Iterator[Any], size: int) -> Iterator[list[Any]]:
    """The batches, so many at a time."""
    while group := list(itertools.islice(batches, size)):
        yield group
