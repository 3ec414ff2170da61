"""Without positions attention cannot tell "ab" from "ba": the sum over keys has no order (Vaswani et al. 2017, §3.5).

    python examples/order_blind.py

A one-layer encoder learns whether a comes before b in a shuffled word, with no positions, sines, learned ones and rotary ones. First its
outputs for a word and its reversal are compared before any training.
"""

import argparse

import numpy as np

import weft
from weft import nn, optim
from weft.nn import functional as F

KINDS = ("none", "sinusoidal", "learned", "rotary")


class Reader(nn.Module):
    """Letters [B, T] → 2 classes [B, 2], from the mean over the encoder's outputs."""

    def __init__(self, positions, letters, hidden=32):
        super().__init__()
        self.embedding = nn.Embedding(letters, hidden)
        kind = positions if positions in ("sinusoidal", "learned") else None
        self.positions = None if kind is None else nn.PositionalEncoding(hidden, max_len=64, kind=kind, batch_first=True)
        rotary = 100.0 if positions == "rotary" else None
        self.encoder = nn.TransformerEncoderLayer(hidden, 2, 64, 0.0, batch_first=True, rotary=rotary)
        self.head = nn.Linear(hidden, 2)

    def forward(self, words):
        """Logits."""
        x = self.embedding(words)
        return self.head(self.encoder(x if self.positions is None else self.positions(x)).mean(1))


def words(rng, count, length):
    """Each letter once, shuffled, and whether letter 0 comes before letter 1."""
    found = rng.permuted(np.tile(np.arange(length), (count, 1)), axis=1)
    return found, (found.argmin(1) < (found == 1).argmax(1)).astype(np.int64)


def train(positions, updates=300, length=8, seed=0):
    """The difference that reversing makes before training, and the accuracy on 1,000 other words after it."""
    weft.manual_seed(seed)
    rng = np.random.default_rng(seed)
    model = Reader(positions, length)
    some = words(rng, 100, length)[0]
    with weft.no_grad():
        apart = float(np.abs(model(some).numpy() - model(some[:, ::-1].copy()).numpy()).max())
    optimizer = optim.Adam(model.parameters(), lr=3e-3)
    for _ in range(updates):
        x, y = words(rng, 64, length)
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        optimizer.step()
    x, y = words(np.random.default_rng(seed + 1), 1000, length)
    model.eval()
    with weft.no_grad():
        return apart, float((model(x).numpy().argmax(1) == y).mean())


def main(arguments=None):
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--updates", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    found = {}
    for kind in KINDS:
        found[kind] = apart, right = train(kind, options.updates, seed=options.seed)
        print(f"{kind:>10}: reversing moves the logits by {apart:.1e}; {100 * right:5.1f} % right after training", flush=True)
    return found


if __name__ == "__main__":
    main()
