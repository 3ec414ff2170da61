"""What all encoder-decoders share: pairs in, batches, the loss, decoding by greedy or beam search, saving."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from .. import nn
from ..autograd import Tensor
from ..data.batches import Batch, encode_pairs, make_batch
from ..data.pairs import Pair
from ..data.vocabulary import PAD, Vocabulary, tokenize
from ..decoding import Result, beam, greedy
from ..errors import ConfigError, range_error
from ..nn import functional as F
from . import folder


class EncoderDecoder(nn.Module):
    """The interface of `Seq2Seq` and `Transformer`.

    A model has `options` (what its constructor was given), both vocabularies, `output` (features to logits), `features(batch)` [B, T, D] of
    every target step with the true tokens before it given, and for decoding `start(inputs)` and `step(state, tokens)`, as
    `decoding.Decodable` says.
    """

    VOCABULARIES = ("source_vocabulary", "target_vocabulary")

    options: dict[str, Any]
    source_vocabulary: Vocabulary
    target_vocabulary: Vocabulary
    output: nn.Linear
    #: Positions that the model knows; None: any.
    max_length: int | None = None

    if TYPE_CHECKING:

        def features(self, batch: Batch) -> Tensor: ...
        def start(self, inputs: list[list[int]]) -> Any: ...
        def step(self, state: Any, tokens: np.ndarray) -> tuple[np.ndarray, np.ndarray | None, Any]: ...

    @classmethod
    def from_pairs(cls, pairs: Sequence[Pair], *, tokens: str | tuple[str, str] = "character", **options: Any) -> Self:
        """A model with vocabularies made from pairs; `tokens` is 'character' or 'word', or one of them for each side."""
        kinds = (tokens, tokens) if isinstance(tokens, str) else tokens
        if not pairs:
            raise ConfigError("[model] pairs: expected at least one pair, got none")
        source = Vocabulary.from_texts((p[0] for p in pairs), kinds[0])
        target = Vocabulary.from_texts((p[1] for p in pairs), kinds[1])
        make: Any = cls
        return make(source, target, **options)

    # Training

    def forward(self, batch: Batch) -> Tensor:
        """Logits [B, T, V] of every target step, the true tokens before it given."""
        return self.output(self.features(batch))

    def loss(self, batch: Batch, label_smoothing: float = 0.0) -> Tensor:
        """Mean cross-entropy in nats per target token, the end counted, padding not."""
        features, target, output = self.features(batch), batch.target_out, self.output
        if type(output) is nn.Linear:
            return F.linear_cross_entropy(
                features, output.weight, target, output.bias, ignore_index=PAD, label_smoothing=label_smoothing
            )
        # Whoever put another layer there gets it called.
        logits = output(features)
        rows = logits.reshape(-1, logits.shape[-1])
        return F.cross_entropy(rows, target.reshape(-1), ignore_index=PAD, label_smoothing=label_smoothing)

    def encode_pairs(self, pairs: Sequence[Pair]) -> list[Any]:
        """Pairs as numbers, for `data.batches`."""
        return encode_pairs(pairs, self.source_vocabulary, self.target_vocabulary)

    def collate(self, pairs: Sequence[Pair]) -> Batch:
        """Pairs as one batch."""
        return make_batch(self.encode_pairs(pairs))

    # Decoding

    def generate(
        self,
        inputs: str | Sequence[str],
        *,
        beam: int = 1,
        n_best: int = 1,
        max_length: int | None = None,
        length_penalty: str = "average",
        batch_size: int = 256,
    ) -> Any:
        """Targets for one source (a list of `n_best` results) or several (a list of such lists).

        beam 1 is greedy. At most `max_length` tokens, by default twice the source's and 20, and never more than the model has positions
        for. Inputs are decoded sorted by length, `batch_size` at a time; what an input gives does not depend on the others.
        """
        if isinstance(inputs, str):
            return self.generate([inputs], beam=beam, n_best=n_best, max_length=max_length, length_penalty=length_penalty)[0]
        if max_length is not None and max_length < 1:
            raise range_error("generate", "max_length", "a whole number of at least 1", max_length)
        if batch_size < 1:
            raise range_error("generate", "batch_size", "a whole number of at least 1", batch_size)
        if beam < 1 or not 1 <= n_best <= beam:
            raise range_error("generate", "beam and n_best", "1 <= n_best <= beam", (beam, n_best))
        # The last step of a model with so many positions is the end.
        most = 2**31 if self.max_length is None else self.max_length - 1
        numbers = [self.source_vocabulary.encode(text) for text in inputs]
        order = sorted(range(len(inputs)), key=lambda i: (len(numbers[i]), i))
        results: list[list[Result]] = [[] for _ in inputs]
        training = self.training
        self.eval()
        try:
            for first in range(0, len(order), batch_size):
                rows = order[first : first + batch_size]
                chosen = [numbers[i] for i in rows]
                limits = [min(most, 2 * len(c) + 20 if max_length is None else max_length) for c in chosen]
                for row, found in zip(rows, self._search(chosen, limits, beam, n_best, length_penalty), strict=True):
                    results[row] = [self._finish(inputs[row], r) for r in found]
        finally:
            self.train(training)
        return results

    def _search(self, inputs: list[list[int]], limits: list[int], width: int, n_best: int, penalty: str) -> list[list[Result]]:
        if width == 1:
            return [[r] for r in greedy(self, inputs, limits)]
        return beam(self, inputs, limits, width, n_best, penalty)

    def _finish(self, source: str, result: Result) -> Result:
        result.text = self.target_vocabulary.decode(result.tokens)
        result.source = tokenize(source, self.source_vocabulary.kind)
        result.target = [self.target_vocabulary.tokens[t] for t in result.tokens]
        return result

    # Keeping

    def save(self, path: str | Path) -> None:
        """Writes weights, options and vocabularies into a folder; what is there already is replaced file by file."""
        folder.save(self, path)

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """The model of a folder."""
        return folder.load(path, {cls.__name__: cls})

    def summary(self) -> str:
        """The layers with their shapes, and the number of parameters."""
        rows = [f"{name:<36} {list(p.shape)!s:>16} {p.numel():>10,}" for name, p in self.named_parameters()]
        return "\n".join([*rows, f"{'parameters':<36} {'':>16} {self.count_parameters():>10,}"])

    def count_parameters(self) -> int:
        """Trained numbers."""
        return sum(p.numel() for p in self.parameters())
