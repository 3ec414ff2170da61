"""A Vision Transformer reads MNIST in 49 patches of 4 by 4, and shows where its class token looks.

    WEFT_DATA=... python examples/vit_mnist.py --out attention.png        # WEFT_DATA holds a folder mnist with the four idx files

Images are shifted by up to two pixels in training; Adam, one cycle of the rate.
"""

import argparse
import os
import time
from pathlib import Path

import numpy as np

import weft
from weft import models, optim


def scaled(images):
    """Bytes as numbers of mean 0 and deviation 1."""
    return (images.astype(np.float32) - 33.3) / 78.6


def shifted(images, rng):
    """Each image moved by −2 to 2 pixels in both directions, the border filled up with its own black."""
    padded = np.pad(images, ((0, 0), (2, 2), (2, 2)))
    down, right = rng.integers(0, 5, (2, len(images)))
    rows, columns = (np.arange(28) + x[:, None] for x in (down, right))
    return padded[np.arange(len(images))[:, None, None], rows[:, :, None], columns[:, None, :]]


def train(digits, hidden=64, layers=4, epochs=12, batch=128, rate=2e-3, seed=0):
    """Trains, says the test accuracy after each epoch, returns the model and the last accuracy."""
    weft.manual_seed(seed)
    (images, labels), (test_images, test_labels) = digits
    model = models.VisionTransformer(
        28, 4, classes=10, hidden=hidden, layers=layers, heads=4, feed_forward=2 * hidden, dropout=0.05
    )
    optimizer = optim.AdamW(model.parameters(), lr=rate, weight_decay=0.05)
    steps = len(images) // batch
    schedule = optim.lr_scheduler.Cosine(optimizer, epochs * steps, warmup=min(steps, epochs * steps // 10), end=0.01)
    print(f"{sum(p.numel() for p in model.parameters()):,} parameters")
    begin, rng = time.perf_counter(), np.random.default_rng(seed)
    score = 0.0
    for epoch in range(1, epochs + 1):
        for rows in rng.permutation(len(images))[: steps * batch].reshape(steps, batch):
            optimizer.zero_grad()
            model.loss(scaled(shifted(images[rows], rng)), labels[rows].astype(np.int64)).backward()
            optimizer.step(clip_norm=1.0)
            schedule.step()
        score = float((model.predict(scaled(test_images)) == test_labels).mean())
        print(f"epoch {epoch}: test accuracy {100 * score:.2f} %, {time.perf_counter() - begin:.0f} s", flush=True)
    return model, score


def draw(model, images, path):
    """Images, and beneath each how much the class token of the last layer looks at each patch (mean of the heads)."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    looked = model.class_attention(scaled(images)).mean(1)
    _, axes = plt.subplots(2, len(images), figsize=(1.3 * len(images), 2.8), squeeze=False)
    for (above, below), image, map in zip(axes.T, images, looked, strict=True):
        above.imshow(image, cmap="gray")
        below.imshow(image, cmap="gray")
        below.imshow(map, cmap="inferno", alpha=0.6, extent=(-0.5, 27.5, 27.5, -0.5))
        above.axis("off")
        below.axis("off")
    plt.tight_layout()
    plt.savefig(path, dpi=110)


def main(arguments=None):
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--folder", type=Path, default=Path(os.environ.get("WEFT_DATA", ".")) / "mnist")
    parser.add_argument("--hidden", type=int, default=64)
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="where the picture goes")
    options = parser.parse_args(arguments)
    digits = weft.data.mnist(options.folder)
    model, score = train(digits, options.hidden, options.layers, options.epochs, seed=options.seed)
    if options.out:
        draw(model, digits.test.images[:8], options.out)
    return score


if __name__ == "__main__":
    main()
