"""Training and evaluation of models on pairs."""

from .evaluation import Evaluation, evaluate, validation_loss
from .fit import Epoch, History, NotFiniteError, describe, fit
from .metrics import ErrorRates, edit_distance, error_rates

__all__ = [
    "Epoch", "ErrorRates", "Evaluation", "History", "NotFiniteError", "describe", "edit_distance", "error_rates", "evaluate", "fit",
    "validation_loss",
]  # fmt: skip
