"""What a decoder may and must not say: lengths, repetitions, forbidden and prescribed tokens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from ..data.vocabulary import END, PAD, START, UNKNOWN
from ..errors import ConfigError, range_error

#: Tokens of a text, as numbers.
Tokens = Sequence[int]


@dataclass(frozen=True)
class Rules:
    """Changes log-probabilities before a token is chosen; `logprob` of a result is the sum of those that the model gave.

    `min_length`: the end is not said before so many tokens. `no_repeat_ngram`: no run of so many tokens occurs twice.
    `repetition_penalty`: log-probabilities of tokens said already are multiplied by it (Keskar et al. 2019, §4.1, on log-probabilities).
    `forbidden`: runs of tokens that must not occur. `prefix`: for each input the tokens it begins with. `required`: for each input runs
    of tokens that must occur (beam search alone heeds them). `unknown`: whether <unk> may be said. `names`: what errors call the tokens.
    """

    min_length: int = 0
    no_repeat_ngram: int = 0
    repetition_penalty: float = 1.0
    forbidden: tuple[tuple[int, ...], ...] = ()
    prefix: tuple[tuple[int, ...], ...] | None = None
    required: tuple[tuple[tuple[int, ...], ...], ...] | None = None
    unknown: bool = False
    names: Sequence[str] | None = field(default=None, compare=False, repr=False)

    def __post_init__(self) -> None:
        if self.min_length < 0:
            raise range_error("decoding", "min_length", "a whole number of at least 0", self.min_length)
        if self.no_repeat_ngram < 0:
            raise range_error("decoding", "no_repeat_ngram", "a whole number of at least 0", self.no_repeat_ngram)
        if not self.repetition_penalty >= 1.0:
            raise range_error("decoding", "repetition_penalty", "a number of at least 1", self.repetition_penalty)
        if any(not run for run in self.forbidden):
            raise range_error("decoding", "forbidden", "runs of at least one token", self.forbidden)
        for runs in self.required or ():
            if any(not run for run in runs):
                raise range_error("decoding", "required", "runs of at least one token", runs)
            for run in runs:
                clash = [f for f in self.forbidden if any(run[i : i + len(f)] == f for i in range(len(run) - len(f) + 1))]
                if clash:
                    text = f"{self._named(run)} holds {self._named(clash[0])}, which must not occur"
                    raise ConfigError(f"[decoding] required and forbidden: {text}")

    def of(self, inputs: Sequence[int]) -> Rules:
        """The rules for some of the inputs."""
        prefix = None if self.prefix is None else tuple(self.prefix[i] for i in inputs)
        required = None if self.required is None else tuple(self.required[i] for i in inputs)
        return replace(self, prefix=prefix, required=required)

    def check(self, limits: Sequence[int]) -> None:
        """Refuses rules that no text of at most so many tokens can keep, one number for each input."""
        for i, limit in enumerate(limits):
            begin = () if self.prefix is None else self.prefix[i]
            least = {
                "min_length": self.min_length,
                "prefix": len(begin),
                "required": sum(map(len, self.required[i])) if self.required else 0,
            }
            for name, length in least.items():
                if length > limit:
                    raise ConfigError(f"[generate] {name}: expected no more than max_length {limit} tokens, got {length}")
            for run in self.forbidden:
                if any(begin[k : k + len(run)] == run for k in range(len(begin) - len(run) + 1)):
                    text = f"{self._named(begin)} holds {self._named(run)}, which must not occur"
                    raise ConfigError(f"[generate] prefix and forbidden: {text}")

    def _named(self, run: Tokens) -> list[int] | list[str]:
        return list(run) if self.names is None else [self.names[t] for t in run]

    def apply(self, scores: np.ndarray, said: Tokens, index: int) -> None:
        """Changes the log-probabilities [V] of what follows `said`, in place; `index`: which input."""
        step = len(said)
        if self.prefix is not None and step < len(self.prefix[index]):
            wanted = self.prefix[index][step]
            kept = scores[wanted]
            scores[:] = -np.inf
            # A prefix is said whatever the model thinks of it.
            scores[wanted] = kept if np.isfinite(kept) else np.log(np.finfo(scores.dtype).tiny)
            return
        if step < self.min_length:
            scores[END] = -np.inf
        if self.repetition_penalty != 1.0 and step:
            again = np.unique(np.asarray(said))
            scores[again] *= self.repetition_penalty
        n = self.no_repeat_ngram
        if n and step >= n:
            last = tuple(said[step - n + 1 :]) if n > 1 else ()
            for i in range(step - n + 1):
                if tuple(said[i : i + n - 1]) == last:
                    scores[said[i + n - 1]] = -np.inf
        for run in self.forbidden:
            before = len(run) - 1
            if step >= before and tuple(said[step - before :]) == run[:-1]:
                scores[run[-1]] = -np.inf
        if not np.isfinite(scores).any():
            # Nothing may be said any more.
            scores[END] = 0.0


def bar(scores: np.ndarray, rules: Rules | None) -> None:
    """Takes from log-probabilities [rows, V], in place, the tokens that are never said."""
    scores[:, (PAD, START) if rules is not None and rules.unknown else (PAD, START, UNKNOWN)] = -np.inf


def adjusted(rules: Rules | None, scores: np.ndarray, said: Sequence[Tokens], index: Sequence[int]) -> np.ndarray:
    """Log-probabilities [rows, V] under the rules; the array itself where there are none."""
    if rules is None:
        return scores
    changed = scores.copy()
    for row, tokens, i in zip(changed, said, index, strict=True):
        rules.apply(row, tokens, i)
    return changed
