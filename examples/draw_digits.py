"""Handwritten digits from words: "a thick seven slanted left", judged by a classifier that was trained apart.

    python examples/draw_digits.py --out docs/digits.png

MNIST of $WEFT_DATA/mnist; captions from what can be measured in an image: its class, the thickness of its strokes, its slant (each in three
parts). The judge reads images row by row (a GRU) and has never seen a drawn one.
"""

import argparse
import itertools
import os
import time
from pathlib import Path

import numpy as np

import weft
from weft import data, models, train
from weft.data.captions import DIGITS, SLANTS, WEIGHTS


def main(arguments=None):
    """The command line; returns the share of asked digits that the judge recognises, and what it recognises of real ones."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--folder", type=Path, default=Path(os.environ.get("WEFT_DATA", "data")) / "mnist")
    parser.add_argument("--limit", type=int, default=30_000, help="images to learn from")
    parser.add_argument("--tokenizer-epochs", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--judge-epochs", type=int, default=4)
    parser.add_argument("--hidden", type=int, default=128)
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--guidance", type=float, default=2.0)
    parser.add_argument("--temperature", type=float, default=0.9)
    parser.add_argument("--each", type=int, default=10, help="images of each of the 90 captions")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="a picture with a grid of digits")
    options = parser.parse_args(arguments)
    digits = data.mnist(options.folder)
    images, labels = digits.train.images[: options.limit], digits.train.labels[: options.limit]
    captions = data.caption_digits(images, labels)
    weft.manual_seed(options.seed)
    begin = time.perf_counter()

    def since():
        return f"{time.perf_counter() - begin:.0f} s"

    model = models.TextToImage.from_pairs(
        list(zip(captions[:1000], images[:1000], strict=True)), patch=4, codes=128, hidden=options.hidden, layers=options.layers
    )
    train.fit(
        model.tokenizer, images, valid=0.0, epochs=options.tokenizer_epochs, batch_tokens=49 * 64, lr=2e-3, weight_decay=0.0,
        progress=False,
    )  # fmt: skip
    seen = model.tokenizer.measure(digits.test.images[:2000]).metrics
    print(
        f"tokenizer: pixels off by {seen['pixel_rmse']:.1f}, {seen['codes_used']:.0%} of 128 codes in use, {since()}", flush=True
    )
    train.fit(
        model, list(zip(captions, images, strict=True)), valid=0.0, epochs=options.epochs, batch_tokens=54 * 48, lr=1.5e-3,
        progress=False, on_epoch=lambda e: print(f"epoch {e.epoch}: {e.train_loss:.3f} nats a code, {since()}", flush=True),
    )  # fmt: skip
    trained = time.perf_counter() - begin

    weft.manual_seed(options.seed + 1)
    rows = [(i / np.float32(255), int(n)) for i, n in zip(images, labels, strict=True)]
    judge = models.SequenceClassifier.from_examples(rows, cell="gru", hidden=192, pool="last")
    train.fit(judge, rows, valid=0.0, epochs=options.judge_epochs, batch_tokens=28 * 128, lr=3e-3, progress=False)
    real = judge.score([i / np.float32(255) for i in digits.test.images], digits.test.labels.tolist())
    asked = [f"a {w} {d} {s}" for d, w, s in itertools.product(DIGITS, WEIGHTS, SLANTS)]
    drawn = model.generate(asked, n=options.each, temperature=options.temperature, guidance=options.guidance, seed=options.seed)[
        ..., 0
    ]
    said = judge.predict(list(drawn.reshape(-1, 28, 28) / np.float32(255)))
    wished = np.repeat(np.arange(10), 9 * options.each)
    right = float((np.array(said) == wished).mean())
    measured = data.caption_digits(drawn.reshape(-1, 28, 28), wished, images)
    wishes = [a for a in asked for _ in range(options.each)]
    weight = np.mean([a.split()[1] == b.split()[1] for a, b in zip(wishes, measured, strict=True)])
    slant = np.mean([a.split()[3:] == b.split()[3:] for a, b in zip(wishes, measured, strict=True)])
    print(
        f"the judge (right on {real:.2%} of real test digits) recognises {right:.2%} of {len(said)} asked digits; thickness as asked "
        f"{weight:.0%}, slant {slant:.0%} (guessing: 33 %); model trained in {trained:.0f} s"
    )
    if options.out:
        from weft.interpret import plot_images

        shown = [i for i in range(90) if i % 9 in (0, 4, 8)]
        plot_images(drawn[shown, 0], [asked[i][2:] for i in shown], options.out, columns=6)
    return right, real


if __name__ == "__main__":
    main()
