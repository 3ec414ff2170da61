"""Greedy search, beam search and sampling over any object with start(inputs) and step(state, tokens)."""

from .beam import beam, penalized
from .greedy import greedy
from .result import Decodable, Result
from .rules import Rules
from .sampling import Cut, sample

__all__ = ["Cut", "Decodable", "Result", "Rules", "beam", "greedy", "penalized", "sample"]
