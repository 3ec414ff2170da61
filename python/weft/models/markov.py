"""A language model that only counts: the baseline that a net has to beat."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from typing import Self

import numpy as np

from ..data.vocabulary import END, PAD, START, Vocabulary
from ..decoding import Cut, greedy, sample
from ..errors import range_error


class MarkovModel:
    """p(token | the n − 1 tokens before it) by counts, smoothed after Witten & Bell 1991: a context that was seen c times with d different
    followers gives them c / (c + d) of the probability, and the rest to the next shorter context; the shortest is uniform.

    The interface of `LanguageModel`, without training: `from_texts` counts.

    >>> model = weft.models.MarkovModel.from_texts(["abab", "baba"], order=2)
    >>> model.perplexity(["abab"]) < model.perplexity(["aabb"])
    True
    """

    def __init__(self, vocabulary: Vocabulary, order: int = 3) -> None:
        if order < 1:
            raise range_error("markov", "order", "a whole number of at least 1", order)
        self.vocabulary, self.order = vocabulary, order
        self._counts: dict[tuple[int, ...], Counter[int]] = defaultdict(Counter)

    @classmethod
    def from_texts(cls, texts: Iterable[str], *, tokens: str = "character", order: int = 3) -> Self:
        """Counts runs of up to `order` tokens; `tokens` is 'character' or 'word'."""
        texts = list(texts)
        model = cls(Vocabulary.from_texts(texts, tokens), order)
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

    def perplexity(self, texts: Sequence[str]) -> float:
        """e^(mean cross-entropy a token), the ends counted."""
        total, count = 0.0, 0
        for text in texts:
            numbers = [*self.vocabulary.encode(text), END]
            for i, token in enumerate(numbers):
                total -= math.log(self.distribution(numbers[:i])[token])
                count += 1
        return math.exp(total / max(1, count))

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

    def generate(self, prefix: str = "", *, max_length: int = 100, temperature: float | None = None, seed: int = 0) -> str:
        """A text that begins with `prefix`: the most probable tokens, or drawn ones."""
        numbers = self.vocabulary.encode(prefix)
        if temperature is None:
            [found] = greedy(self, [numbers], [max_length])
        else:
            [[found]] = sample(self, [numbers], [max_length], Cut(temperature), [seed])
        return self.vocabulary.decode([*numbers, *found.tokens])
