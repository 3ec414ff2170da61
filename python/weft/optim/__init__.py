"""Optimisers and schedules of the learning rate."""

from . import lr_scheduler
from .adam import Adam, AdamW
from .optimizer import Optimizer, clip_grad_norm_
from .sgd import SGD

__all__ = ["SGD", "Adam", "AdamW", "Optimizer", "clip_grad_norm_", "lr_scheduler"]
