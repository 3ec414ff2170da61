"""What batch norm does to sequences that layer norm does not: a row's numbers depend on who else is in its batch.

    python examples/layer_norm_vs_batch_norm.py

The same small encoder with either norm learns which of two symbols is more frequent in sequences of uneven length, with batches of 64
and of 2. Then one sequence is read alone and among others.
"""

import argparse

import numpy as np

import weft
from weft import nn, optim
from weft.nn import functional as F


class Counter(nn.Module):
    """Symbols [B, T] → which is more frequent [B, 2]: attention, a net, each with a residual connection and a norm behind it."""

    def __init__(self, norm, hidden=16):
        super().__init__()
        self.kind = norm
        self.embedding = nn.Embedding(3, hidden, padding_idx=0)
        self.attention = nn.MultiheadAttention(hidden, 2, batch_first=True)
        self.net = nn.Sequential(nn.Linear(hidden, 2 * hidden), nn.ReLU(), nn.Linear(2 * hidden, hidden))
        make = nn.LayerNorm if norm == "layer" else nn.BatchNorm1d
        self.norms = nn.ModuleList([make(hidden), make(hidden)])
        self.head = nn.Linear(hidden, 2)

    def norm(self, index, x, lengths):
        """[B, T, hidden]; padding counts in no statistic."""
        if self.kind == "layer":
            return self.norms[index](x)
        return self.norms[index](x.transpose(1, 2), lengths=lengths).transpose(1, 2)

    def forward(self, symbols, lengths):
        """Logits."""
        x = self.embedding(symbols)
        x = self.norm(0, x + self.attention(x, x, x, need_weights=False, lengths=lengths)[0], lengths)
        x = self.norm(1, x + self.net(x), lengths)
        keep = (np.arange(x.shape[1]) < lengths[:, None])[..., None]
        return self.head(x.masked_fill(~keep, 0.0).sum(1) / lengths[:, None].astype(np.float32))


def examples(rng, count, longest=15):
    """Symbols 1 and 2 (0 is padding), lengths, and whether there are more twos."""
    lengths = rng.integers(1, longest // 2 + 1, count) * 2 + 1
    symbols = rng.integers(1, 3, (count, longest + 1))
    symbols[np.arange(longest + 1) >= lengths[:, None]] = 0
    return symbols, lengths, ((symbols == 2).sum(1) > (symbols == 1).sum(1)).astype(np.int64)


def train(norm, batch, updates=300, seed=0):
    """The accuracy on 1,000 other sequences, and how far the logits of one sequence move when others join it in training mode."""
    weft.manual_seed(seed)
    rng = np.random.default_rng(seed)
    model = Counter(norm)
    optimizer = optim.Adam(model.parameters(), lr=3e-3)
    for _ in range(updates):
        symbols, lengths, answers = examples(rng, batch)
        optimizer.zero_grad()
        F.cross_entropy(model(symbols, lengths), answers).backward()
        optimizer.step()
    symbols, lengths, answers = examples(np.random.default_rng(seed + 1), 1000)
    with weft.no_grad():
        alone, among = model(symbols[:1], lengths[:1]).numpy(), model(symbols[:8], lengths[:8]).numpy()[:1]
        model.eval()
        right = float((model(symbols, lengths).numpy().argmax(1) == answers).mean())
    return right, float(np.abs(alone - among).max())


def main(arguments=None):
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--updates", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    found = {}
    for batch in (64, 2):
        for norm in ("layer", "batch"):
            found[norm, batch] = right, moved = train(norm, batch, options.updates, options.seed)
            print(
                f"{norm} norm, batches of {batch:2}: {100 * right:5.1f} % right; company moves a row's logits by {moved:.3f}",
                flush=True,
            )
    return found


if __name__ == "__main__":
    main()
