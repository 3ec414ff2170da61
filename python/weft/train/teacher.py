"""Which share of the tokens that a decoder reads are the true ones, as training goes on (Bengio et al. 2015, §2.4)."""

from __future__ import annotations

import math
from collections.abc import Callable

from ..errors import range_error


def linear_decay(steps: int, least: float = 0.0) -> Callable[[int], float]:
    """From 1 in a straight line to `least` at step `steps`.

    >>> share = weft.train.linear_decay(100, 0.5)
    >>> share(0), share(50), share(1000)
    (1.0, 0.75, 0.5)
    """
    if steps < 1:
        raise range_error("teacher", "steps", "a whole number of at least 1", steps)
    if not 0.0 <= least <= 1.0:
        raise range_error("teacher", "least", "a number from 0 to 1", least)
    return lambda step: max(least, 1.0 - (1.0 - least) * step / steps)


def exponential_decay(k: float) -> Callable[[int], float]:
    """k^step, with k below 1."""
    if not 0.0 < k < 1.0:
        raise range_error("teacher", "k", "a number above 0 and below 1", k)
    return lambda step: k**step


def inverse_sigmoid_decay(k: float) -> Callable[[int], float]:
    """k / (k + e^(step / k)), with k of at least 1: flat, then falling around step k · ln k."""
    if not k >= 1.0:
        raise range_error("teacher", "k", "a number of at least 1", k)
    return lambda step: 1.0 / (1.0 + math.exp(min(step / k, 700.0)) / k)
