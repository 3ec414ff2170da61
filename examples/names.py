"""Which language is it? A folder with a .txt file for each class, a name or word on each line, as in PyTorch's tutorial of 18 languages.

    python examples/names.py FOLDER
    python examples/names.py --make words && weft train words --task classify --epochs 5 --out run && weft predict run straße

Beside the classifier (an LSTM over characters): a bigram model of each class and Bayes' rule, the baseline. `--make` writes such a folder
with the words of $WEFT_DATA/multi30k in English, German and French that are written in one of the three alone.
"""

import argparse
import collections
import gzip
import os
import re
import time
from pathlib import Path

import numpy as np

import weft
from weft import data, models, train
from weft.data.labelled import split_labelled

LANGUAGES = {"en": "English", "de": "German", "fr": "French"}


def make(folder, source):
    """A folder of words, those of one language alone."""
    words = {}
    for language in LANGUAGES:
        text = gzip.decompress((source / f"train.{language}.gz").read_bytes()).decode().lower()
        words[language] = set(re.findall(r"[^\W\d_]{2,}", text))
    count = collections.Counter(w for some in words.values() for w in some)
    folder.mkdir(parents=True, exist_ok=True)
    for language, name in LANGUAGES.items():
        lines = sorted(w for w in words[language] if count[w] == 1)
        (folder / f"{name}.txt").write_text("".join(f"{w}\n" for w in lines))


def bigrams(learn, check):
    """How often Bayes' rule over a bigram model of each class is right."""
    classes = sorted({e.label for e in learn})
    letters = data.Vocabulary.from_texts([e.input for e in learn], "character")
    scores = []
    for name in classes:
        model, texts = models.MarkovModel(letters, order=2), [e.input for e in learn if e.label == name]
        for text in texts:
            model.count(letters.encode(text))
        scores.append(model.score([e.input for e in check]) + np.log(len(texts) / len(learn)))
    said = np.argmax(scores, 0)
    return float(np.mean([classes[i] == e.label for i, e in zip(said, check, strict=True)]))


def main(arguments=None):
    """The command line; returns the shares that the classifier and the bigrams name right."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path, nargs="?", help="with a .txt file for each class")
    parser.add_argument("--make", type=Path, metavar="FOLDER", help="write a folder of words, and no more")
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("WEFT_DATA", "data")) / "multi30k")
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--hidden", type=int, default=128)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    if options.make:
        make(options.make, options.data)
        return None
    if options.folder is None:
        parser.error("expected a folder")
    learn, check = split_labelled(data.read_folder(options.folder), 0.1, by_label=True)
    baseline = bigrams(learn, check)
    weft.manual_seed(options.seed)
    model = models.SequenceClassifier.from_examples(learn, cell="lstm", hidden=options.hidden, dropout=0.2)
    begin, batch = time.perf_counter(), max(64, min(1024, sum(len(e.input) for e in learn) // 16))
    train.fit(model, learn, valid=0.0, epochs=options.epochs, batch_tokens=batch, lr=3e-3, progress=False)
    right = model.score([e.input for e in check], [e.label for e in check])
    print(
        f"{len(learn):,} names of {len(model.labels)} classes to learn from, {len(check):,} to check with: right {right:.1%} after "
        f"{time.perf_counter() - begin:.0f} s, bigrams {baseline:.1%}"
    )
    return right, baseline


if __name__ == "__main__":
    main()
