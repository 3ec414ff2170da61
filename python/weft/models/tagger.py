"""One label for every step of a sequence."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

import numpy as np

from .. import nn
from ..autograd import Tensor
from ..data.features import Features
from ..data.kinds import make_reading
from ..data.labelled import Labelled, Labels, check_inputs
from ..data.vocabulary import Vocabulary
from ..errors import DataError
from ..nn import functional as F
from .evaluation import Measured, validation_loss
from .labelled import LabelledBatch, LabelledModel
from .metrics import span_f1
from .reader import Reader

#: What stands in targets beyond a length.
IGNORED = -100


class SequenceTagger(LabelledModel):
    """A tag for each token of a text, list or array [T, F]: a `Reader` and a linear layer, and with `crf` a conditional random field, which
    scores whole sequences of tags (Lample et al. 2016).

    >>> examples = [(["the", "cat"], ["D", "N"]), (["a", "dog", "sat"], ["D", "N", "V"])]
    >>> model = weft.models.SequenceTagger.from_examples(examples, hidden=16, crf=True)
    >>> [len(tags) for tags in model.predict([["the", "dog"], ["a"]])]
    [2, 1]
    """

    VOCABULARIES = ("vocabulary", "labels")

    def __init__(
        self, vocabulary: Vocabulary | Features, labels: Labels, *, cell: str = "lstm", hidden: int = 128, layers: int = 1,
        bidirectional: bool = True, heads: int = 4, embedding: int | None = None, dropout: float = 0.0, crf: bool = False,
    ) -> None:  # fmt: skip
        super().__init__()
        reading: dict[str, Any] = {
            "cell": cell, "hidden": hidden, "layers": layers, "bidirectional": bidirectional, "heads": heads, "embedding": embedding,
            "dropout": dropout,
        }  # fmt: skip
        self.options = {**reading, "crf": crf}
        self.vocabulary, self.labels = vocabulary, labels
        self.reader = Reader(vocabulary, **reading)
        self.output = nn.Linear(hidden, len(labels))
        self.crf = nn.CRF(len(labels)) if crf else None

    @classmethod
    def from_examples(
        cls, examples: Sequence[Any], *, tokens: str | None = None, vocabulary_size: int | None = None, min_count: int = 1,
        **options: Any,
    ) -> Self:  # fmt: skip
        """A model for examples (input, tags): as many tags as the input has tokens."""
        pairs = [Labelled(*e) for e in examples]
        vocabulary = make_reading([p.input for p in pairs], tokens, vocabulary_size, min_count)
        model = cls(vocabulary, Labels.from_labels(tag for p in pairs for tag in p.label), **options)
        if isinstance(vocabulary, Features):
            model.reader.standardize(check_inputs([p.input for p in pairs], vocabulary))
        model.encode_examples(pairs)
        return model

    # Training

    def encode_target(self, example: Labelled, steps: int) -> list[int]:
        """The numbers of the tags."""
        if len(example.label) != steps:
            raise DataError(
                f"[tagger] tags: expected {steps}, one for each token of {example.input!r:.60}, got {len(example.label)}"
            )
        return [self.labels.encode(tag) for tag in example.label]

    def make_targets(self, targets: list[Any]) -> np.ndarray:
        """Tags [B, T], filled up with -100."""
        array = np.full((len(targets), max(1, max(map(len, targets), default=1))), IGNORED, np.int64)
        for row, tags in zip(array, targets, strict=True):
            row[: len(tags)] = tags
        return array

    def count(self, batch: LabelledBatch) -> tuple[int, int]:
        """Tags (with a random field: sequences), and examples."""
        return len(batch.targets) if self.crf is not None else int(batch.lengths.sum()), len(batch.targets)

    def forward(self, batch: LabelledBatch) -> Tensor:
        """Logits [B, T, tags]."""
        return self.output(self.reader(batch.inputs, batch.lengths))

    def outputs(self, target: list[int]) -> int:
        """Each tag."""
        return len(target)

    def said(self, output: Tensor, target: list[int]) -> Tensor:
        """The log-probabilities [T] of the tags by the scores of their steps alone."""
        each = np.arange(len(target))
        return -F.cross_entropy(output[each, each], np.array(target), reduction="none")

    def loss(self, batch: LabelledBatch, label_smoothing: float = 0.0) -> Tensor:
        """Mean cross-entropy a tag, or with a random field −log p(tags) a sequence."""
        logits = self.forward(batch)
        if self.crf is not None:
            return self.crf(logits, batch.targets, lengths=batch.lengths)
        rows = logits.reshape(-1, logits.shape[-1])
        return F.cross_entropy(rows, batch.targets.reshape(-1), ignore_index=IGNORED, label_smoothing=label_smoothing)

    def measure(self, examples: Sequence[Any]) -> Measured:
        """Loss, token accuracy, F1 of spans where tags are B-, I- and O, and three samples."""
        pairs = [Labelled(*e) for e in examples]
        said = self.predict([p.input for p in pairs])
        wished = [list(p.label) for p in pairs]
        metrics = {"token_accuracy": _accuracy(said, wished)}
        if any(isinstance(t, str) and t.startswith("B-") for t in self.labels.names):
            metrics["span_f1"] = span_f1(said, wished)
        some = range(0, len(pairs), max(1, len(pairs) // 3))[:3]
        samples = [[" ".join(self.vocabulary.tokenize(pairs[i].input)), " ".join(map(str, said[i]))] for i in some]
        return Measured(validation_loss(self, pairs), metrics, samples)

    # Use

    def predict(self, inputs: Sequence[Any], batch_tokens: int = 16384) -> list[list[Any]]:
        """Tags of every token; with a random field those of the best whole sequence."""
        found: list[list[Any]] = [[] for _ in inputs]
        for rows, states, lengths in self.states_of(inputs, batch_tokens):
            logits = self.output(states)
            tags = logits.numpy().argmax(-1) if self.crf is None else self.crf.decode(logits, lengths=lengths)[0]
            for row, numbers, length in zip(rows, tags, lengths.tolist(), strict=True):
                found[row] = [self.labels.names[n] for n in numbers[:length].tolist()]
        return found

    def score(self, inputs: Sequence[Any], tags: Sequence[Sequence[Any]]) -> float:
        """The share of tokens whose tag is right."""
        return _accuracy(self.predict(inputs), [list(t) for t in tags])


def _accuracy(said: list[list[Any]], wished: list[list[Any]]) -> float:
    right = sum(a == b for s, w in zip(said, wished, strict=True) for a, b in zip(s, w, strict=True))
    return right / max(1, sum(map(len, wished)))
