"""Every attention score on one task, three seeds each: Luong's table in small, with Bahdanau's scores and without attention.

    python examples/attention_scores.py

Dates of five locales (see dates.py), one GRU of 64 units on either side, few epochs, so that the scores differ. Perplexity a character
and exact dates on the validation set, mean and standard deviation over the seeds.
"""

import argparse
import math
import os
from pathlib import Path

import numpy as np
from dates import read

import weft
from weft import models, train

FORMS = {
    "none": {"attention": "none"},
    "location": {"attention": "location"},
    "dot": {"attention": "dot"},
    "scaled_dot": {"attention": "scaled_dot"},
    "general": {"attention": "general"},
    "additive": {"attention": "additive"},
    "concat": {"attention": "concat"},
    "mlp": {"attention": "mlp"},
    "local-m (general)": {"attention": "general", "local": "monotonic", "window": 5},
    "local-p (general)": {"attention": "general", "local": "predictive", "window": 5},
    "general, input feeding": {"attention": "general", "input_feeding": True},
}


def main(arguments=None):
    """The command line; returns (perplexities, shares of exact dates) by name."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--folder", type=Path, default=Path(os.environ.get("WEFT_DATA", "data")) / "date-normalisation")
    parser.add_argument("--forms", nargs="+", default=list(FORMS), choices=list(FORMS))
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--hidden", type=int, default=64)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--limit", type=int, default=10_000, help="dates to learn from")
    options = parser.parse_args(arguments)
    learn, check = read(options.folder / "train.tsv.gz")[: options.limit], read(options.folder / "valid.tsv")
    found = {}
    print("| score | perplexity | exact dates |\n|---|---|---|", flush=True)
    for name in options.forms:
        perplexities, exact = [], []
        for seed in range(options.seeds):
            weft.manual_seed(seed)
            model = models.Seq2Seq.from_pairs(learn, cell="gru", hidden=options.hidden, embedding=32, **FORMS[name])
            history = train.fit(model, learn, valid=check, epochs=options.epochs, batch_tokens=1024, lr=4e-3, progress=False)
            perplexities.append(math.exp(history.epochs[-1].valid_loss))
            exact.append(1.0 - history.epochs[-1].metrics["sequence_error_rate"])
        found[name] = perplexities, exact
        p, e = np.array(perplexities), 100 * np.array(exact)
        print(f"| {name} | {p.mean():.4f} ± {p.std():.4f} | {e.mean():.1f} ± {e.std():.1f} % |", flush=True)
    return found


if __name__ == "__main__":
    main()
