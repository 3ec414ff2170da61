"""What reads a sequence: embedding or features, then a recurrent net or a Transformer encoder."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import nn
from ..autograd import Tensor, no_grad, tensor
from ..data.features import Features
from ..data.vocabulary import PAD, Vocabulary
from ..errors import choice_error, range_error
from ..nn import init
from .seq2seq import CELLS

BODIES = (*CELLS, "transformer")


class Reader(nn.Module):
    """Numbers [B, T], or features [B, T, F], → [B, T, hidden].

    `cell` 'rnn', 'lstm', 'gru' (`bidirectional`: half of `hidden` each way) or 'transformer' (`heads`, sinusoidal positions, norm first).
    Features are first brought to mean 0 and deviation 1 by the numbers of `standardize`, which are saved with the weights.
    """

    def __init__(
        self, vocabulary: Vocabulary | Features, *, cell: str = "gru", hidden: int = 128, layers: int = 1, bidirectional: bool = True,
        heads: int = 4, embedding: int | None = None, dropout: float = 0.0,
    ) -> None:  # fmt: skip
        super().__init__()
        if cell not in BODIES:
            raise choice_error("reader", "cell", BODIES, cell)
        self.both = bidirectional and cell != "transformer"
        if hidden < 1 or (self.both and hidden % 2):
            raise range_error("reader", "hidden", "an even number of at least 2", hidden)
        self.cell, self.hidden = cell, hidden
        self.features = isinstance(vocabulary, Features)
        self.embedding: nn.Module
        width = hidden if cell == "transformer" else min(hidden, 128) if embedding is None else embedding
        if isinstance(vocabulary, Features):
            self.register_buffer("mean", tensor(np.zeros(vocabulary.width, np.float32)))
            self.register_buffer("deviation", tensor(np.ones(vocabulary.width, np.float32)))
            if cell == "transformer":
                self.embedding = nn.Linear(vocabulary.width, width)
            else:
                width = vocabulary.width
        else:
            self.embedding = nn.Embedding(len(vocabulary), width, padding_idx=PAD)
            init.normal_(self.embedding.weight, std=width**-0.5)
            with no_grad():
                self.embedding.weight[PAD] = 0.0
        self.dropout = nn.Dropout(dropout)
        self.body: Any
        if cell == "transformer":
            self.positions = nn.PositionalEncoding(hidden, 0.0, 5000, batch_first=True)
            layer = nn.TransformerEncoderLayer(hidden, heads, 4 * hidden, dropout, "gelu", batch_first=True, norm_first=True)
            self.body = nn.TransformerEncoder(layer, layers, nn.LayerNorm(hidden))
        else:
            size = hidden // 2 if self.both else hidden
            between = dropout if layers > 1 else 0.0
            self.body = CELLS[cell](width, size, layers, batch_first=True, dropout=between, bidirectional=self.both)

    def standardize(self, inputs: list[np.ndarray]) -> None:
        """Takes mean and deviation of each feature over all steps of inputs [T, F]; a feature that never changes stays as it is."""
        joined = np.concatenate(inputs).astype(np.float64)
        deviation = joined.std(0)
        with no_grad():
            self.mean[:] = joined.mean(0).astype(np.float32)
            self.deviation[:] = np.where(deviation > 1e-12, deviation, 1.0).astype(np.float32)

    def forward(self, inputs: np.ndarray, lengths: np.ndarray) -> Tensor:
        """States of every step; shapes in the class."""
        x: Any = inputs
        if self.features:
            x = (inputs - self.mean.numpy()) / self.deviation.numpy()
        if self.cell == "transformer":
            scaled = self.embedding(x) if self.features else self.embedding(x) * self.hidden**0.5
            return self.body(self.dropout(self.positions(scaled)), lengths=lengths)
        x = x if self.features else self.embedding(x)
        return self.dropout(self.body(self.dropout(x), lengths=lengths)[0])
