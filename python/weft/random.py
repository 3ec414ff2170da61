"""The seed of everything random: initial weights, dropout, shuffling. Numbers come from counters (Philox), not from state."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .autograd import Tensor
from .autograd import random as draws
from .autograd.creation import sizes
from .autograd.tensor import leaf
from .errors import ConfigError, range_error


class Generator:
    """A seed and how many draws were taken from it.

    >>> weft.manual_seed(0)
    >>> state = weft.get_rng_state()
    """

    def __init__(self, seed: int = 0) -> None:
        self.seed = seed
        self.count = 0

    def next(self) -> tuple[int, int]:
        """Key and stream of the next draw."""
        self.count += 1
        return self.seed, self.count

    def uniform(self, low: float, high: float, shape: Sequence[int], dtype: Any = np.float32) -> np.ndarray:
        """Uniform in [low, high)."""
        return draws.uniform(*self.next(), low, high, shape, dtype)

    def normal(self, mean: float, std: float, shape: Sequence[int], dtype: Any = np.float32) -> np.ndarray:
        """Normal with a mean and a standard deviation."""
        return draws.normal(*self.next(), mean, std, shape, dtype)

    def permutation(self, n: int) -> np.ndarray:
        """A random order of 0..n."""
        return draws.permutation(*self.next(), n)


_default = Generator()


def default_generator() -> Generator:
    """The generator that layers and shuffling draw from."""
    return _default


def manual_seed(seed: int) -> None:
    """Starts the sequence of random numbers anew: the same seed gives the same weights, masks and orders on every machine."""
    if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)) or not 0 <= seed < 2**64:
        raise range_error("manual_seed", "seed", "a whole number from 0 to 2^64 - 1", seed)
    _default.seed, _default.count = int(seed), 0


def rand(*size: Any, dtype: Any = np.float32, requires_grad: bool = False) -> Tensor:
    """Uniform in [0, 1)."""
    return leaf(_default.uniform(0.0, 1.0, sizes(size), dtype), requires_grad)


def randn(*size: Any, dtype: Any = np.float32, requires_grad: bool = False) -> Tensor:
    """Standard normal.

    >>> weft.randn(2, 3).shape
    (2, 3)
    """
    return leaf(_default.normal(0.0, 1.0, sizes(size), dtype), requires_grad)


def get_rng_state() -> dict[str, int]:
    """Seed and position, to come back to with `set_rng_state`."""
    return {"seed": _default.seed, "count": _default.count}


def set_rng_state(state: dict[str, int]) -> None:
    """Goes on where `get_rng_state` was called."""
    try:
        _default.seed, _default.count = int(state["seed"]), int(state["count"])
    except (KeyError, TypeError, ValueError):
        raise ConfigError(f"[set_rng_state] expected what get_rng_state returned, got {state!r}") from None
