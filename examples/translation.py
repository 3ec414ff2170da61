"""English to French (or Korean) with and without attention: what attention does to long sentences (Bahdanau et al. 2015, figure 2).

    python examples/translation.py --curves docs/translation.png          # the four forms, BLEU by source length
    python examples/translation.py --language kor --forms attention --target-tokens bpe --vocabulary 1500 --longest 12 \
        --score additive --hidden 256 --dropout 0.4 --batch-tokens 384 --epochs 30    # the order of words turned round

$WEFT_DATA/tatoeba-eng-fra or -kor (CC BY 2.0 FR). A source is in one part only, so a test sentence was never seen; sentences of 3 to 30
words, lower case, punctuation apart. BLEU counts words, of Korean characters. Forms: GRU without attention, the same with the source read
from its end (Sutskever et al. 2014), the same with its state read at every step (Cho et al. 2014), with attention (Bahdanau et al. 2015).
"""

import argparse
import gzip
import itertools
import os
import re
import time
from pathlib import Path

import numpy as np

import weft
from weft import interpret, models, train
from weft.data import Pair, split_pairs
from weft.interpret.maps import new_axes, save_picture

FORMS = {
    "none": {"attention": "none"},
    "none, source reversed": {"attention": "none", "reverse_source": True},
    "none, state at every step": {"attention": "none", "context": "every"},
    "attention": {"attention": "general"},
}
FILES = {"fra": "tatoeba-eng-fra/fra.txt.gz", "kor": "tatoeba-eng-kor/kor.txt"}
#: What sacrebleu counts: Korean writes particles and endings on to its words, so characters say more than words.
UNITS = {"fra": "none", "kor": "char"}


def read(path, longest):
    """Pairs of sentences of 3 to `longest` words."""
    content = path.read_bytes()
    lines = (gzip.decompress(content) if path.suffix == ".gz" else content).decode().splitlines()
    apart = [[re.sub(r"([?.!,;:\"])", r" \1 ", side.lower()) for side in line.split("\t")[:2]] for line in lines]
    return [Pair(*(" ".join(s.split()) for s in sides)) for sides in apart if 3 <= len(sides[0].split()) <= longest]


def read_table(path):
    """The columns' names and BLEU by form, from the table that a run has printed, alone or in a page."""
    rows = [[cell.strip() for cell in line.strip("|\n ").split("|")] for line in path.read_text(encoding="utf-8").splitlines()]
    names = next(row[2:-1] for row in rows if row[:2] == ["form", "all"])
    return names, {row[0]: [float(cell) for cell in row[1:-1]] for row in rows if row[0] in FORMS and len(row) == len(names) + 3}


def turned_round(alignments):
    """The share of pairs of target tokens that look at the source in the other order than they are said in: 0 is word by word, 1 from the
    end. Each token looks where its attention is greatest; the sentence's end does not count."""
    turned = kept = 0
    for alignment in alignments:
        places = alignment[:-1].argmax(1)
        first, second = np.triu_indices(len(places), 1)
        steps = places[second] - places[first]
        turned, kept = turned + int((steps < 0).sum()), kept + int((steps > 0).sum())
    return turned / max(turned + kept, 1)


def draw_curves(names, found, path):
    """BLEU over the words of the source, a curve a form, to `path`."""
    ax = new_axes(6, 4)
    for form, scores in found.items():
        ax.plot(names, scores[1:], marker="o", label=form)
    ax.set(xlabel="words of the source", ylabel="BLEU", ylim=(0, None))
    ax.legend()
    save_picture(ax, path)


