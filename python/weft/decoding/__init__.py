"""Greedy and beam search over any object with start(inputs) and step(state, tokens)."""

from .beam import beam, penalized
from .greedy import greedy
from .result import Decodable, Result

__all__ = ["Decodable", "Result", "beam", "greedy", "penalized"]
