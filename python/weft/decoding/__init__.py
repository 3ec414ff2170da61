"""Greedy search, beam search and sampling over any object with start(inputs) and step(state, tokens)."""

from .beam import Ranking, beam, coverage, penalized
from .greedy import greedy
from .result import Decodable, Result
from .rules import Rules
from .sampling import Cut, sample
from .strategy import Strategy

__all__ = ["Cut", "Decodable", "Ranking", "Result", "Rules", "Strategy", "beam", "coverage", "greedy", "penalized", "sample"]