def main(arguments=None):
    """The command line; returns BLEU by form and bucket of lengths."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--language", default="fra", choices=list(FILES))
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("WEFT_DATA", "data")))
    parser.add_argument("--forms", nargs="+", default=list(FORMS), choices=list(FORMS))
    parser.add_argument("--longest", type=int, default=30)
    parser.add_argument("--limit", type=int, default=60_000, help="pairs, the same number of every length where there are enough")
    parser.add_argument("--vocabulary", type=int, default=10_000, help="words of each language; others are <unk>")
    parser.add_argument("--target-tokens", default="word", choices=["word", "character", "bpe", "unigram"])
    parser.add_argument("--dropout", type=float, default=0.2)
    parser.add_argument("--score", default="general", help="of the form with attention")
    parser.add_argument("--batch-tokens", type=int, default=1536)
    parser.add_argument("--hidden", type=int, default=256)
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="a picture of an alignment")
    parser.add_argument("--curves", type=Path, help="a picture of BLEU by the length of the source")
    parser.add_argument("--table", type=Path, help="the printed table of runs before: draws --curves of it, and trains nothing")
    options = parser.parse_args(arguments)
    if options.table:
        if not options.curves:
            parser.error("--table: expected --curves too, the picture to draw")
        names, found = read_table(options.table)
        draw_curves(names, found, options.curves)
        return found
    import sacrebleu

    learn, test = split_pairs(read(options.data / FILES[options.language], options.longest), 0.05)
    # The corpus is short sentences mostly: long ones are all kept, and of the short ones so many that --limit is met.
    order = np.lexsort(
        (np.random.default_rng(options.seed).permutation(len(learn)), [-min(len(p.source.split()), 12) for p in learn])
    )
    learn = [learn[i] for i in order[: options.limit]]
    first = {p.source: p for p in reversed(test)}
    test = list(first.values())
    lengths = np.array([len(p.source.split()) for p in test])
    edges = [*(edge for edge in (3, 6, 9, 12, 16, 21) if edge <= options.longest), options.longest + 1]
    print(f"{len(learn):,} pairs to learn from, {len(test):,} to test with", flush=True)
    names = [f"{a}-{b - 1}" for a, b in itertools.pairwise(edges)]
    print(f"| form | all | {' | '.join(names)} | time |\n|---|---|{'---|' * len(names)}---|", flush=True)
    found = {}
    for form in options.forms:
        weft.manual_seed(options.seed)
        how = {**FORMS[form], **({"attention": options.score} if form == "attention" else {})}
        model = models.Seq2Seq.from_pairs(
            learn, tokens=("word", options.target_tokens), vocabulary_size=options.vocabulary, cell="gru", hidden=options.hidden,
            dropout=options.dropout, **how,
        )  # fmt: skip
        begin = time.perf_counter()
        train.fit(model, learn, valid=0.01, epochs=options.epochs, batch_tokens=options.batch_tokens, lr=2e-3, progress=False)
        seconds = time.perf_counter() - begin
        results = [r[0] for r in model.generate([p.source for p in test], beam=3)]
        scores = []
        for low, high in [(0, 999), *itertools.pairwise(edges)]:
            rows = np.flatnonzero((lengths >= low) & (lengths < high)).tolist()
            said, wished = [results[i].text for i in rows], [test[i].target for i in rows]
            scores.append(sacrebleu.corpus_bleu(said, [wished], tokenize=UNITS[options.language]).score if rows else float("nan"))
        found[form] = scores
        print(f"| {form} | {' | '.join(f'{s:.1f}' for s in scores)} | {seconds:.0f} s |", flush=True)
        if FORMS[form]["attention"] != "none":
            clear = max(
                range(len(test)),
                key=lambda i: (6 <= lengths[i] <= 9) * sacrebleu.sentence_bleu(results[i].text, [test[i].target]).score,
            )
            share = turned_round([r.alignment for r in results])
            print(f"{share:.0%} of the pairs of words are said in the other order than they are read in")
            print(f"{test[clear].source}\n{interpret.draw_attention(results[clear])}")
            if options.out:
                interpret.plot_attention(results[clear], options.out)
    if options.curves:
        draw_curves(names, found, options.curves)
    return found


if __name__ == "__main__":
    main()
