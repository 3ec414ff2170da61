"""One label, or numbers, for a whole sequence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Self

import numpy as np

from .. import nn
from ..autograd import Tensor, no_grad, tensor
from ..autograd.activation import softmax_array
from ..data.features import Features
from ..data.kinds import make_reading
from ..data.labelled import Labelled, Labels, check_inputs, plain, split_labelled
from ..data.vocabulary import Vocabulary
from ..errors import ConfigError, DataError, shape_error
from ..nn import functional as F
from .evaluation import Measured, validation_loss
from .labelled import LabelledBatch, LabelledModel
from .reader import Reader


class SequenceClassifier(LabelledModel):
    """The class of a sequence: a `Reader`, one vector of its states (`pool`: see `nn.Pool`), and a linear layer.

    Inputs are texts, lists of tokens or arrays [T, F] of uneven length. `class_weights`: 'balanced', or a weight for each class, of its
    losses. `train.fit(model, examples)` learns; `predict`, `predict_proba` and `score` are as scikit-learn's.

    >>> examples = [("abab", "low"), ("xyxy", "high"), ("abba", "low"), ("xxyy", "high")]
    >>> model = weft.models.SequenceClassifier.from_examples(examples, hidden=16)
    >>> model.predict_proba(["ab", "xyz"]).shape
    (2, 2)
    """

    VOCABULARIES = ("vocabulary", "labels")

    def __init__(
        self,
        vocabulary: Vocabulary | Features,
        labels: Labels,
        *,
        cell: str = "gru",
        hidden: int = 128,
        layers: int = 1,
        bidirectional: bool = True,
        heads: int = 4,
        embedding: int | None = None,
        dropout: float = 0.0,
        pool: str = "last",
        class_weights: Sequence[float] | None = None,
    ) -> None:
        super().__init__()
        reading: dict[str, Any] = {
            "cell": cell, "hidden": hidden, "layers": layers, "bidirectional": bidirectional, "heads": heads, "embedding": embedding,
            "dropout": dropout,
        }  # fmt: skip
        weights = None if class_weights is None else [float(w) for w in class_weights]
        if weights is not None and (len(weights) != len(labels) or min(weights) < 0.0):
            raise ConfigError(f"[classifier] class_weights: expected {len(labels)} numbers of at least 0, got {weights}")
        self.options = {**reading, "pool": pool, "class_weights": weights}
        self.vocabulary, self.labels = vocabulary, labels
        self.weights = None if weights is None else np.array(weights, np.float32)
        self.reader = Reader(vocabulary, **reading)
        self.pool = nn.Pool(pool, hidden, both=self.reader.both)
        self.dropout = nn.Dropout(dropout)
        self.output = nn.Linear(hidden, len(labels))

    @classmethod
    def from_examples(
        cls, examples: Sequence[Any], *, tokens: str | None = None, vocabulary_size: int | None = None, min_count: int = 1,
        class_weights: str | Mapping[Any, float] | None = None, **options: Any,
    ) -> Self:  # fmt: skip
        """A model for examples (input, label): vocabulary or features, and classes, are theirs."""
        pairs = [Labelled(*e) for e in examples]
        vocabulary = make_reading([p.input for p in pairs], tokens, vocabulary_size, min_count)
        labels = Labels.from_labels(p.label for p in pairs)
        weights = None
        if class_weights == "balanced":
            counts = np.bincount([labels.encode(p.label) for p in pairs], minlength=len(labels))
            weights = (len(pairs) / (len(labels) * counts)).tolist()
        elif isinstance(class_weights, Mapping):
            weights = [float(class_weights[name]) if name in class_weights else 1.0 for name in labels.names]
        elif class_weights is not None:
            raise ConfigError(f"[classifier] class_weights: expected 'balanced' or a weight by class, got {class_weights!r}")
        model = cls(vocabulary, labels, class_weights=weights, **options)
        if isinstance(vocabulary, Features):
            model.reader.standardize(check_inputs([p.input for p in pairs], vocabulary))
        return model

    # Training

    def encode_target(self, example: Labelled, steps: int) -> int:
        """The number of the class."""
        return self.labels.encode(example.label)

    def check_learning(self, encoded: Sequence[tuple[Any, Any]]) -> None:
        """Refuses examples to learn from that leave out a class."""
        missing = set(range(len(self.labels))) - {t for _, t in encoded}
        if missing:
            raise DataError(f"[classifier] class {self.labels.names[min(missing)]!r}: expected examples to learn from, got none")

    def forward(self, batch: LabelledBatch) -> Tensor:
        """Logits [B, classes]."""
        states = self.reader(batch.inputs, batch.lengths)
        return self.output(self.dropout(self.pool(states, lengths=batch.lengths)))

    def outputs(self, target: int) -> int:
        """The class alone."""
        return 1

    def said(self, output: Tensor, target: int) -> Tensor:
        """Its log-probability [1]."""
        return -F.cross_entropy(output, np.array([target]), reduction="none")

    def loss(self, batch: LabelledBatch, label_smoothing: float = 0.0) -> Tensor:
        """Mean cross-entropy; with class weights the weighted mean."""
        logits = self.forward(batch)
        if self.weights is None:
            return F.cross_entropy(logits, batch.targets, label_smoothing=label_smoothing)
        # A batch may hold classes of weight 0 alone, whose mean would be no number.
        total = F.cross_entropy(logits, batch.targets, self.weights, reduction="sum", label_smoothing=label_smoothing)
        return total / float(self.weights[batch.targets].sum(dtype=np.float64) or 1.0)

    def measure(self, examples: Sequence[Any]) -> Measured:
        """Loss, accuracy, and three samples."""
        pairs = [Labelled(*e) for e in examples]
        inputs = [p.input for p in pairs]
        right = self.score(inputs, [p.label for p in pairs])
        shown = inputs[:: max(1, len(inputs) // 3)][:3]
        samples = [
            [x if isinstance(x, str) else f"[{len(x)} steps]", str(y)] for x, y in zip(shown, self.predict(shown), strict=True)
        ]
        return Measured(validation_loss(self, pairs), {"accuracy": right}, samples)

    # Use

    def predict_proba(self, inputs: Sequence[Any], batch_tokens: int = 16384) -> np.ndarray:
        """Probabilities [N, classes], in the order of `labels.names`; what an input gives does not depend on the others."""
        found = np.zeros((len(inputs), len(self.labels)), np.float32)
        for rows, states, lengths in self.states_of(inputs, batch_tokens):
            logits = self.output(self.pool(states, lengths=lengths))
            found[rows] = softmax_array(logits.numpy())
        return found

    def predict(self, inputs: Sequence[Any]) -> list[Any]:
        """The most probable class of each input."""
        return [self.labels.names[i] for i in self.predict_proba(inputs).argmax(1)] if len(inputs) else []

    def score(self, inputs: Sequence[Any], labels: Sequence[Any]) -> float:
        """The share of inputs whose class is right."""
        said = self.predict(inputs)
        return sum(s == plain(y) for s, y in zip(said, labels, strict=True)) / max(1, len(said))


class SequenceRegressor(LabelledModel):
    """Numbers for a sequence: as `SequenceClassifier`, with the mean squared error of targets brought to mean 0 and deviation 1.

    >>> examples = [(np.full((n, 1), n / 5.0), float(n)) for n in range(1, 9)]
    >>> model = weft.models.SequenceRegressor.from_examples(examples, hidden=16)
    >>> model.predict([np.ones((3, 1))]).shape
    (1, 1)
    """

    VOCABULARIES = ("vocabulary",)

    def __init__(
        self, vocabulary: Vocabulary | Features, *, targets: int = 1, cell: str = "gru", hidden: int = 128, layers: int = 1,
        bidirectional: bool = True, heads: int = 4, embedding: int | None = None, dropout: float = 0.0, pool: str = "last",
    ) -> None:  # fmt: skip
        super().__init__()
        reading: dict[str, Any] = {
            "cell": cell, "hidden": hidden, "layers": layers, "bidirectional": bidirectional, "heads": heads, "embedding": embedding,
            "dropout": dropout,
        }  # fmt: skip
        self.options = {**reading, "pool": pool, "targets": targets}
        self.vocabulary, self.targets = vocabulary, targets
        self.reader = Reader(vocabulary, **reading)
        self.pool = nn.Pool(pool, hidden, both=self.reader.both)
        self.output = nn.Linear(hidden, targets)
        self.register_buffer("mean", tensor(np.zeros(targets, np.float32)))
        self.register_buffer("deviation", tensor(np.ones(targets, np.float32)))

    @classmethod
    def from_examples(
        cls, examples: Sequence[Any], *, tokens: str | None = None, vocabulary_size: int | None = None, min_count: int = 1,
        **options: Any,
    ) -> Self:  # fmt: skip
        """A model for examples (input, number or numbers)."""
        pairs = [Labelled(*e) for e in examples]
        vocabulary = make_reading([p.input for p in pairs], tokens, vocabulary_size, min_count)
        model = cls(vocabulary, targets=int(np.size(pairs[0].label)), **options)
        targets = np.array([model.encode_target(p, 0) for p in pairs])
        deviation = targets.std(0)
        with no_grad():
            model.mean[:] = targets.mean(0).astype(np.float32)
            model.deviation[:] = np.where(deviation > 1e-12, deviation, 1.0).astype(np.float32)
        if isinstance(vocabulary, Features):
            model.reader.standardize(check_inputs([p.input for p in pairs], vocabulary))
        return model

    # Training

    def split(self, examples: Sequence[Labelled], share: float) -> tuple[list[Labelled], list[Labelled]]:
        """By a fixed hash of the input."""
        return split_labelled([Labelled(*e) for e in examples], share, by_label=False)

    def encode_target(self, example: Labelled, steps: int) -> np.ndarray:
        """The numbers as f64 [targets]."""
        found = np.asarray(example.label, np.float64).reshape(-1)
        if found.shape != (self.targets,) or not np.isfinite(found).all():
            raise DataError(f"[regressor] target: expected {self.targets} finite numbers, got {example.label!r}")
        return found

    def forward(self, batch: LabelledBatch) -> Tensor:
        """Standardised targets [B, targets]."""
        return self.output(self.pool(self.reader(batch.inputs, batch.lengths), lengths=batch.lengths))

    def outputs(self, target: np.ndarray) -> int:
        """Each number."""
        return self.targets

    def said(self, output: Tensor, target: np.ndarray) -> Tensor:
        """The numbers [targets] that the model estimates, in their own units."""
        each = np.arange(self.targets)
        return output[each, each] * self.deviation.numpy() + self.mean.numpy()

    def loss(self, batch: LabelledBatch, label_smoothing: float = 0.0) -> Tensor:
        """Mean squared error of standardised targets."""
        wished = ((batch.targets - self.mean.numpy()) / self.deviation.numpy()).astype(np.float32)
        apart = self.forward(batch) - wished
        return (apart * apart).mean()

    def measure(self, examples: Sequence[Any]) -> Measured:
        """Loss, the root of the mean squared error in the targets' units, and R²."""
        pairs = [Labelled(*e) for e in examples]
        said = self.predict([p.input for p in pairs])
        wished = np.array([self.encode_target(p, 0) for p in pairs])
        metrics = {"rmse": float(np.sqrt(((said - wished) ** 2).mean())), "r2": _explained(said, wished)}
        return Measured(validation_loss(self, pairs), metrics)

    # Use

    def predict(self, inputs: Sequence[Any], batch_tokens: int = 16384) -> np.ndarray:
        """Numbers [N, targets]."""
        found = np.zeros((len(inputs), self.targets))
        for rows, states, lengths in self.states_of(inputs, batch_tokens):
            found[rows] = self.output(self.pool(states, lengths=lengths)).numpy()
        return found * self.deviation.numpy() + self.mean.numpy()

    def score(self, inputs: Sequence[Any], targets: Sequence[Any]) -> float:
        """R²: 1 is perfect, 0 is what the mean of the targets gives, NaN where they do not differ."""
        wished = np.asarray(targets, np.float64)
        if wished.size != len(inputs) * self.targets:
            raise shape_error("regressor", "targets", f"shape [{len(inputs)}, {self.targets}]", wished.shape)
        return _explained(self.predict(inputs), wished.reshape(len(inputs), self.targets))


def _explained(said: np.ndarray, wished: np.ndarray) -> float:
    spread = ((wished - wished.mean(0)) ** 2).sum() if len(wished) else 0.0
    return float(1.0 - ((wished - said) ** 2).sum() / spread) if spread else float("nan")
