"""Which syllables of a word are stressed: a tagger over phonemes, with and without a conditional random field.

    python examples/stress.py

$WEFT_DATA/cmudict/cmudict.dict.gz: a phoneme of a vowel has the stress 0, 1 or 2, a consonant none ("-"). Input is the phonemes without
their marks; the baseline gives every phoneme the mark that it has most often. Words are split by a fixed hash.
"""

import argparse
import gzip
import os
import time
from collections import Counter, defaultdict
from pathlib import Path

import weft
from weft import models, train
from weft.data.labelled import Labelled, split_labelled


def read(path):
    """Examples (phonemes, marks) of every word."""
    examples = []
    for line in gzip.decompress(path.read_bytes()).decode().splitlines():
        phonemes = line.split(" #")[0].split()[1:]
        marks = [p[-1] if p[-1].isdigit() else "-" for p in phonemes]
        examples.append(Labelled([p.rstrip("012") for p in phonemes], marks))
    return examples


def unigram(learn, test):
    """Accuracy of the mark that each phoneme has most often."""
    counts = defaultdict(Counter)
    for phonemes, marks in learn:
        for p, m in zip(phonemes, marks, strict=True):
            counts[p][m] += 1
    best = {p: c.most_common(1)[0][0] for p, c in counts.items()}
    pairs = [(best.get(p), m) for e in test for p, m in zip(*e, strict=True)]
    return sum(a == b for a, b in pairs) / max(1, len(pairs))


def main(arguments=None):
    """The command line; returns accuracies by name."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--file", type=Path, default=Path(os.environ.get("WEFT_DATA", "data")) / "cmudict/cmudict.dict.gz")
    parser.add_argument("--hidden", type=int, default=96)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--limit", type=int, default=60_000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    examples = read(options.file)
    step = max(1, len(examples) // options.limit)
    learn, test = split_labelled(examples[::step], 0.1, by_label=False)
    found = {"unigram": unigram(learn, test)}
    print(f"{len(learn):,} words to learn from, {len(test):,} to test with; unigram {found['unigram']:.2%}", flush=True)
    for name, crf in (("LSTM", False), ("LSTM + CRF", True)):
        weft.manual_seed(options.seed)
        model = models.SequenceTagger.from_examples(learn, hidden=options.hidden, embedding=32, crf=crf)
        begin = time.perf_counter()
        train.fit(model, learn, valid=0.0, epochs=options.epochs, batch_tokens=1024, lr=5e-3, progress=False)
        found[name] = model.score([e.input for e in test], [e.label for e in test])
        whole = sum(a == e.label for a, e in zip(model.predict([e.input for e in test]), test, strict=True)) / max(1, len(test))
        print(f"{name}: {found[name]:.2%} of phonemes, {whole:.2%} of words, {time.perf_counter() - begin:.0f} s", flush=True)
    return found


if __name__ == "__main__":
    main()
