"""A Transformer learns to say again what it was told: the first task of "The Annotated Transformer" (Rush 2018), exact.

    python examples/copy_task.py

Sequences of ten of ten symbols, the first always symbol 1; label smoothing 0, the paper's rates (Noam). Copies of new sequences, decoded
greedily, must be right to the last symbol.
"""

import argparse
import time

import numpy as np

import weft
from weft import models, optim
from weft.data import Pair
from weft.nn import functional as F

SYMBOLS = "0123456789"


def pairs(rng, count, length=10):
    """Texts that begin with 1, and themselves."""
    texts = ["1" + "".join(SYMBOLS[i] for i in rng.integers(0, 10, length - 1)) for _ in range(count)]
    return [Pair(t, t) for t in texts]


def train(updates=1500, batch=64, hidden=64, layers=2, length=10, seed=0):
    """Trains on fresh sequences; returns the share of 200 new ones that come out exactly."""
    weft.manual_seed(seed)
    rng = np.random.default_rng(seed)
    model = models.Transformer.from_pairs(pairs(rng, 100, length), hidden=hidden, heads=4, layers=layers, dropout=0.0)
    optimizer = optim.Adam(model.parameters(), lr=1.0, betas=(0.9, 0.98), eps=1e-9)
    schedule = optim.lr_scheduler.Noam(optimizer, d_model=hidden, warmup=max(1, updates // 4))
    begin = time.perf_counter()
    for update in range(1, updates + 1):
        optimizer.zero_grad()
        loss = model.loss(model.collate(pairs(rng, batch, length)))
        loss.backward()
        optimizer.step()
        schedule.step()
        if update % max(1, updates // 10) == 0:
            print(f"update {update}: loss {loss.item():.4f}, {time.perf_counter() - begin:.0f} s", flush=True)
    model.eval()
    texts = [p.source for p in pairs(np.random.default_rng(seed + 1), 200, length)]
    right = sum(r[0].text == t for r, t in zip(model.generate(texts), texts, strict=True)) / len(texts)
    with weft.no_grad():
        batch = model.collate([Pair(t, t) for t in texts])
        sure = float(np.exp(F.log_softmax(model(batch), -1).numpy().max(-1).min()))
    print(f"{100 * right:.1f} % of new sequences copied exactly; the least sure symbol had probability {sure:.4f}")
    return right


def main(arguments=None):
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--updates", type=int, default=1500)
    parser.add_argument("--length", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    return train(options.updates, length=options.length, seed=options.seed)


if __name__ == "__main__":
    main()
