"""The examples of sequences to sequences, labels, series and pictures, on little data."""

import gzip

import numpy as np
import pytest
from examples.test_examples import digits, load  # noqa: F401

pytestmark = pytest.mark.slow


def test_reverse_task():
    pytest.importorskip("sacrebleu")
    found = load("reverse_task").main(["--count", "1500", "--epochs", "3", "--longest", "5"])
    assert 0 <= found[1][1] <= 1 and found[1][0] >= 0


def test_addition():
    module = load("addition")
    assert module.main(["--digits", "1", "--count", "40", "--hidden", "48", "--epochs", "2"]) >= 0
    asked = module.questions(50, 3, np.random.default_rng(0))
    assert len({frozenset(p.source.split("+")) for p in asked}) == 50
    assert all(sum(map(int, p.source.split("+"))) == int(p.target) for p in asked)


@pytest.fixture
def dates(tmp_path):
    rng = np.random.default_rng(0)
    rows = [
        f"de_DE\t{d}.{m}.{y}\t{y}-{m:02}-{d:02}\n"
        for d, m, y in zip(*rng.integers([[1], [1], [1990]], [[29], [13], [1999]], (3, 120)))
    ]
    rows[0], rows[1] = "en_US\tMay 3 1990\t1990-05-03\n", "fr_FR\t3 mai 1990\t1990-05-03\n"
    (tmp_path / "train.tsv.gz").write_bytes(gzip.compress("".join(rows).encode()))
    for name in ("valid.tsv", "test.tsv"):
        (tmp_path / name).write_text("".join(rows[:20]))
    return tmp_path


def test_dates_and_scores(dates, tmp_path):
    pytest.importorskip("matplotlib")
    exact = load("dates").main(["--folder", str(dates), "--epochs", "2", "--hidden", "16", "--out", str(tmp_path / "a.png")])
    assert 0 <= exact <= 1 and (tmp_path / "a.png").stat().st_size > 1000
    import sys
    from pathlib import Path

    sys.path.insert(0, str(Path(__file__).parents[2] / "examples"))
    found = load("attention_scores").main(["--folder", str(dates), "--epochs", "1", "--hidden", "16", "--seeds", "1"])
    assert len(found) == 11 and all(p[0] > 1 for p, _ in found.values())


def test_scheduled_sampling():
    found = load("scheduled_sampling").main(["--limit", "300", "--epochs", "1", "--hidden", "16", "--seeds", "1"])
    assert len(found) == 5


def test_char_model(tmp_path):
    text = tmp_path / "t.txt"
    text.write_text("the weaver weaves the weft through the warp\n" * 80)
    losses = load("char_model").main(["--text", str(text), "--hidden", "64", "--epochs", "4", "--rows", "2", "--window", "32"])
    assert losses["lstm"] < 1.0 and losses["5-gram"] < losses["2-gram"] < losses["1-gram"]


def test_translation(tmp_path):
    pytest.importorskip("sacrebleu")
    folder = tmp_path / "tatoeba-eng-kor"
    folder.mkdir()
    words = ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"]
    rng = np.random.default_rng(0)
    rows = [" ".join(rng.choice(words, 6 + i % 4)) for i in range(200)]
    (folder / "kor.txt").write_text("".join(f"{r}.\t{' '.join(reversed(r.split()))}.\tsomebody\n" for r in rows))
    common = ["--data", str(tmp_path), "--language", "kor", "--hidden", "32", "--epochs", "1", "--longest", "16"]
    found = load("translation").main(common)
    assert len(found) == 4


def test_the_share_of_words_that_are_turned_round():
    """Alignments [target and end, source]; where the end looks does not matter."""
    straight, back = np.eye(4), np.eye(4)[[2, 1, 0, 3]]
    turned = load("translation").turned_round
    assert (turned([straight]), turned([back]), turned([straight, back])) == (0.0, 1.0, 0.5)
    assert turned([np.eye(1), np.ones((3, 2))]) == 0.0


def test_curves_of_a_table(tmp_path):
    pytest.importorskip("matplotlib")
    table = tmp_path / "results.md"
    table.write_text(
        "Words\n\n| form | all | 3-5 | 6-8 | time |\n|---|---|---|---|---|\n| none | 3.0 | 4.0 | 2.0 | 9 s |\n| other | 1 | 2 |\n"
    )
    found = load("translation").main(["--table", str(table), "--curves", str(tmp_path / "curves.png")])
    assert found == {"none": [3.0, 4.0, 2.0]} and (tmp_path / "curves.png").stat().st_size > 1000
    with pytest.raises(SystemExit):
        load("translation").main(["--table", str(table)])


def test_timeseries_stress_and_forecast(tmp_path):
    header = "@univariate true\n@classLabel true a b\n@data\n"
    rows = "".join(f"{','.join(str((v + i) % 3 + i % 2) for v in range(6))}:{'ab'[i % 2]}\n" for i in range(20))
    for part in ("TRAIN", "TEST"):
        (tmp_path / f"Toy_{part}.ts").write_text(header + rows)
    found = load("timeseries").main(["--folder", str(tmp_path), "--sets", "Toy", "--epochs", "20", "--seeds", "1"])
    assert found["Toy"][0] > 0.8
    lines = "".join(
        f"word{i} {' '.join(['K', 'AE1' if i % 2 else 'AE0', 'T', 'IH0'][: 2 + i % 3] + ['T'] * (i % 9))}\n" for i in range(200)
    )
    (tmp_path / "d.gz").write_bytes(gzip.compress(lines.encode()))
    found = load("stress").main(["--file", str(tmp_path / "d.gz"), "--hidden", "16", "--epochs", "1"])
    assert set(found) == {"unigram", "LSTM", "LSTM + CRF"}
    (tmp_path / "daily-min-temperatures.csv").write_text(
        "Date,Temp\n" + "".join(f"{i},{np.sin(i / 9):.4f}\n" for i in range(400))
    )
    rows = load("forecast").main(["--folder", str(tmp_path), "--series", "temperature", "--epochs", "2", "--seeds", "1"])
    assert rows[0][0] < rows[0][2]


def test_pictures(digits, tmp_path):  # noqa: F811
    pytest.importorskip("matplotlib")
    right, real = load("draw_digits").main(
        [
            "--folder",
            str(digits),
            "--limit",
            "64",
            "--hidden",
            "32",
            "--layers",
            "1",
            "--each",
            "1",
            "--out",
            str(tmp_path / "d.png"),
        ]
        + [f"--{which}epochs={n}" for which, n in (("tokenizer-", 1), ("", 1), ("judge-", 1))]
    )
    assert 0 <= right <= 1 and 0 <= real <= 1 and (tmp_path / "d.png").stat().st_size > 1000
    found = load("draw_shapes").main(
        ["--tokenizer-epochs", "1", "--epochs", "1", "--share", "0.02", "--hidden", "32", "--layers", "1", "--test", "40"]
        + ["--out", str(tmp_path / "s.png")]
    )
    assert set(found) == {"training", "never seen"} and (tmp_path / "s.png").stat().st_size > 1000


def test_names(tmp_path):
    rng = np.random.default_rng(0)
    for name, letters in (("Low", "abcde"), ("High", "vwxyz")):
        (tmp_path / f"{name}.txt").write_text("".join("".join(rng.choice(list(letters), 5)) + "\n" for _ in range(60)))
    right, bigrams = load("names").main([str(tmp_path), "--epochs", "8", "--hidden", "16"])
    assert right > 0.8 and bigrams > 0.9
