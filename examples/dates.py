"""Dates as people write them in five locales, turned into ISO dates, and where the model looked for day, month and year.

    python examples/dates.py --out docs/dates_attention.png

$WEFT_DATA/date-normalisation: 20,000 lines of locale, tab, date, tab, ISO date to learn from, and 2,000 to test with.
"""

import argparse
import gzip
import os
import time
from pathlib import Path

import weft
from weft import interpret, models, train
from weft.data import Pair


def read(path):
    """Pairs of a file whose columns are locale, source, target."""
    content = path.read_bytes()
    text = (gzip.decompress(content) if path.suffix == ".gz" else content).decode()
    rows = [line.split("\t") for line in text.splitlines()]
    return [Pair(f"{locale[:2]} {source}", target) for locale, source, target in rows]


def main(arguments=None):
    """The command line; returns the share of dates that are exact."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--folder", type=Path, default=Path(os.environ.get("WEFT_DATA", "data")) / "date-normalisation")
    parser.add_argument("--hidden", type=int, default=96)
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="a picture of three alignments")
    options = parser.parse_args(arguments)
    learn, check, test = (read(options.folder / name) for name in ("train.tsv.gz", "valid.tsv", "test.tsv"))
    weft.manual_seed(options.seed)
    model = models.Seq2Seq.from_pairs(learn, cell="gru", attention="general", hidden=options.hidden, embedding=32)
    begin = time.perf_counter()
    train.fit(
        model, learn, valid=check, epochs=options.epochs, batch_tokens=1024, lr=4e-3, progress=False,
        on_epoch=lambda e: print(train.describe(e).split("\n")[0], flush=True),
    )  # fmt: skip
    results = [r[0] for r in model.generate([p.source for p in test])]
    wrong = [(p, r.text) for p, r in zip(test, results, strict=True) if r.text != p.target]
    exact = 1.0 - len(wrong) / len(test)
    print(f"{exact:.2%} of {len(test):,} dates exact after {time.perf_counter() - begin:.0f} s")
    for pair, said in wrong[:5]:
        print(f"  {pair.source!r} should be {pair.target}, got {said}")
    shown = [results[next(i for i, p in enumerate(test) if p.source.startswith(locale))] for locale in ("en", "de", "fr")]
    print(interpret.draw_attention(shown[0]))
    if options.out:
        from matplotlib.figure import Figure

        figure = Figure(figsize=(15, 5), layout="constrained")
        for ax, result in zip(figure.subplots(1, 3), shown, strict=True):
            interpret.plot_attention(result, ax=ax)
        figure.savefig(options.out, dpi=80)
    return exact


if __name__ == "__main__":
    main()
