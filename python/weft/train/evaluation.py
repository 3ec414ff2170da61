"""What a model gets right on pairs it has not seen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ..autograd import no_grad
from ..data.batches import batches
from ..data.pairs import Pair
from ..data.vocabulary import tokenize
from .metrics import error_rates


@dataclass
class Evaluation:
    """Mean loss in nats per token, token and sequence error rates, and the outputs by source."""

    loss: float
    token_error_rate: float
    sequence_error_rate: float
    outputs: dict[str, str]


def validation_loss(model: Any, pairs: Sequence[Pair], batch_tokens: int = 8192) -> float:
    """Mean cross-entropy in nats per target token, dropout off."""
    training, total, count = model.training, 0.0, 0
    model.eval()
    try:
        with no_grad():
            for batch in batches(model.encode_pairs(pairs), batch_tokens):
                tokens = int(batch.target_lengths.sum())
                total += model.loss(batch).item() * tokens
                count += tokens
    finally:
        model.train(training)
    return total / max(1, count)


def evaluate(model: Any, pairs: Sequence[Pair], *, beam: int = 1) -> Evaluation:
    """Loss and error rates. Pairs with the same source are its references: any of them counts as right."""
    references: dict[str, list[list[str]]] = {}
    kind = model.target_vocabulary.kind
    for pair in pairs:
        references.setdefault(pair.source, []).append(tokenize(pair.target, kind))
    sources = list(references)
    results = [r[0] for r in model.generate(sources, beam=beam)]
    rates = error_rates([r.target for r in results], [references[s] for s in sources])
    outputs = {s: r.text for s, r in zip(sources, results, strict=True)}
    return Evaluation(validation_loss(model, pairs), rates.token, rates.sequence, outputs)
