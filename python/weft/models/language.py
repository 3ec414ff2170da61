"""Language models: the next token from those before it, by a recurrent net or a decoder-only Transformer."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Self

import numpy as np

from .. import nn
from ..autograd import Tensor, no_grad
from ..autograd.activation import log_softmax_array
from ..autograd.frozen import FrozenEmbedding
from ..data.batches import groups, in_batches, pad
from ..data.kinds import make_vocabulary
from ..data.pairs import hash_share
from ..data.vocabulary import END, PAD, START, Vocabulary
from ..decoding import Result
from ..errors import ConfigError, DataError, choice_error, range_error
from ..nn import functional as F
from ..nn import init
from ..nn.cache import KeyValueCache
from ..nn.steps import EncoderSteps, RecurrentSteps
from .evaluation import Measured, validation_loss
from .generation import Generation
from .model import Model
from .seq2seq import CELLS


@dataclass
class State:
    """What `start` and `step` hand on: a cache, or the recurrent states, arrays [layers, rows, hidden]."""

    kept: Any
    #: Tokens that were read before the first that is written.
    pending: list[list[int]]
    #: The short way through the layers.
    steps: RecurrentSteps | EncoderSteps | None = None

    def select(self, rows: np.ndarray) -> State:
        """The given rows, also more than once."""
        pending = [self.pending[r] for r in rows.tolist()] if self.pending else []
        if isinstance(self.kept, KeyValueCache):
            return State(self.kept.select(rows), pending, self.steps)
        if len(rows) == self.kept[0].shape[1] and (rows == np.arange(len(rows))).all():
            return State(self.kept, pending, self.steps)
        return State([np.take(h, rows, 1) for h in self.kept], pending, self.steps)


class Window(NamedTuple):
    """Tokens [B, T] and what follows each. `first`: nothing came before; otherwise a recurrent model goes on from where it was."""

    tokens: np.ndarray
    targets: np.ndarray
    first: bool = True


class LanguageModel(Generation, Model):
    """p(token | tokens before it), by `cell` 'rnn', 'lstm', 'gru' or 'transformer' (decoder only, norm first: Radford et al. 2019).

    `layers` layers of `hidden` units; for the Transformer `heads`, GELU, and `positions` 'learned' up to `max_length` or 'rotary'. The
    projection shares the embedding's table (Press & Wolf 2017) unless `tie` is False.

    `train.fit(model, texts)` learns texts, each with its end. `train.fit(model, text)` learns one long text without ends, in windows of
    `window` tokens: a recurrent model reads it in order and keeps its state from window to window, gradients stop at their borders
    (truncated backpropagation); a Transformer takes windows in random order. `generate("beginning")` writes on from there.

    >>> model = weft.models.LanguageModel.from_texts(["abab", "baba"], cell="transformer", hidden=16, heads=2, layers=1)
    >>> model.perplexity(["abab"]) > 1
    True
    """

    VOCABULARIES = ("vocabulary",)

    def __init__(
        self,
        vocabulary: Vocabulary,
        *,
        cell: str = "lstm",
        hidden: int = 256,
        layers: int = 1,
        heads: int = 4,
        feed_forward: int | None = None,
        dropout: float = 0.0,
        positions: str = "learned",
        max_length: int = 1024,
        tie: bool = True,
        window: int = 128,
    ) -> None:
        super().__init__()
        if cell not in (*CELLS, "transformer"):
            raise choice_error("language", "cell", (*CELLS, "transformer"), cell)
        if positions not in ("learned", "rotary"):
            raise choice_error("language", "positions", ("learned", "rotary"), positions)
        feed_forward = 4 * hidden if feed_forward is None else feed_forward
        self.options = {
            "cell": cell, "hidden": hidden, "layers": layers, "heads": heads, "feed_forward": feed_forward, "dropout": dropout,
            "positions": positions, "max_length": max_length, "tie": tie, "window": window,
        }  # fmt: skip
        if window < 1 or (cell == "transformer" and window > max_length):
            raise range_error("language", "window", "a whole number from 1 to max_length", window)
        self.vocabulary = self.source_vocabulary = self.target_vocabulary = vocabulary
        self.window = window
        self._carried: Any = None
        self.cell, self.layers, self.heads, self.hidden = cell, layers, heads, hidden
        self.max_length = max_length if cell == "transformer" else None
        self.embedding = nn.Embedding(len(vocabulary), hidden, padding_idx=PAD)
        init.normal_(self.embedding.weight, std=0.02 if cell == "transformer" else hidden**-0.5)
        self.dropout = nn.Dropout(dropout)
        self.positions: nn.PositionalEncoding | None = None
        self.body: Any
        if cell == "transformer":
            if positions == "learned":
                self.positions = nn.PositionalEncoding(hidden, 0.0, max_length, kind="learned", batch_first=True)
            rotary = 10000.0 if positions == "rotary" else None
            layer = nn.TransformerEncoderLayer(
                hidden, heads, feed_forward, dropout, "gelu", batch_first=True, norm_first=True, rotary=rotary
            )
            self.body = nn.TransformerEncoder(layer, layers, nn.LayerNorm(hidden))
            for p in self.body.parameters():
                if p.ndim > 1:
                    init.normal_(p, std=0.02)
        else:
            self.body = CELLS[cell](hidden, hidden, layers, batch_first=True, dropout=dropout if layers > 1 else 0.0)
        self.output = nn.Linear(hidden, len(vocabulary))
        if tie:
            self.output.weight = self.embedding.weight
        init.zeros_(self.output.bias)

    @classmethod
    def from_texts(
        cls, texts: str | Iterable[Any], *, tokens: str | None = None, vocabulary_size: int | None = None, min_count: int = 1,
        **options: Any,
    ) -> Self:  # fmt: skip
        """A model with a vocabulary made from texts, or from one long text; `tokens` as in `data.make_vocabulary`."""
        texts = [texts] if isinstance(texts, str) else list(texts)
        if not texts:
            raise ConfigError("[language] texts: expected at least one text, got none")
        return cls(make_vocabulary(texts, tokens, vocabulary_size, min_count), **options)

    # Training

    def features(self, tokens: np.ndarray, carried: Any = None) -> Tensor:
        """Numbers [B, T] → what predicts the next of each [B, T, hidden]; a recurrent model goes on from `carried`."""
        x = self._embedded(tokens)
        if self.cell == "transformer":
            return self.body(x, is_causal=True)
        output, last = self.body(x, carried)
        self._carried = nn.detached(last)
        return self.dropout(output)

    def _embedded(self, tokens: np.ndarray, start: Any = 0) -> Tensor:
        self._check_length(int(np.max(start, initial=0)) + tokens.shape[1])
        x = self.embedding(tokens)
        return self.dropout(x if self.positions is None else self.positions(x, start))

    def _check_length(self, longest: int) -> None:
        if self.max_length is not None and longest > self.max_length:
            raise ConfigError(f"[language] input: expected at most max_length {self.max_length} tokens, got {longest}")

    def forward(self, tokens: np.ndarray) -> Tensor:
        """Logits [B, T, V] of the token after each."""
        return self.output(self.features(np.asarray(tokens)))

    def loss(self, batch: Any, label_smoothing: float = 0.0) -> Tensor:
        """Mean cross-entropy in nats of each token after those before it: of a `Window`, or of numbers [B, T]. <pad> does not count."""
        if not isinstance(batch, Window):
            tokens = np.asarray(batch)
            batch = Window(tokens[:, :-1], tokens[:, 1:])
        features = self.features(batch.tokens, None if batch.first else self._carried)
        return F.linear_cross_entropy(
            features, self.output.weight, batch.targets, self.output.bias, ignore_index=PAD, label_smoothing=label_smoothing
        )

    def encode(self, texts: Sequence[Any]) -> np.ndarray:
        """Texts as numbers [B, T] with <s> and </s>, filled up with <pad>."""
        return pad([[START, *self.vocabulary.encode(text), END] for text in texts])[0]

    def split(self, examples: Any, share: float) -> tuple[Any, Any]:
        """Texts by a fixed hash; of one long text the end is what to check with."""
        if isinstance(examples, str):
            cut = len(examples) - round(len(examples) * share)
            return examples[:cut], examples[cut:]
        learn = [t for t in examples if hash_share(str(t)) >= share]
        return learn, [t for t in examples if hash_share(str(t)) < share]

    def encode_examples(self, examples: Any) -> Any:
        """One long text as an array of numbers, texts as lists of them with <s> and </s>."""
        if isinstance(examples, str):
            numbers = np.array(self.vocabulary.encode(examples), np.int64)
            if not len(numbers):
                raise DataError("[language] text: expected at least one token, got none")
            return numbers
        encoded = [[START, *self.vocabulary.encode(text), END] for text in examples]
        for i, row in enumerate(encoded):
            if self.max_length is not None and len(row) - 1 > self.max_length:
                raise ConfigError(f"[language] text {i}: expected at most {self.max_length} tokens, got {len(row) - 1}")
        return encoded

    def _rows(self, length: int, tokens: int) -> tuple[int, int]:
        """Of one long text: rows of a batch, and steps of a window."""
        window = min(self.window, length)
        return max(1, min(tokens // window, length // window)), window

    def count_batches(self, encoded: Any, tokens: int) -> int:
        """How many batches an epoch has."""
        if not isinstance(encoded, np.ndarray):
            return len(groups([(len(n) - 1,) for n in encoded], tokens))
        rows, window = self._rows(len(encoded), tokens)
        if self.cell == "transformer":
            return -(-(len(encoded) // window) // rows)
        return -(-(len(encoded) // rows) // window)

    def batches(self, encoded: Any, tokens: int, generator: Any = None) -> Iterator[Window]:
        """Batches of texts of about equal length, or windows of one long text (the class says which)."""
        if not isinstance(encoded, np.ndarray):
            for some in in_batches(encoded, [(len(n) - 1,) for n in encoded], tokens, generator):
                numbers = pad(some)[0]
                yield Window(numbers[:, :-1], numbers[:, 1:])
            return
        rows, window = self._rows(len(encoded), tokens)
        if self.cell == "transformer":
            count, spare = divmod(len(encoded), window)
            shift = 0 if generator is None or not spare else int(generator.permutation(spare + 1)[0])
            order = np.arange(count) if generator is None else generator.permutation(count)
            for first in range(0, count, rows):
                targets = encoded[order[first : first + rows, None] * window + shift + np.arange(window)]
                yield Window(_after_start(targets), targets)
            return
        columns = len(encoded) // rows
        targets = encoded[: rows * columns].reshape(rows, columns)
        read = _after_start(targets)
        for first in range(0, columns, window):
            yield Window(read[:, first : first + window], targets[:, first : first + window], first == 0)

    def count(self, batch: Window) -> tuple[int, int]:
        """Tokens that are predicted, and rows."""
        return int((batch.targets != PAD).sum()), len(batch.tokens)

    def measure(self, examples: Any) -> Measured:
        """Loss, perplexity, bits a character, and a text written from nothing."""
        loss = validation_loss(self, examples)
        encoded = self.encode_examples(examples)
        if isinstance(examples, str):
            predicted, characters = len(encoded), len(examples)
        else:
            predicted, characters = sum(len(n) - 1 for n in encoded), sum(len(t) for t in examples if isinstance(t, str))
        metrics = {"perplexity": math.exp(min(loss, 700.0))}
        if characters:
            metrics["bits_per_character"] = loss * predicted / characters / math.log(2.0)
        return Measured(loss, metrics, [["", self.generate("", max_length=60, temperature=0.8)[0].text]])

    def perplexity(self, texts: Any, batch_tokens: int = 8192) -> float:
        """e^(mean cross-entropy a token), the ends of texts counted."""
        return math.exp(validation_loss(self, texts, batch_tokens))

    def bits_per_character(self, texts: Any) -> float:
        """The cross-entropy of texts, or of one long text, in bits for each of its characters, whatever the tokens are."""
        return self.measure(texts).metrics["bits_per_character"]

    def score(self, texts: Sequence[Any], batch_size: int = 64) -> np.ndarray:
        """log p(text) of each, the end counted."""
        found = []
        with nn.evaluating(self), no_grad():
            for first in range(0, len(texts), batch_size):
                tokens = self.encode(texts[first : first + batch_size])
                logits = self.forward(tokens[:, :-1])
                rows, wanted = logits.reshape(-1, logits.shape[-1]), tokens[:, 1:].reshape(-1)
                loss = F.cross_entropy(rows, wanted, ignore_index=PAD, reduction="none").numpy()
                found.append(-loss.reshape(len(tokens), -1).sum(1, dtype=np.float64))
        return np.concatenate(found) if found else np.zeros(0)

    # Decoding

    def start(self, inputs: list[list[int]]) -> State:
        """A state for prefixes as numbers: what is generated comes behind them."""
        if self.cell == "transformer":
            width = self.hidden // self.heads
            cache = KeyValueCache(self.layers, len(inputs), self.heads, width, self.embedding.weight.dtype)
            return State(cache, inputs, EncoderSteps(self.body) if not self.hooked and EncoderSteps.fits(self.body) else None)
        count = 2 if self.cell == "lstm" else 1
        zero = np.zeros((self.layers, len(inputs), self.hidden), self.embedding.weight.dtype)
        return State(
            [zero] * count, inputs, RecurrentSteps(self.body) if not self.hooked and RecurrentSteps.fits(self.body) else None
        )

    def step(self, state: State, tokens: np.ndarray) -> tuple[np.ndarray, None, State]:
        """One token further: log-probabilities [rows, V], no alignment, the new state. The first step reads the prefixes too."""
        if state.steps is not None and not any(state.pending):
            with no_grad():
                h, kept = self._short_step(state, tokens)
                return log_softmax_array(self.output(Tensor(h)).numpy()), None, State(kept, [], state.steps)
        rows = [[int(t)] for t in tokens]
        if state.pending:
            rows = [[*row, *prefix] for row, prefix in zip(rows, state.pending, strict=True)]
        numbers, lengths = pad(rows)
        with no_grad():
            if self.cell == "transformer":
                cache = state.kept
                cache.reserve(numbers.shape[1])
                features = self.body(self._embedded(numbers, cache.lengths), cached=cache)
                cache.advance(lengths)
                kept = cache
            else:
                given = [Tensor(h) for h in state.kept]
                features, last = self.body(self.embedding(numbers), tuple(given) if len(given) > 1 else given[0], lengths=lengths)
                kept = [h.numpy() for h in (last if len(given) > 1 else (last,))]
            final = features[np.arange(len(rows)), lengths - 1]
            scores = log_softmax_array(self.output(final).numpy())
        return scores, None, State(kept, [], state.steps)

    def _short_step(self, state: State, tokens: np.ndarray) -> tuple[np.ndarray, Any]:
        """What predicts the next token [rows, hidden], and what is kept."""
        if isinstance(state.steps, EncoderSteps):
            cache = state.kept
            self._check_length(int(cache.lengths.max(initial=0)) + 1)
            x = FrozenEmbedding(self.embedding.weight)(tokens)
            if self.positions is not None:
                x += self.positions.positions.numpy()[cache.lengths]
            cache.reserve(1)
            h = state.steps(x, cache)
            cache.advance(1)
            return h, cache
        assert state.steps is not None
        return state.steps(FrozenEmbedding(self.embedding.weight)(tokens), state.kept)

    def _limit(self, numbers: Any, max_length: int | None) -> int:
        wished = 100 if max_length is None else max_length
        return wished if self.max_length is None else min(wished, self.max_length - len(numbers) - 1)

    def _finish(self, source: Any, result: Result) -> Result:
        result = super()._finish(source, result)
        result.text = self.vocabulary.join([*result.source, *result.target])
        return result


def _after_start(targets: np.ndarray) -> np.ndarray:
    """What is read before each of targets [B, T]: <s>, then those before it."""
    return np.concatenate([np.full((len(targets), 1), START, np.int64), targets[:, :-1]], 1)
