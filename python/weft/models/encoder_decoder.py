"""What all encoder-decoders share: pairs in, batches, the loss, decoding by greedy or beam search, saving."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from .. import nn
from ..autograd import Tensor, no_grad
from ..data.batches import Batch, encode_pairs, make_batch
from ..data.pairs import Pair
from ..data.vocabulary import END, PAD, START, Vocabulary, tokenize
from ..decoding import Cut, Result, Rules, greedy
from ..decoding import beam as beam_search
from ..decoding import sample as sample_texts
from ..decoding.greedy import FORBIDDEN
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
        temperature: float | None = None,
        top_k: int | None = None,
        top_p: float = 1.0,
        min_p: float = 0.0,
        seed: int | Sequence[int] = 0,
        min_length: int = 0,
        no_repeat_ngram: int = 0,
        repetition_penalty: float = 1.0,
        forbidden: Sequence[str] = (),
        prefix: str | Sequence[str] | None = None,
    ) -> Any:
        """Targets for one source (a list of `n_best` results) or several (a list of such lists).

        beam 1 is greedy. With a `temperature` tokens are drawn instead, `n_best` texts for each input: only among the `top_k` most
        probable tokens, the fewest that hold `top_p` of the probability, those with at least `min_p` of the largest; `seed` is one number
        or one for each input. At most `max_length` tokens, by default twice the source's and 20, and never more than the model has
        positions for; at least `min_length`. `no_repeat_ngram`: no run of so many tokens occurs twice. `repetition_penalty`:
        log-probabilities of tokens said already are multiplied by it. `forbidden`: texts that must not occur. `prefix`: what the target
        begins with, one text or one for each input. Inputs are decoded sorted by length, `batch_size` at a time; what an input gives
        does not depend on the others.
        """
        texts = [inputs] if isinstance(inputs, str) else list(inputs)
        if max_length is not None and max_length < 1:
            raise range_error("generate", "max_length", "a whole number of at least 1", max_length)
        if batch_size < 1:
            raise range_error("generate", "batch_size", "a whole number of at least 1", batch_size)
        if beam < 1 or n_best < 1 or (temperature is None and n_best > beam):
            raise range_error("generate", "beam and n_best", "1 <= n_best <= beam", (beam, n_best))
        if temperature is None:
            if top_k is not None or top_p != 1.0 or min_p != 0.0:
                raise ConfigError(
                    "[generate] top_k, top_p and min_p: expected a temperature beside them (1.0 draws as the model says)"
                )
        elif beam > 1:
            raise ConfigError("[generate] temperature: expected no beam beside it")
        cut = None if temperature is None else Cut(temperature, top_k, top_p, min_p)
        seeds = [seed] * len(texts) if isinstance(seed, int) else list(seed)
        begins = [prefix] * len(texts) if prefix is None or isinstance(prefix, str) else list(prefix)
        if len(seeds) != len(texts) or len(begins) != len(texts):
            raise ConfigError(f"[generate] seed and prefix: expected one, or {len(texts)}, got {len(seeds)} and {len(begins)}")
        begun = [self._known("prefix", text) for text in begins]
        unwanted = tuple(self._known("forbidden", text) for text in forbidden)
        ruled = min_length or no_repeat_ngram or repetition_penalty != 1.0 or unwanted or any(begun)
        # The last step of a model with so many positions is the end.
        most = 2**31 if self.max_length is None else self.max_length - 1
        numbers = [self.source_vocabulary.encode(text) for text in texts]
        order = sorted(range(len(texts)), key=lambda i: (len(numbers[i]), i))
        results: list[list[Result]] = [[] for _ in texts]
        training = self.training
        self.eval()
        try:
            for first in range(0, len(order), batch_size):
                rows = order[first : first + batch_size]
                chosen = [numbers[i] for i in rows]
                limits = [min(most, 2 * len(c) + 20 if max_length is None else max_length) for c in chosen]
                rules = None
                if ruled or min_length < 0 or no_repeat_ngram < 0:
                    rules = Rules(min_length, no_repeat_ngram, repetition_penalty, unwanted, tuple(begun[i] for i in rows))
                if cut is not None:
                    found = sample_texts(self, chosen, limits, cut, [seeds[i] for i in rows], n_best, rules)
                elif beam == 1:
                    found = [[r] for r in greedy(self, chosen, limits, rules)]
                else:
                    found = beam_search(self, chosen, limits, beam, n_best, length_penalty, rules)
                for row, some in zip(rows, found, strict=True):
                    results[row] = [self._finish(texts[row], r) for r in some]
        finally:
            self.train(training)
        return results[0] if isinstance(inputs, str) else results

    def _known(self, name: str, text: str | None) -> tuple[int, ...]:
        """A text of the target side as numbers; refuses what the model could never say."""
        if text is None:
            return ()
        unknown = [t for t in tokenize(text, self.target_vocabulary.kind) if t not in self.target_vocabulary]
        if unknown:
            raise ConfigError(f"[generate] {name}: expected tokens of the target vocabulary, got {unknown[0]!r}")
        return tuple(self.target_vocabulary.encode(text))

    def score(self, pairs: Sequence[Pair], batch_size: int = 256) -> np.ndarray:
        """log p(target | source) of each pair, the end counted: what decoding calls `logprob`."""
        found = np.zeros(len(pairs))
        training = self.training
        self.eval()
        try:
            with no_grad():
                for first in range(0, len(pairs), batch_size):
                    batch = self.collate(pairs[first : first + batch_size])
                    logits = self.forward(batch)
                    loss = F.cross_entropy(
                        logits.reshape(-1, logits.shape[-1]), batch.target_out.reshape(-1), ignore_index=PAD, reduction="none"
                    )
                    found[first : first + len(batch.source)] = (
                        -loss.numpy().reshape(batch.target_out.shape).sum(1, dtype=np.float64)
                    )
        finally:
            self.train(training)
        return found

    def stream(self, text: str, *, max_length: int | None = None) -> Iterator[str]:
        """The greedy target of one source, token by token as it comes.

        >>> pairs = [weft.data.Pair("ab", "ba")]
        >>> model = weft.models.Seq2Seq.from_pairs(pairs, hidden=8)
        >>> "".join(model.stream("ab")) == model.generate("ab")[0].text
        True
        """
        numbers = self.source_vocabulary.encode(text)
        limit = 2 * len(numbers) + 20 if max_length is None else max_length
        limit = limit if self.max_length is None else min(limit, self.max_length - 1)
        training = self.training
        self.eval()
        try:
            state = self.start([numbers])
            token = START
            for _ in range(limit):
                scores, _, state = self.step(state, np.array([token]))
                scores[:, FORBIDDEN] = -np.inf
                token = int(scores[0].argmax())
                if token == END:
                    return
                yield self.target_vocabulary.tokens[token]
        finally:
            self.train(training)

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
