"""Training and evaluation of models ."""

from ..models.evaluation import Evaluation, Measured, evaluate, validation_loss
from ..models.metrics import ErrorRates, edit_distance, error_rates
from .fit import Epoch, History, NotFiniteError, Trainable, describe, fit
from .teacher import exponential_decay, inverse_sigmoid_decay, linear_decay

__all__ = [
    "Epoch", "ErrorRates", "Evaluation", "History", "Measured", "NotFiniteError", "Trainable", "describe", "edit_distance", "error_rates",
    "evaluate", "exponential_decay", "fit", "inverse_sigmoid_decay", "linear_decay", "validation_loss",
]  # fmt: skip
