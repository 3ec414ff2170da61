"""Vocabularies, files, batches, the dictionary."""

import numpy as np
import pytest

import weft
from weft import data
from weft.data.pairs import hash_share
from weft.random import Generator


@pytest.mark.parametrize(
    "content, text",
    [(b"", "the file holds no pairs"), (b"\n\n", "the file holds no pairs"), (b"a\tb\nab\n", ":2: expected a source, a tab and a target, got no tab"),
     (b"a\tb\tc\n", ":1: expected a source, a tab and a target, got 3 columns"), (b"a\tb\n\xff\tc\n", r":2: not UTF-8 \(byte 0xff\)"),
     (b"a\tb\n\tc\n", ":2: the source is empty"), (b"a\t \n", ":1: the target is empty"),
     (b"a\tb\n" + b"x" * 10_000 + b"\tc\n", ":2: the source has 10000 characters, at most 1000 are allowed")],
)  # fmt: skip
def test_bad_files_name_file_and_line(tmp_path, content, text):
    path = tmp_path / "pairs.tsv"
    path.write_bytes(content)
    with pytest.raises(weft.DataError, match=f"pairs.tsv(: )?{text}"):
        data.read_pairs(path)


def test_files_that_are_not_there(tmp_path):
    with pytest.raises(weft.DataError, match="no such file"):
        data.read_pairs(tmp_path / "none.tsv")
    with pytest.raises(weft.DataError, match="is a folder"):
        data.read_pairs(tmp_path)


def test_reading_takes_windows_lines_and_marks(tmp_path):
    path = tmp_path / "pairs.tsv"
    path.write_bytes("\ufeffgrün\tgreen\r\n\r\nrot\tred".encode())
    assert data.read_pairs(path) == [("grün", "green"), ("rot", "red")]


def test_vocabulary_round_trip():
    v = data.Vocabulary.from_texts(["b a", "b c"], "word")
    assert v.tokens == ["<pad>", "<s>", "</s>", "<unk>", "b", "a", "c"]
    again = data.vocabulary_from_json(v.to_json())
    assert again.tokens == v.tokens and again.decode(again.encode("a b nothing")) == "a b <unk>"
    for bad in ("", "[]", '{"kind": "word"}', '{"tokens": 3, "kind": "word"}'):
        with pytest.raises(weft.CheckpointError, match="not a vocabulary"):
            data.vocabulary_from_json(bad)


def test_batches_hold_every_pair_once_and_keep_to_the_bound(rng):
    pairs = [data.Encoded([4] * int(rng.integers(1, 9)), [5] * int(rng.integers(1, 9))) for _ in range(200)]
    for generator in (None, Generator(3)):
        found = list(data.batches(pairs, 64, generator))
        assert sum(len(b.source) for b in found) == 200
        for b in found:
            assert b.target_in.size <= 64 and b.source.size <= 64 and b.target_in.shape == b.target_out.shape
            for row, n in enumerate(b.target_lengths):
                assert b.target_in[row, 0] == 1 and b.target_out[row, n - 1] == 2 and (b.target_out[row, n:] == 0).all()
    first, second = ([b.source.tobytes() for b in data.batches(pairs, 64, g)] for g in (Generator(1), Generator(1)))
    assert first == second


def test_splits_are_fixed_and_never_share_a_source():
    pairs = [data.Pair(f"word{i % 300}", str(i)) for i in range(600)]
    learn, check = data.split_pairs(pairs, 0.1)
    assert not {p.source for p in learn} & {p.source for p in check} and 20 < len(check) < 120
    assert hash_share("weft") == pytest.approx(0.4, abs=0.6) and hash_share("weft") == hash_share("weft")


def test_the_dictionary():
    parts = data.pronunciations()
    words = [set(p) for p in parts]
    assert sum(map(len, words)) == 126_052 and not words[0] & words[1] and not words[1] & words[2] and not words[0] & words[2]
    assert abs(len(words[0]) / 126_052 - 0.9) < 0.005 and abs(len(words[2]) / 126_052 - 0.05) < 0.005
    phonemes = {p for part in parts for variants in part.values() for v in variants for p in v.split()}
    assert len(phonemes) == 39
    everything = {**parts.train, **parts.valid, **parts.test}
    assert everything["tomato"] == ["T AH M EY T OW", "T AH M AA T OW"]
    assert len(data.pronunciations(500).train) in range(420, 480)


def test_rows_of_different_numbers():
    array, lengths = data.pad([[4, 5], [], [6]])
    assert array.tolist() == [[4, 5], [0, 0], [6, 0]] and lengths.tolist() == [2, 0, 1]
    assert data.pad([[]])[0].shape == (1, 1) and np.asarray(data.pad([[]])[1]).tolist() == [0]
