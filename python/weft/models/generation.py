"""Decoding as a method: what every model that writes sequences offers, over its `start` and `step`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import nn
from ..data.features import Features
from ..data.vocabulary import END, START, UNKNOWN, Vocabulary
from ..decoding import Ranking, Result, Rules, Strategy
from ..decoding.rules import bar
from ..errors import ConfigError, DataError, range_error


class Generation:
    """`generate` and `stream` for a model with both vocabularies, `start(inputs)` and `step(state, tokens)` (`decoding.Decodable`)."""

    source_vocabulary: Vocabulary | Features
    target_vocabulary: Vocabulary
    #: Positions that the model knows; None: any.
    max_length: int | None = None

    if TYPE_CHECKING:

        def start(self, inputs: list[Any]) -> Any: ...
        def step(self, state: Any, tokens: np.ndarray) -> tuple[np.ndarray, np.ndarray | None, Any]: ...

    def _limit(self, numbers: Any, max_length: int | None) -> int:
        """How many tokens may follow an input; the last step of a model with so many positions is the end."""
        wished = 2 * len(numbers) + 20 if max_length is None else max_length
        return wished if self.max_length is None else min(wished, self.max_length - 1)

    def _evaluating(self) -> Any:
        return nn.evaluating(self) if isinstance(self, nn.Module) else nullcontext()

    def generate(
        self,
        inputs: Any,
        *,
        beam: int = 1,
        n_best: int = 1,
        max_length: int | None = None,
        length_penalty: str = "average",
        coverage_penalty: float = 0.0,
        stop: str = "full",
        batch_size: int = 256,
        temperature: float | None = None,
        top_k: int | None = None,
        top_p: float = 1.0,
        min_p: float = 0.0,
        seed: int | Sequence[int] = 0,
        min_length: int = 0,
        no_repeat_ngram: int = 0,
        repetition_penalty: float = 1.0,
        forbidden: Sequence[Any] = (),
        required: Sequence[Any] = (),
        prefix: Any = None,
        copy_unknown: bool = False,
    ) -> Any:
        """Targets for one source (a list of `n_best` results) or a list of sources (a list of such lists).

        beam 1 is greedy; `length_penalty`, `coverage_penalty` and `stop` as in `decoding.Ranking`. With a `temperature` tokens are drawn
        instead, `n_best` texts for each input: only among the `top_k` most probable tokens, the fewest that hold `top_p` of the
        probability, those with at least `min_p` of the largest; `seed` is one number or one for each input. At most `max_length` tokens,
        by default twice the source's and 20, and never more than the model has positions for; at least `min_length`. `no_repeat_ngram`:
        no run of so many tokens occurs twice. `repetition_penalty`: log-probabilities of tokens said already are multiplied by it.
        `forbidden`: texts that must not occur. `required`: texts that must occur, or a list of them for each input (beam search with
        places for every number of tokens said, Post & Vilar 2018). `prefix`: what the target begins with, one text or one for each input.
        `copy_unknown`: <unk> may be said, and the source token that the model looked at most stands in its place (Luong et al. 2015b).
        Inputs are decoded sorted by length, `batch_size` at a time; what an input gives does not depend on the others.
        """
        alone = self._is_one(inputs)
        texts = [inputs] if alone else list(inputs)
        if max_length is not None and max_length < 1:
            raise range_error("generate", "max_length", "a whole number of at least 1", max_length)
        if batch_size < 1:
            raise range_error("generate", "batch_size", "a whole number of at least 1", batch_size)
        ranking = Ranking(length_penalty, coverage_penalty, stop)
        strategy = Strategy.of(beam, n_best, ranking, temperature, top_k, top_p, min_p)
        seeds = [seed] * len(texts) if isinstance(seed, int) else list(seed)
        begins = [prefix] * len(texts) if prefix is None or self._is_one(prefix) else list(prefix)
        wishes = [required] * len(texts) if all(self._is_one(r) for r in required) else list(required)
        if not len(seeds) == len(begins) == len(wishes) == len(texts):
            got = f"{len(seeds)}, {len(begins)} and {len(wishes)}"
            raise ConfigError(f"[generate] seed, prefix and required: expected one, or {len(texts)}, got {got}")
        rules = Rules(
            min_length, no_repeat_ngram, repetition_penalty, tuple(self._known("forbidden", text) for text in forbidden),
            tuple(self._known("prefix", text) for text in begins) if prefix is not None else None,
            tuple(tuple(self._known("required", text) for text in some) for some in wishes) if len(required) else None,
            copy_unknown, self.target_vocabulary.tokens,
        )  # fmt: skip
        numbers: list[Any] = [self.source_vocabulary.encode(text) for text in texts]
        limits = [self._limit(n, max_length) for n in numbers]
        rules.check(limits)
        order = sorted(range(len(texts)), key=lambda i: (len(numbers[i]), i))
        results: list[list[Result]] = [[] for _ in texts]
        with self._evaluating():
            for first in range(0, len(order), batch_size):
                rows = order[first : first + batch_size]
                some = rules.of(rows)
                found = strategy.decode(
                    self, [numbers[i] for i in rows], [limits[i] for i in rows], [seeds[i] for i in rows],
                    None if some == Rules() else some,
                )  # fmt: skip
                for row, chosen in zip(rows, found, strict=True):
                    results[row] = [self._finish(texts[row], r) for r in chosen]
        return results[0] if alone else results

    def _is_one(self, text: Any) -> bool:
        """Whether this is one text (or list of tokens, or array) and not several."""
        if isinstance(text, (str, np.ndarray)):
            return True
        if not isinstance(text, Iterable):
            raise DataError(f"[generate] expected a text, a list of tokens or numbers, or a list of such, got {text!r:.60}")
        first = next(iter(text), None)
        return isinstance(first, (int, np.integer))

    def _known(self, name: str, text: Any) -> tuple[int, ...]:
        """A text of the target side as numbers; refuses what the model could never say."""
        if text is None:
            return ()
        unknown = [t for t in self.target_vocabulary.tokenize(text) if t not in self.target_vocabulary]
        if unknown:
            raise ConfigError(f"[generate] {name}: expected tokens of the target vocabulary, got {unknown[0]!r}")
        return tuple(self.target_vocabulary.encode(text))

    def stream(self, text: Any, *, max_length: int | None = None) -> Iterator[str]:
        """The greedy target of one source, token by token as it comes.

        >>> pairs = [weft.data.Pair("ab", "ba")]
        >>> model = weft.models.Seq2Seq.from_pairs(pairs, hidden=8)
        >>> "".join(model.stream("ab")) == model.generate("ab")[0].text
        True
        """
        numbers: Any = self.source_vocabulary.encode(text)
        limit = self._limit(numbers, max_length)
        with self._evaluating():
            state = self.start([numbers])
            token = START
            for _ in range(limit):
                scores, _, state = self.step(state, np.array([token]))
                bar(scores, None)
                token = int(scores[0].argmax())
                if token == END:
                    return
                yield self.target_vocabulary.tokens[token]

    def _finish(self, source: Any, result: Result) -> Result:
        result.source = self.source_vocabulary.tokenize(source)
        result.target = [self.target_vocabulary.tokens[t] for t in result.tokens]
        if UNKNOWN in result.tokens and result.alignment is not None and result.source:
            looked = result.alignment[:, : len(result.source)].argmax(1)
            result.target = [
                result.source[looked[i]] if t == UNKNOWN else said
                for i, (t, said) in enumerate(zip(result.tokens, result.target, strict=True))
            ]
        result.text = self.target_vocabulary.join(result.target)
        return result
