"""One way to decode: greedy, beam or sampling, with its options checked before any work."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ..errors import ConfigError, range_error
from .beam import Ranking, beam
from .greedy import greedy
from .result import Decodable, Result
from .rules import Rules
from .sampling import Cut, sample


@dataclass(frozen=True)
class Strategy:
    """`beam` 1 without `cut` is greedy; with a `cut`, `n_best` texts are drawn for each input."""

    beam: int = 1
    n_best: int = 1
    ranking: Ranking = Ranking()  # noqa: RUF009
    cut: Cut | None = None

    def __post_init__(self) -> None:
        if self.beam < 1 or self.n_best < 1 or (self.cut is None and self.n_best > self.beam):
            raise range_error("generate", "beam and n_best", "1 <= n_best <= beam", (self.beam, self.n_best))
        if self.cut is not None and self.beam > 1:
            raise ConfigError("[generate] temperature: expected no beam beside it")

    @classmethod
    def of(
        cls, beam: int = 1, n_best: int = 1, ranking: Ranking | None = None, temperature: float | None = None,
        top_k: int | None = None, top_p: float = 1.0, min_p: float = 0.0,
    ) -> Strategy:  # fmt: skip
        """From the arguments of `generate`."""
        if temperature is None and (top_k is not None or top_p != 1.0 or min_p != 0.0):
            raise ConfigError(
                "[generate] top_k, top_p and min_p: expected a temperature beside them (1.0 draws as the model says)"
            )
        cut = None if temperature is None else Cut(temperature, top_k, top_p, min_p)
        return cls(beam, n_best, Ranking() if ranking is None else ranking, cut)

    def decode(
        self,
        model: Decodable,
        inputs: Sequence[Any],
        max_length: Sequence[int],
        seeds: Sequence[int],
        rules: Rules | None,
    ) -> list[list[Result]]:
        """`n_best` results for each input."""
        if rules is not None and rules.required is not None and self.cut is not None:
            raise ConfigError("[generate] required: expected beam search, not a temperature")
        ranking = self.ranking
        if self.cut is not None:
            return sample(model, inputs, max_length, self.cut, seeds, self.n_best, rules)
        if self.beam == 1 and (rules is None or rules.required is None):
            found = greedy(model, inputs, max_length, rules)
            for r in found:
                r.score = ranking.score(r.logprob, len(r.tokens) + 1, [] if r.alignment is None else list(r.alignment))
            return [[r] for r in found]
        return beam(
            model, inputs, max_length, self.beam, self.n_best, ranking.length_penalty, rules,
            coverage_penalty=ranking.coverage_penalty, stop=ranking.stop,
        )  # fmt: skip
