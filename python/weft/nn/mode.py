"""A module in evaluation mode for a while."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from .module import Module


@contextmanager
def evaluating(module: Module) -> Iterator[None]:
    """Dropout and its kin are off inside, and as before afterwards.

    >>> layer = weft.nn.Dropout(0.5)
    >>> with weft.nn.evaluating(layer):
    ...     print(layer.training)
    False
    """
    training = module.training
    module.eval()
    try:
        yield
    finally:
        module.train(training)
