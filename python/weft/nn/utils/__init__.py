"""As `torch.nn.utils`: functions for sequences (`rnn`), and clipping of gradients."""

from ...optim.optimizer import clip_grad_norm_
from . import rnn

__all__ = ["clip_grad_norm_", "rnn"]
