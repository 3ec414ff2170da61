"""A model of Shakespeare, character by character, beside models that only count.

    python examples/char_model.py                       # about three minutes
    python examples/char_model.py --hidden 512 --epochs 8 --dropout 0.2

The text is $WEFT_DATA/tinyshakespeare/input.txt (or --text FILE); the last tenth is kept for validation, as in nanoGPT. The net reads the
text in order and keeps its state from window to window. Losses are nats per character.
"""

import argparse
import os
import time
from pathlib import Path

import weft
from weft import models, train


def main(arguments=None):
    """The command line; returns the validation losses by name."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--text", type=Path, default=Path(os.environ.get("WEFT_DATA", "data")) / "tinyshakespeare/input.txt")
    parser.add_argument("--cell", default="lstm", choices=["rnn", "lstm", "gru", "transformer"])
    parser.add_argument("--hidden", type=int, default=256)
    parser.add_argument("--layers", type=int, default=1)
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--window", type=int, default=96)
    parser.add_argument("--rows", type=int, default=32, help="windows in a batch")
    parser.add_argument("--lr", type=float, default=4e-3)
    parser.add_argument("--dropout", type=float, default=0.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="a folder for the model")
    options = parser.parse_args(arguments)
    text = options.text.read_text(encoding="utf-8")
    cut = len(text) * 9 // 10
    learn, check = text[:cut], text[cut:]

    losses = {}
    for order in (1, 2, 3, 5, 7):
        losses[f"{order}-gram"] = models.MarkovModel.from_texts(learn, order=order).loss(check)
        print(f"{order}-gram counts: {losses[f'{order}-gram']:.4f}", flush=True)

    weft.manual_seed(options.seed)
    model = models.LanguageModel.from_texts(
        learn, cell=options.cell, hidden=options.hidden, layers=options.layers, dropout=options.dropout, window=options.window
    )
    print(f"{options.cell}: {model.count_parameters():,} parameters", flush=True)
    begin = time.perf_counter()

    def report(epoch):
        losses[options.cell] = min(losses.get(options.cell, 99.0), epoch.valid_loss)
        print(f"{train.describe(epoch)}\n    {time.perf_counter() - begin:.0f} s so far", flush=True)

    train.fit(
        model, learn, valid=check, epochs=options.epochs, batch_tokens=options.rows * options.window, lr=options.lr,
        weight_decay=0.0, out=options.out, progress=False, on_epoch=report,
    )  # fmt: skip
    print(f"validation loss {losses[options.cell]:.4f} nats a character after {time.perf_counter() - begin:.0f} s\n")
    print(model.generate("ROMEO:", max_length=300, temperature=0.7, seed=options.seed)[0].text)
    return losses


if __name__ == "__main__":
    main()
