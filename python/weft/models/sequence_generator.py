"""One vector or class in, a sequence out (one-to-many)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from .. import nn
from ..autograd import Tensor, as_tensor, cat, no_grad
from ..autograd.activation import log_softmax_array
from ..data.batches import groups, in_batches, pad
from ..data.conditions import Conditions
from ..data.features import Features, pad_features
from ..data.kinds import make_reading
from ..data.labelled import Labelled, Labels, split_labelled
from ..data.vocabulary import END, PAD, START, Vocabulary
from ..errors import ConfigError, choice_error
from ..nn import functional as F
from .evaluation import Measured, validation_loss
from .generation import Generation
from .labelled import LabelledBatch
from .model import Model
from .seq2seq import CELLS


@dataclass
class State:
    """The decoder's state, and the condition's vector [rows, hidden], which is read at every step."""

    hidden: list[Tensor]
    condition: Tensor

    def select(self, rows: np.ndarray) -> State:
        """The given rows, also more than once."""
        return State([h[:, rows] for h in self.hidden], self.condition[rows])


class SequenceGenerator(Generation, Model):
    """A recurrent net that begins from tanh(W condition) and reads the condition at every step (Vinyals et al. 2015, with the second read
    of Cho et al. 2014). Texts or lists of tokens end by themselves and are decoded like those of all models; of float sequences [T, F]
    `predict` gives as many steps as asked.

    >>> model = weft.models.SequenceGenerator.from_examples([("low", "aab"), ("high", "xyz")], hidden=16)
    >>> isinstance(model.generate("low", beam=2)[0].text, str)
    True
    """

    VOCABULARIES = ("conditions", "vocabulary")

    def __init__(
        self, conditions: Conditions, vocabulary: Vocabulary | Features, *, cell: str = "gru", hidden: int = 128, layers: int = 1,
        embedding: int | None = None, dropout: float = 0.0,
    ) -> None:  # fmt: skip
        super().__init__()
        if cell not in CELLS:
            raise choice_error("generator", "cell", CELLS, cell)
        embedding = min(hidden, 64) if embedding is None else embedding
        self.options = {"cell": cell, "hidden": hidden, "layers": layers, "embedding": embedding, "dropout": dropout}
        self.conditions = self.source_vocabulary = conditions  # type: ignore[assignment]
        self.vocabulary = self.target_vocabulary = vocabulary  # type: ignore[assignment]
        self.lstm, self.layers = cell == "lstm", layers
        self.floats = isinstance(vocabulary, Features)
        self.condition: nn.Module
        if conditions.labels is not None:
            self.condition = nn.Embedding(len(conditions.labels), hidden)
        else:
            self.condition = nn.Linear(conditions.width, hidden)
        self.bridge = nn.ModuleList([nn.Linear(hidden, layers * hidden) for _ in range(2 if self.lstm else 1)])
        self.embedding: nn.Module
        if isinstance(vocabulary, Features):
            self.embedding, size = nn.Linear(vocabulary.width, embedding), vocabulary.width
        else:
            self.embedding, size = nn.Embedding(len(vocabulary), embedding, padding_idx=PAD), len(vocabulary)
        self.decoder = CELLS[cell](embedding + hidden, hidden, layers, batch_first=True, dropout=dropout if layers > 1 else 0.0)
        self.dropout = nn.Dropout(dropout)
        self.output = nn.Linear(hidden, size)

    @classmethod
    def from_examples(
        cls, examples: Sequence[Any], *, tokens: str | None = None, vocabulary_size: int | None = None, min_count: int = 1,
        **options: Any,
    ) -> Self:  # fmt: skip
        """A model for examples (class or vector, sequence)."""
        pairs = [Labelled(*e) for e in examples]
        if not pairs:
            raise ConfigError("[generator] examples: expected at least one, got none")
        first = pairs[0].input
        vector = not isinstance(first, str) and np.ndim(first) == 1
        conditions = Conditions(width=len(first)) if vector else Conditions(Labels.from_labels(p.input for p in pairs))
        vocabulary = make_reading([p.label for p in pairs], tokens, vocabulary_size, min_count)
        return cls(conditions, vocabulary, **options)

    # Training

    def split(self, examples: Sequence[Any], share: float) -> tuple[list[Labelled], list[Labelled]]:
        """By a fixed hash of the sequence."""
        turned = split_labelled([Labelled(e[1], e[0]) for e in examples], share, by_label=False)
        learn, check = ([Labelled(e.label, e.input) for e in part] for part in turned)
        return learn, check

    def encode_examples(self, examples: Sequence[Any]) -> list[tuple[Any, Any]]:
        """Examples as numbers."""
        return [(self.conditions.encode(e[0]), self.vocabulary.encode(e[1])) for e in examples]

    def collate(self, encoded: Sequence[tuple[Any, Any]]) -> LabelledBatch:
        """Inputs: conditions. Targets: tokens with <s> and </s>, or floats."""
        given = np.array([c for c, _ in encoded])
        if self.floats:
            width = self.vocabulary.width  # type: ignore[union-attr]
            return LabelledBatch(given, *reversed(pad_features([s for _, s in encoded], width)))
        targets, lengths = pad([[START, *s, END] for _, s in encoded])
        return LabelledBatch(given, lengths - 1, targets)

    def batches(self, encoded: Sequence[Any], tokens: int, generator: Any = None) -> Iterator[LabelledBatch]:
        """Batches of sequences of about equal length."""
        for some in in_batches(encoded, [(len(s) + 1,) for _, s in encoded], tokens, generator):
            yield self.collate(some)

    def count_batches(self, encoded: Sequence[Any], tokens: int) -> int:
        """How many batches an epoch has."""
        return len(groups([(len(s) + 1,) for _, s in encoded], tokens))

    def count(self, batch: LabelledBatch) -> tuple[int, int]:
        """Steps, and sequences."""
        return int(batch.lengths.sum()), len(batch.lengths)

    def _begin(self, given: np.ndarray) -> State:
        condition = self.condition(given.reshape(-1) if self.conditions.labels is not None else given)
        parts = [F.tanh(bridge(condition)) for bridge in self.bridge]
        rows = len(given)
        return State([p.reshape(rows, self.layers, -1).transpose(0, 1) for p in parts], condition)

    def _read(self, x: Tensor, state: State, lengths: Any = None) -> tuple[Tensor, State]:
        wide = state.condition.unsqueeze(1).expand(-1, x.shape[1], -1)
        given = (state.hidden[0], state.hidden[1]) if self.lstm else state.hidden[0]
        output, last = self.decoder(self.dropout(cat([x, wide], -1)), given, lengths=lengths)
        return self.output(self.dropout(output)), State(list(last) if self.lstm else [last], state.condition)

    def loss(self, batch: LabelledBatch, label_smoothing: float = 0.0) -> Tensor:
        """Mean cross-entropy a token, or mean squared error a step of floats, each after the true steps before it."""
        state = self._begin(batch.inputs)
        if self.floats:
            before = np.concatenate([np.zeros_like(batch.targets[:, :1]), batch.targets[:, :-1]], 1)
            said, _ = self._read(self.embedding(before), state, batch.lengths)
            real = (np.arange(batch.targets.shape[1]) < batch.lengths[:, None])[:, :, None].astype(np.float32)
            apart = (said - batch.targets) * real
            return (apart * apart).sum() / float(max(1, int(batch.lengths.sum())) * batch.targets.shape[2])
        logits, _ = self._read(self.embedding(batch.targets[:, :-1]), state, batch.lengths)
        rows, wanted = logits.reshape(-1, logits.shape[-1]), batch.targets[:, 1:].reshape(-1)
        return F.cross_entropy(rows, wanted, ignore_index=PAD, label_smoothing=label_smoothing)

    def measure(self, examples: Sequence[Any]) -> Measured:
        """Loss, and for texts three samples."""
        found = Measured(validation_loss(self, examples))
        if not self.floats:
            shown = [e[0] for e in examples[:: max(1, len(examples) // 3)]][:3]
            found.samples = [[str(c), self.generate([c], max_length=60)[0][0].text] for c in shown]
        return found

    # Use

    def _is_one(self, text: Any) -> bool:
        return isinstance(text, (str, int, np.integer)) or (np.ndim(text) == 1 and np.asarray(text).dtype.kind == "f")

    def _limit(self, numbers: Any, max_length: int | None) -> int:
        return 100 if max_length is None else max_length

    def start(self, inputs: list[Any]) -> State:
        """A state with one row for each condition."""
        with no_grad():
            return self._begin(np.array(inputs))

    def step(self, state: State, tokens: np.ndarray) -> tuple[np.ndarray, None, State]:
        """One token further: log-probabilities [rows, V], no alignment, the new state."""
        with no_grad():
            logits, after = self._read(self.embedding(tokens.reshape(-1, 1)), state)
            return log_softmax_array(logits.numpy()[:, 0]), None, after

    def predict(self, conditions: Sequence[Any], steps: int) -> np.ndarray:
        """Float sequences [N, steps, F], one for each condition."""
        if not self.floats:
            raise ConfigError("[generator] predict: expected a model of float sequences; texts come from generate")
        with nn.evaluating(self), no_grad():
            state = self._begin(np.array([self.conditions.encode(c) for c in conditions]))
            last = np.zeros((len(conditions), 1, self.vocabulary.width), np.float32)  # type: ignore[union-attr]
            found = []
            for _ in range(steps):
                said, state = self._read(as_tensor(self.embedding(last)), state)
                last = said.numpy()
                found.append(last)
        return np.concatenate(found, 1)
