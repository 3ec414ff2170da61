"""Sequences of numbers said backwards: JoeyNMT's first task, with its sizes and data.

    python examples/reverse_task.py --model seq2seq
    python examples/reverse_task.py --model transformer

40,000 sequences of up to 25 numbers from 0 to 49 to learn from, 2,000 of up to 30 to check with: lengths 26 to 30 never occur in training.
JoeyNMT's tutorial prints a best BLEU of 95.42 on its development set after 5 epochs (LSTM 64, Luong attention).
"""

import argparse
import time

import numpy as np

import weft
from weft import models, train
from weft.data import Pair


def pairs(rng, count, longest):
    """Sequences of 1 to `longest` numbers, and the same from the end."""
    rows = [rng.integers(0, 50, rng.integers(1, longest + 1)).tolist() for _ in range(count)]
    return [Pair(r, r[::-1]) for r in rows]


def bleu(outputs, references):
    """sacrebleu's BLEU of lists of tokens."""
    import sacrebleu

    return sacrebleu.corpus_bleu([" ".join(o) for o in outputs], [[" ".join(r) for r in references]], tokenize="none").score


def main(arguments=None):
    """The command line; returns BLEU and the share of exact outputs."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--model", default="seq2seq", choices=["seq2seq", "transformer"])
    parser.add_argument("--count", type=int, default=40_000)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--longest", type=int, default=25)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    rng = np.random.default_rng(options.seed)
    learn, check = pairs(rng, options.count, options.longest), pairs(rng, 2000, options.longest + options.longest // 5)
    weft.manual_seed(options.seed)
    if options.model == "seq2seq":
        model = models.Seq2Seq.from_pairs(learn, cell="lstm", hidden=64, embedding=16, attention="general", input_feeding=True)
        how = {"lr": 5e-3}
    else:
        model = models.Transformer.from_pairs(
            learn, hidden=64, heads=4, layers=2, feed_forward=256, norm_first=True, positions="rotary", shared=True, tie="all"
        )
        how = {"lr": 2e-3}
    begin = time.perf_counter()
    train.fit(
        model, learn, valid=check[:200], epochs=options.epochs, batch_tokens=512, progress=False,
        on_epoch=lambda e: print(f"epoch {e.epoch}: loss {e.train_loss:.4f}, {time.perf_counter() - begin:.0f} s", flush=True), **how,
    )  # fmt: skip
    found = {}
    for beam in (1, 2):
        results = [r[0].target for r in model.generate([p.source for p in check], beam=beam)]
        wished = [[str(t) for t in p.target] for p in check]
        exact = np.array([r == w for r, w in zip(results, wished, strict=True)])
        known = np.array([len(w) <= options.longest for w in wished])
        found[beam] = bleu(results, wished), float(exact.mean())
        print(
            f"beam {beam}: BLEU {found[beam][0]:.2f}, exact {exact.mean():.1%}; up to {options.longest} numbers {exact[known].mean():.1%}, "
            f"longer than any in training {exact[~known].mean():.1%}"
        )
    return found


if __name__ == "__main__":
    main()
