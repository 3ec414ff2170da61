"""What a decoder reads while it learns: the true tokens, its own, or first these and then those (Bengio et al. 2015).

    python examples/scheduled_sampling.py

English words to pronunciations with little training, one GRU without attention (the setting that drifts most once it has said something
wrong), three seeds. Bengio et al. found: scheduled sampling best, then teacher forcing; always its own tokens worst by far.
"""

import argparse

import numpy as np

import weft
from weft import models, train
from weft.data import as_pairs, pronunciations

FORMS = {
    "teacher forcing": lambda steps: None,
    "free running": lambda steps: lambda step: 0.0,
    "linear": lambda steps: train.linear_decay(steps, 0.5),
    "exponential": lambda steps: train.exponential_decay(0.5 ** (1.0 / steps)),
    "inverse sigmoid": lambda steps: train.inverse_sigmoid_decay(max(1.0, steps / 6.0)),
}


def main(arguments=None):
    """The command line; returns token error rates by name."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--limit", type=int, default=20_000, help="words of the dictionary")
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--hidden", type=int, default=128)
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args(arguments)
    parts = pronunciations(options.limit)
    learn, check = as_pairs(parts.train), as_pairs(parts.valid)[:1000]
    found = {}
    print("| the decoder reads | phonemes wrong | words wrong |\n|---|---|---|", flush=True)
    for name, make in FORMS.items():
        rates = []
        for seed in range(options.seeds):
            weft.manual_seed(seed)
            model = models.Seq2Seq.from_pairs(
                learn, tokens=("character", "word"), cell="gru", attention="none", hidden=options.hidden, embedding=48
            )
            steps = options.epochs * model.count_batches(model.encode_examples(learn), 1024)
            history = train.fit(
                model, learn, valid=check, epochs=options.epochs, batch_tokens=1024, lr=4e-3, teacher=make(steps), progress=False
            )
            rates.append([history.epochs[-1].metrics[f"{what}_error_rate"] for what in ("token", "sequence")])
        found[name] = rates
        mean, spread = 100 * np.mean(rates, 0), 100 * np.std(rates, 0)
        print(f"| {name} | {mean[0]:.2f} ± {spread[0]:.2f} % | {mean[1]:.1f} ± {spread[1]:.1f} % |", flush=True)
    return found


if __name__ == "__main__":
    main()
