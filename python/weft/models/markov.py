"""A language model that only counts: the baseline that a net has to beat."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np

from ..data.kinds import make_vocabulary
from ..data.vocabulary import END, PAD, START, Vocabulary
from ..decoding import Result
from ..errors import range_error
from . import folder
from .generation import Generation


class MarkovModel(Generation):
    """p(token | the n − 1 tokens before it) by counts, smoothed after Witten & Bell 1991: a context that was seen c times with d different
    followers gives them c / (c + d) of the probability, and the rest to the next shorter context; the shortest is uniform.

    The interface of `LanguageModel`, without training: `from_texts` counts.

    >>> model = weft.models.MarkovModel.from_texts(["abab", "baba"], order=2)
    >>> model.perplexity(["abab"]) < model.perplexity(["aabb"])
    True
    """

    VOCABULARIES = ("vocabulary",)

    def __init__(self, vocabulary: Vocabulary, order: int = 3) -> None:
        if order < 1:
            raise range_error("markov", "order", "a whole number of at least 1", order)
        self.vocabulary = self.source_vocabulary = self.target_vocabulary = vocabulary
        self.order, self.options = order, {"order": order}
        self._counts: dict[tuple[int, ...], Counter[int]] = defaultdict(Counter)

    @classmethod
    def from_texts(cls, texts: str | Iterable[Any], *, tokens: str | None = None, order: int = 3) -> Self:
        """Counts runs of up to `order` tokens of texts, or of one long text; `tokens` as in `data.make_vocabulary`."""
        texts = [texts] if isinstance(texts, str) else list(texts)
        model = cls(make_vocabulary(texts, tokens), order)
        for text in texts:
            model.count(model.vocabulary.encode(text))
        return model

    def count(self, numbers: Sequence[int]) -> None:
        """One more text, as numbers."""
        padded = [START] * (self.order - 1) + [*numbers, END]
        for i in range(self.order - 1, len(padded)):
            for n in range(self.order):
                self._counts[tuple(padded[i - n : i])][padded[i]] += 1

    def distribution(self, before: Sequence[int]) -> np.ndarray:
        """Probabilities [V] of what follows `before` (the text so far)."""
        context = ([START] * (self.order - 1) + list(before))[-(self.order - 1) or None :] if self.order > 1 else []
        possible = np.ones(len(self.vocabulary))
        possible[[PAD, START]] = 0.0
        p = possible / possible.sum()
        for n in range(len(context) + 1):
            found = self._counts.get(tuple(context[len(context) - n :]))
            if not found:
                break
            total, kinds = sum(found.values()), len(found)
            p = p * (kinds / (total + kinds))
            for token, count in found.items():
                p[token] += count / (total + kinds)
        return p

    def loss(self, texts: str | Sequence[Any]) -> float:
        """Mean cross-entropy in nats a token: of texts with their ends, or of one long text without an end."""
        total, count = 0.0, 0
        for text in [texts] if isinstance(texts, str) else texts:
            numbers = self.vocabulary.encode(text) + ([] if isinstance(texts, str) else [END])
            for i, token in enumerate(numbers):
                total -= math.log(self.probability(numbers[max(0, i - self.order + 1) : i], token, i < self.order - 1))
                count += 1
        return total / max(1, count)

    def probability(self, before: Sequence[int], token: int, begins: bool = True) -> float:
        """p(token | before); `begins`: the text begins with `before`."""
        context = tuple(([START] * (self.order - 1) if begins else []) + list(before))
        context = context[len(context) - min(len(context), self.order - 1) :]
        p = 1.0 / (len(self.vocabulary) - 2)
        for n in range(len(context) + 1):
            found = self._counts.get(context[len(context) - n :])
            if not found:
                break
            total, kinds = found.total(), len(found)
            p = (p * kinds + found.get(token, 0)) / (total + kinds)
        return p

    def score(self, texts: Sequence[Any]) -> np.ndarray:
        """log p(text) of each, the end counted."""
        return np.array([-self.loss([text]) * (len(self.vocabulary.encode(text)) + 1) for text in texts])

    def perplexity(self, texts: str | Sequence[Any]) -> float:
        """e^(mean cross-entropy a token), the ends of texts counted."""
        return math.exp(self.loss(texts))

    # Decoding

    class State:
        """The texts so far."""

        def __init__(self, texts: list[list[int]]) -> None:
            self.texts = texts

        def select(self, rows: np.ndarray) -> MarkovModel.State:
            """The given rows, also more than once."""
            return MarkovModel.State([list(self.texts[r]) for r in rows])

    def start(self, inputs: list[list[int]]) -> State:
        """A state for prefixes as numbers."""
        return self.State([list(i) for i in inputs])

    def step(self, state: State, tokens: np.ndarray) -> tuple[np.ndarray, None, State]:
        """One token further: log-probabilities [rows, V]."""
        for text, token in zip(state.texts, tokens.tolist(), strict=True):
            if token != START:
                text.append(token)
        with np.errstate(divide="ignore"):
            return np.log(np.array([self.distribution(t) for t in state.texts])), None, state

    def _limit(self, numbers: Any, max_length: int | None) -> int:
        return 100 if max_length is None else max_length

    def _finish(self, source: Any, result: Result) -> Result:
        result = super()._finish(source, result)
        result.text = self.vocabulary.join([*result.source, *result.target])
        return result

    # Keeping

    def state_dict(self) -> dict[str, np.ndarray]:
        """The counts as arrays: runs [N, order], a context and what follows it, -1 where it is shorter; and how often each occurred."""
        runs = [((-1,) * (self.order - 1 - len(c)) + (*c, t), n) for c, found in self._counts.items() for t, n in found.items()]
        runs.sort()
        return {
            "runs": np.array([r for r, _ in runs], np.int64).reshape(-1, self.order),
            "counts": np.array([n for _, n in runs], np.int64),
        }

    def load_state_dict(self, state: dict[str, np.ndarray]) -> None:
        """Takes what `state_dict` gave."""
        self._counts = defaultdict(Counter)
        for run, n in zip(state["runs"].tolist(), state["counts"].tolist(), strict=True):
            self._counts[tuple(t for t in run[:-1] if t >= 0)][run[-1]] = n

    def eval(self) -> Self:
        """Itself: there is no training mode."""
        return self

    def save(self, path: str | Path) -> None:
        """Writes counts, options and the vocabulary into a folder."""
        folder.save(self, path)

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """The model of a folder."""
        return folder.load(path, {cls.__name__: cls})
