"""What decoding gives back."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np


@dataclass
class Result:
    """One decoded sequence."""

    #: Joined text.
    text: str
    #: Token numbers, without start and end.
    tokens: list[int]
    #: Sum of the log-probabilities of the tokens and of the end, in nats.
    logprob: float
    #: What hypotheses are ordered by: `logprob` after the length penalty.
    score: float
    #: Attention weights [target steps, source steps], the end's step included; None without attention.
    alignment: np.ndarray | None = None
    #: The input's tokens, for plots.
    source: list[str] = field(default_factory=list)
    #: The output's tokens, for plots.
    target: list[str] = field(default_factory=list)


class Decodable(Protocol):
    """What greedy and beam search need of a model."""

    def start(self, inputs: list[Any]) -> Any:
        """A state with one row for each input; `state.select(rows)` picks rows, also more than once."""

    def step(self, state: Any, tokens: np.ndarray) -> tuple[np.ndarray, np.ndarray | None, Any]:
        """Log-probabilities [rows, V] after one more token each, attention weights [rows, S] or None, and the new state."""
