"""Several models that decide together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..autograd import exp, log, no_grad, tensor
from ..autograd.activation import log_softmax_array
from ..errors import ConfigError, choice_error
from .generation import Generation

MEANS = ("arithmetic", "geometric")


@dataclass
class State:
    """The state of each member."""

    parts: list[Any]

    def select(self, rows: np.ndarray) -> State:
        """The given rows, also more than once."""
        return State([p.select(rows) for p in self.parts])


class Ensemble(Generation):
    """Models with the same vocabularies, of any kind: `generate` takes at each step the mean of their probabilities ('arithmetic', as
    Sutskever et al. 2014) or of their log-probabilities ('geometric'); alignments are means too.

    >>> pairs = [weft.data.Pair("ab", "ba")]
    >>> team = weft.models.Ensemble([weft.models.Seq2Seq.from_pairs(pairs, hidden=8) for _ in range(2)])
    >>> isinstance(team.generate("ab", beam=2)[0].text, str)
    True
    """

    def __init__(self, members: Sequence[Any], *, mean: str = "arithmetic") -> None:
        if not members:
            raise ConfigError("[ensemble] members: expected at least one model, got none")
        if mean not in MEANS:
            raise choice_error("ensemble", "mean", MEANS, mean)
        self.members, self.mean = list(members), mean
        first = self.members[0]
        for name in ("source_vocabulary", "target_vocabulary"):
            for i, member in enumerate(self.members[1:], 1):
                if getattr(member, name).to_json() != getattr(first, name).to_json():
                    raise ConfigError(f"[ensemble] members: expected one {name} for all, that of member {i} differs")
        self.source_vocabulary, self.target_vocabulary = first.source_vocabulary, first.target_vocabulary
        lengths = [m.max_length for m in self.members if m.max_length is not None]
        self.max_length = min(lengths) if lengths else None
        for member in self.members:
            member.eval()

    def start(self, inputs: list[Any]) -> State:
        """A state with one row for each input."""
        return State([m.start(inputs) for m in self.members])

    def step(self, state: State, tokens: np.ndarray) -> tuple[np.ndarray, np.ndarray | None, State]:
        """One token further: the mean of what the members say."""
        found = [m.step(s, tokens) for m, s in zip(self.members, state.parts, strict=True)]
        scores = [f[0] for f in found]
        if self.mean == "geometric":
            joined = log_softmax_array(np.ascontiguousarray(sum(scores[1:], scores[0].copy()) / np.float32(len(scores))))
        else:
            with no_grad():
                total = exp(tensor(scores[0]))
                for s in scores[1:]:
                    total = total + exp(tensor(s))
                joined = log(total / float(len(scores))).numpy()
        looks = [f[1] for f in found if f[1] is not None]
        weights = sum(looks[1:], looks[0].copy()) / np.float32(len(looks)) if looks else None
        return joined, weights, State([f[2] for f in found])
