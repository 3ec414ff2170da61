"""Which class a series belongs to: three sets of the UEA archive, of uneven length and of little data.

    python examples/timeseries.py

$WEFT_DATA/timeseries/uea. JapaneseVowels: who says a vowel, 9 speakers, 7 to 29 steps of 12 numbers. BasicMotions: what a wrist does, 4
classes, 100 steps of 6. ItalyPowerDemand: winter or summer by the 24 hours of a day, 67 days to learn from. No test series is looked at
before the end: body, pool and size of the last were chosen by cross-validation on the 67 days. Twelve seeds, for one of BasicMotions' 40
test series is 2.5 %.
"""

import argparse
import os
import time
from pathlib import Path

import numpy as np

import weft
from weft import data, models, train

SETS = {
    "JapaneseVowels": {"cell": "gru", "hidden": 128, "pool": "mean", "dropout": 0.3, "epochs": 60},
    "BasicMotions": {"cell": "gru", "hidden": 64, "pool": "mean", "dropout": 0.2, "epochs": 80},
    "ItalyPowerDemand": {
        "cell": "transformer", "hidden": 32, "layers": 1, "pool": "mean", "dropout": 0.1, "epochs": 100, "lr": 1e-3,
    },
}  # fmt: skip


def main(arguments=None):
    """The command line; returns accuracies by set."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--folder", type=Path, default=Path(os.environ.get("WEFT_DATA", "data")) / "timeseries/uea")
    parser.add_argument("--sets", nargs="+", default=list(SETS))
    parser.add_argument("--epochs", type=int, help="instead of what each set takes")
    parser.add_argument("--seeds", type=int, default=12)
    options = parser.parse_args(arguments)
    found = {}
    print("| set | accuracy | time a seed |\n|---|---|---|", flush=True)
    for name in options.sets:
        learn, test = (data.read_ts(options.folder / f"{name}_{part}.ts") for part in ("TRAIN", "TEST"))
        how = dict(SETS.get(name, SETS["JapaneseVowels"]))
        epochs, lr = how.pop("epochs"), how.pop("lr", 3e-3)
        scores, begin = [], time.perf_counter()
        for seed in range(options.seeds):
            weft.manual_seed(seed)
            model = models.SequenceClassifier.from_examples(learn, **how)
            steps = sum(len(e.input) for e in learn)
            train.fit(
                model,
                learn,
                valid=0.0,
                epochs=options.epochs or epochs,
                batch_tokens=max(64, steps // 12),
                lr=lr,
                label_smoothing=0.1,
                progress=False,
            )
            scores.append(model.score([e.input for e in test], [e.label for e in test]))
        found[name] = scores
        seconds = (time.perf_counter() - begin) / options.seeds
        print(
            f"| {name} | {100 * np.mean(scores):.2f} % ({', '.join(f'{100 * s:.1f}' for s in scores)}) | {seconds:.0f} s |",
            flush=True,
        )
    return found


if __name__ == "__main__":
    main()
