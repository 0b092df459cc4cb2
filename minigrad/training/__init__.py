"""Training: `fit` for whole runs, with history, validation, callbacks and checkpoints; `predict` and `evaluate`.

A loop of one's own stays as easy: nothing here is needed for it.
"""

from minigrad.training.callbacks import Callback, EarlyStopping, StopOnInterrupt
from minigrad.training.checkpoint import CheckpointError
from minigrad.training.evaluation import accuracy, evaluate, predict
from minigrad.training.fingerprint import fingerprint
from minigrad.training.history import History
from minigrad.training.loop import fit
from minigrad.training.run import Run

__all__ = [
    "Callback",
    "CheckpointError",
    "EarlyStopping",
    "History",
    "Run",
    "StopOnInterrupt",
    "accuracy",
    "evaluate",
    "fingerprint",
    "fit",
    "predict",
]
