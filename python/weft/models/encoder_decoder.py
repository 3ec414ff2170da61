"""What all encoder-decoders share: pairs in, batches, the loss, decoding by greedy or beam search, saving."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from .. import nn
from ..autograd import Tensor, no_grad
from ..data.batches import Batch, Encoded, batches, encode_pairs, groups, make_batch, pair_lengths
from ..data.features import Features
from ..data.kinds import make_reading, make_vocabulary
from ..data.pairs import Pair, key_of, pairs_of, split_pairs
from ..data.vocabulary import PAD, Vocabulary
from ..decoding.rules import bar
from ..errors import ConfigError
from ..nn import evaluating
from ..nn import functional as F
from .evaluation import Measured, evaluate
from .generation import Generation
from .model import Model

#: How many sources of the validation pairs are decoded after an epoch.
DECODED = 1000


class EncoderDecoder(Generation, Model):
    """The interface of `Seq2Seq` and `Transformer`.

    A model has `options` (what its constructor was given), both vocabularies, `output` (features to logits), `features(batch)` [B, T, D] of
    every target step with the true tokens before it given, and for decoding `start(inputs)` and `step(state, tokens)`, as
    `decoding.Decodable` says.
    """

    VOCABULARIES = ("source_vocabulary", "target_vocabulary")

    output: nn.Linear

    if TYPE_CHECKING:

        def features(self, batch: Batch) -> Tensor: ...

    @classmethod
    def from_pairs(
        cls,
        pairs: Sequence[Pair],
        *,
        tokens: str | tuple[str | None, str | None] | None = None,
        vocabulary_size: int | tuple[int | None, int | None] | None = None,
        min_count: int = 1,
        shared: bool = False,
        **options: Any,
    ) -> Self:
        """A model with vocabularies made from pairs.

        `tokens`: 'character', 'word', or with the `text` extra 'bpe' or 'unigram'; one for both sides or one for each. Without it strings
        are split into characters, and lists of tokens or whole numbers are taken as they are. `vocabulary_size` and `min_count` keep the
        most frequent tokens; `shared`: one vocabulary for both sides. A side of float arrays [T, F] needs none.
        """
        if len(pairs) == 0:
            raise ConfigError("[model] pairs: expected at least one pair, got none")
        kinds = tokens if isinstance(tokens, tuple) else (tokens, tokens)
        sizes = vocabulary_size if isinstance(vocabulary_size, tuple) else (vocabulary_size, vocabulary_size)
        sources, targets = (list(side) for side in zip(*pairs_of(pairs), strict=True))
        source: Vocabulary | Features
        if shared:
            source = target = make_vocabulary([*sources, *targets], kinds[0], sizes[0], min_count)
        else:
            target = make_vocabulary(targets, kinds[1], sizes[1], min_count)
            source = make_reading(sources, kinds[0], sizes[0], min_count)
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

    def split(self, examples: Sequence[Pair], share: float) -> tuple[list[Pair], list[Pair]]:
        """A part to learn from and a part to check with, by a fixed hash of the source."""
        return split_pairs(examples, share)

    def encode_examples(self, examples: Sequence[Pair]) -> list[Encoded]:
        """Pairs as numbers; refuses a pair that is longer than the model's positions."""
        encoded = encode_pairs(examples, self.source_vocabulary, self.target_vocabulary)
        if self.max_length is not None:
            for i, pair in enumerate(encoded):
                for name, length in (("source", len(pair.source)), ("target", len(pair.target) + 1)):
                    if length > self.max_length:
                        raise ConfigError(
                            f"[model] pair {i}: expected a {name} of at most {self.max_length} tokens, the end counted, got {length}"
                        )
        return encoded

    def collate(self, pairs: Sequence[Pair]) -> Batch:
        """Pairs as one batch."""
        return make_batch(self.encode_examples(pairs))

    def batches(self, encoded: Sequence[Encoded], tokens: int, generator: Any = None) -> Iterator[Batch]:
        """Batches of pairs of about equal length: see `data.batches`."""
        return batches(encoded, tokens, generator)

    def count_batches(self, encoded: Sequence[Encoded], tokens: int) -> int:
        """How many batches an epoch has: exact, since shuffling moves pairs of equal lengths only."""
        return len(groups(pair_lengths(encoded), tokens))

    def count(self, batch: Batch) -> tuple[int, int]:
        """Target tokens, the ends counted, and pairs."""
        return int(batch.target_lengths.sum()), len(batch.source)

    def with_own_tokens(self, batch: Batch, share: float, generator: Any) -> Batch:
        """Scheduled sampling (Bengio et al. 2015): a batch whose decoder reads, each by itself, a true token with probability `share` and
        otherwise the one that the model itself says there, after what it has read so far. No gradient goes through that choice."""
        own = generator.uniform(0.0, 1.0, batch.target_in.shape) >= share
        own[:, 0] = False
        if not own.any():
            return batch
        with no_grad():
            return batch._replace(target_in=self._mixed(batch, own))

    def _mixed(self, batch: Batch, own: np.ndarray) -> np.ndarray:
        """`target_in` with the model's own tokens where `own` [B, T] says so, step by step."""
        state = self.start([s[:n] for s, n in zip(batch.source, batch.source_lengths.tolist(), strict=True)])
        tokens = batch.target_in.copy()
        for t in range(tokens.shape[1] - 1):
            scores, _, state = self.step(state, tokens[:, t])
            bar(scores, None)
            tokens[:, t + 1] = np.where(own[:, t + 1], scores.argmax(1), tokens[:, t + 1])
        return tokens

    def measure(self, examples: Sequence[Pair]) -> Measured:
        """Loss, error rates of greedy decoding and three samples, on at most the first DECODED sources."""
        pairs = pairs_of(examples)
        keys = list(dict.fromkeys(key_of(p.source) for p in pairs))[:DECODED]
        chosen = set(keys)
        found = evaluate(self, [p for p in pairs if key_of(p.source) in chosen])
        samples = [[s, found.outputs[s]] for s in keys[:: max(1, len(keys) // 3)][:3]]
        rates = {"token_error_rate": found.token_error_rate, "sequence_error_rate": found.sequence_error_rate}
        return Measured(found.loss, rates, samples)

    # Decoding

    def score(self, pairs: Sequence[Pair], batch_size: int = 256) -> np.ndarray:
        """log p(target | source) of each pair, the end counted: what decoding calls `logprob`."""
        found = np.zeros(len(pairs))
        with evaluating(self), no_grad():
            for first in range(0, len(pairs), batch_size):
                batch = self.collate(pairs[first : first + batch_size])
                logits = self.forward(batch)
                rows, wanted = logits.reshape(-1, logits.shape[-1]), batch.target_out.reshape(-1)
                loss = F.cross_entropy(rows, wanted, ignore_index=PAD, reduction="none").numpy()
                found[first : first + len(batch.source)] = -loss.reshape(batch.target_out.shape).sum(1, dtype=np.float64)
        return found
