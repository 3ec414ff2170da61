"""Language models: the next token from those before it, by a recurrent net or a decoder-only Transformer."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np

from .. import nn
from ..autograd import Tensor, no_grad
from ..autograd.activation import log_softmax_array
from ..data.batches import pad
from ..data.vocabulary import END, PAD, START, Vocabulary
from ..decoding import Cut, greedy, sample
from ..errors import ConfigError, choice_error, range_error
from ..nn import functional as F
from ..nn import init
from ..nn.cache import KeyValueCache
from . import folder
from .seq2seq import CELLS


@dataclass
class State:
    """What `start` and `step` hand on: a cache, or the recurrent states [layers, rows, hidden]."""

    kept: Any
    #: Tokens that were read before the first that is written.
    pending: list[list[int]]

    def select(self, rows: np.ndarray) -> State:
        """The given rows, also more than once."""
        if isinstance(self.kept, KeyValueCache):
            return State(self.kept.select(rows), [])
        return State([h[:, rows] for h in self.kept], [])


class LanguageModel(nn.Module):
    """p(token | tokens before it), by `cell` 'rnn', 'lstm', 'gru' or 'transformer' (decoder only, norm first: Radford et al. 2019).

    `layers` layers of `hidden` units; for the Transformer `heads`, GELU, and `positions` 'learned' up to `max_length` or 'rotary'. The
    projection shares the embedding's table (Press & Wolf 2017) unless `tie` is False.

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
    ) -> None:
        super().__init__()
        if cell not in (*CELLS, "transformer"):
            raise choice_error("language", "cell", (*CELLS, "transformer"), cell)
        if positions not in ("learned", "rotary"):
            raise choice_error("language", "positions", ("learned", "rotary"), positions)
        feed_forward = 4 * hidden if feed_forward is None else feed_forward
        self.options = {
            "cell": cell, "hidden": hidden, "layers": layers, "heads": heads, "feed_forward": feed_forward, "dropout": dropout,
            "positions": positions, "max_length": max_length, "tie": tie,
        }  # fmt: skip
        self.vocabulary, self.cell, self.layers, self.heads, self.hidden = vocabulary, cell, layers, heads, hidden
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
    def from_texts(cls, texts: Iterable[str], *, tokens: str = "character", **options: Any) -> Self:
        """A model with a vocabulary made from texts; `tokens` is 'character' or 'word'."""
        return cls(Vocabulary.from_texts(texts, tokens), **options)

    # Training

    def features(self, tokens: np.ndarray) -> Tensor:
        """Numbers [B, T] → what predicts the next of each [B, T, hidden]."""
        x = self._embedded(tokens)
        if self.cell == "transformer":
            return self.body(x, is_causal=True)
        return self.dropout(self.body(x)[0])

    def _embedded(self, tokens: np.ndarray, start: Any = 0) -> Tensor:
        longest = int(np.max(start, initial=0)) + tokens.shape[1]
        if self.max_length is not None and longest > self.max_length:
            raise ConfigError(f"[language] input: expected at most max_length {self.max_length} tokens, got {longest}")
        x = self.embedding(tokens)
        return self.dropout(x if self.positions is None else self.positions(x, start))

    def forward(self, tokens: np.ndarray) -> Tensor:
        """Logits [B, T, V] of the token after each."""
        return self.output(self.features(np.asarray(tokens)))

    def loss(self, tokens: np.ndarray, targets: np.ndarray | None = None, label_smoothing: float = 0.0) -> Tensor:
        """Mean cross-entropy in nats of `targets` [B, T] after tokens [B, T]; by default each token after those before it. <pad> does not
        count."""
        tokens = np.asarray(tokens)
        if targets is None:
            tokens, targets = tokens[:, :-1], tokens[:, 1:]
        return F.linear_cross_entropy(
            self.features(tokens),
            self.output.weight,
            targets,
            self.output.bias,
            ignore_index=PAD,
            label_smoothing=label_smoothing,
        )

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        """Texts as numbers [B, T] with <s> and </s>, filled up with <pad>."""
        return pad([[START, *self.vocabulary.encode(text), END] for text in texts])[0]

    def perplexity(self, texts: Sequence[str], batch_size: int = 64) -> float:
        """e^(mean cross-entropy a token), the ends counted."""
        training, total, count = self.training, 0.0, 0
        self.eval()
        try:
            with no_grad():
                for first in range(0, len(texts), batch_size):
                    tokens = self.encode(texts[first : first + batch_size])
                    number = int((tokens[:, 1:] != PAD).sum())
                    total, count = total + self.loss(tokens).item() * number, count + number
        finally:
            self.train(training)
        return math.exp(total / max(1, count))

    # Decoding

    def start(self, inputs: list[list[int]]) -> State:
        """A state for prefixes as numbers: what is generated comes behind them."""
        if self.cell == "transformer":
            width = self.hidden // self.heads
            return State(KeyValueCache(self.layers, len(inputs), self.heads, width, self.embedding.weight.dtype), inputs)
        count = 2 if self.cell == "lstm" else 1
        zero = Tensor(np.zeros((self.layers, len(inputs), self.hidden), self.embedding.weight.dtype))
        return State([zero] * count, inputs)

    def step(self, state: State, tokens: np.ndarray) -> tuple[np.ndarray, None, State]:
        """One token further: log-probabilities [rows, V], no alignment, the new state. The first step reads the prefixes too."""
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
                kept: Any = cache
            else:
                given = tuple(state.kept) if self.cell == "lstm" else state.kept[0]
                features, last = self.body(self.embedding(numbers), given, lengths=lengths)
                kept = list(last) if self.cell == "lstm" else [last]
            final = features[np.arange(len(rows)), lengths - 1]
            scores = log_softmax_array(self.output(final).numpy())
        return scores, None, State(kept, [])

    def generate(
        self,
        prefix: str = "",
        *,
        max_length: int = 100,
        temperature: float | None = None,
        top_k: int | None = None,
        top_p: float = 1.0,
        min_p: float = 0.0,
        seed: int = 0,
    ) -> str:
        """A text that begins with `prefix`: the most probable token at each step, or with a `temperature` drawn ones (`decoding.Cut`)."""
        if max_length < 1:
            raise range_error("generate", "max_length", "a whole number of at least 1", max_length)
        training = self.training
        self.eval()
        try:
            numbers = self.vocabulary.encode(prefix)
            if self.max_length is not None:
                max_length = min(max_length, self.max_length - len(numbers) - 1)
            if temperature is None:
                [found] = greedy(self, [numbers], [max_length])
            else:
                [[found]] = sample(self, [numbers], [max_length], Cut(temperature, top_k, top_p, min_p), [seed])
            return self.vocabulary.decode([*numbers, *found.tokens])
        finally:
            self.train(training)

    # Keeping

    def save(self, path: str | Path) -> None:
        """Writes weights, options and the vocabulary into a folder."""
        folder.save(self, path)

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """The model of a folder."""
        return folder.load(path, {cls.__name__: cls})
