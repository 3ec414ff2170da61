"""What a model gets right on pairs it has not seen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from ..autograd import no_grad
from ..data.pairs import Pair, key_of, pairs_of
from ..nn import evaluating
from .metrics import error_rates


@dataclass
class Measured:
    """Mean loss in nats per token or label, other measures by name (rates as shares), and a few [input, output] to look at."""

    loss: float
    metrics: dict[str, float] = field(default_factory=dict)
    samples: list[list[str]] = field(default_factory=list)


@dataclass
class Evaluation:
    """Mean loss in nats per token, token and sequence error rates, and the outputs by source."""

    loss: float
    token_error_rate: float
    sequence_error_rate: float
    outputs: dict[str, str]


def validation_loss(model: Any, examples: Any, batch_tokens: int = 8192) -> float:
    """Mean loss in nats per token or label, dropout off."""
    total, count = 0.0, 0
    with evaluating(model), no_grad():
        for batch in model.batches(model.encode_examples(examples), batch_tokens):
            number, _ = model.count(batch)
            total += model.loss(batch).item() * number
            count += number
    return total / max(1, count)


def evaluate(model: Any, pairs: Sequence[Pair], *, beam: int = 1) -> Evaluation:
    """Loss and error rates. Pairs with the same source are its references: any of them counts as right."""
    references: dict[str, list[list[str]]] = {}
    sources: dict[str, Any] = {}
    for pair in pairs_of(pairs):
        key = key_of(pair.source)
        sources.setdefault(key, pair.source)
        references.setdefault(key, []).append(model.target_vocabulary.tokenize(pair.target))
    results = [r[0] for r in model.generate(list(sources.values()), beam=beam)]
    rates = error_rates([r.target for r in results], list(references.values()))
    outputs = {s: r.text for s, r in zip(sources, results, strict=True)}
    return Evaluation(validation_loss(model, pairs), rates.token, rates.sequence, outputs)
