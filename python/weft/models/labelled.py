"""What models of labelled sequences share: examples in, batches, saving."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from .. import nn
from ..autograd import Tensor, no_grad
from ..data.batches import groups, in_batches, pad_sources
from ..data.features import Features
from ..data.labelled import Labelled, check_inputs, split_labelled
from ..data.vocabulary import Vocabulary
from .model import Model
from .reader import Reader


class LabelledBatch(NamedTuple):
    """Inputs [B, T] or [B, T, F], their lengths [B], and targets: [B], [B, T] or [B, targets]."""

    inputs: np.ndarray
    lengths: np.ndarray
    targets: np.ndarray


class LabelledModel(Model):
    """A `reader` over `vocabulary`, and what is made of its states."""

    vocabulary: Vocabulary | Features
    reader: Reader

    if TYPE_CHECKING:

        def encode_target(self, example: Labelled, steps: int) -> Any:
            """The target of an example as numbers; `steps`: how long its input is."""

        def predict(self, inputs: Sequence[Any]) -> Any:
            """What the model says of each input."""

        def outputs(self, target: Any) -> int:
            """How many numbers stand for an encoded target, for `interpret`."""

        def said(self, output: Tensor, target: Any) -> Tensor:
            """Those numbers, each from its own row of what `forward` gave."""

    def make_targets(self, targets: list[Any]) -> np.ndarray:
        """Targets of a batch as an array."""
        return np.array(targets)

    def split(self, examples: Sequence[Labelled], share: float) -> tuple[list[Labelled], list[Labelled]]:
        """A part to learn from and a part to check with, by a fixed hash of the input."""
        return split_labelled(examples, share)

    def encode_examples(self, examples: Sequence[Any]) -> list[tuple[Any, Any]]:
        """Examples as numbers."""
        pairs = [Labelled(*e) for e in examples]
        inputs = check_inputs([p.input for p in pairs], self.vocabulary)
        return [(x, self.encode_target(p, len(x))) for x, p in zip(inputs, pairs, strict=True)]

    def collate(self, encoded: Sequence[tuple[Any, Any]]) -> LabelledBatch:
        """Encoded examples as one batch."""
        inputs, lengths = pad_sources([x for x, _ in encoded])
        return LabelledBatch(inputs, lengths, self.make_targets([t for _, t in encoded]))

    def batches(self, encoded: Sequence[Any], tokens: int, generator: Any = None) -> Iterator[LabelledBatch]:
        """Batches of about equal length: see `data.batches.in_batches`."""
        for some in in_batches(encoded, [(len(x),) for x, _ in encoded], tokens, generator):
            yield self.collate(some)

    def count_batches(self, encoded: Sequence[Any], tokens: int) -> int:
        """How many batches an epoch has."""
        return len(groups([(len(x),) for x, _ in encoded], tokens))

    def count(self, batch: LabelledBatch) -> tuple[int, int]:
        """Labels, and examples."""
        return len(batch.targets), len(batch.targets)

    def states_of(self, inputs: Sequence[Any], batch_tokens: int) -> Iterator[tuple[list[int], Any, np.ndarray]]:
        """For inputs of about equal length at a time: which they are, the reader's states [B, T, hidden], and their lengths."""
        encoded = check_inputs(inputs, self.vocabulary)
        with nn.evaluating(self), no_grad():
            for rows in groups([(len(x),) for x in encoded], batch_tokens):
                arrays, lengths = pad_sources([encoded[i] for i in rows])
                yield rows, self.reader(arrays, lengths), lengths
