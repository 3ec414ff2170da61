"""The command line beside pairs: every task from file to answer."""

import json

import numpy as np
import pytest
from cli.test_cli import weft

SMALL = ("--epochs", 30, "--hidden", 16, "--quiet", "--seed", 3)


def learn(tmp_path, file, *arguments):
    done = weft("train", file, "--out", tmp_path / "run", *SMALL, *arguments)
    assert done.returncode == 0, done.err
    assert "weft predict" in done.out and (tmp_path / "run/metrics.jsonl").exists()
    assert weft("info", tmp_path / "run").returncode == 0
    return tmp_path / "run"


def texts():
    rng = np.random.default_rng(0)
    return ["".join(rng.choice(list("ab" if i % 2 else "xy"), 4)) for i in range(60)]


@pytest.mark.slow
def test_classify(tmp_path):
    table = tmp_path / "t.csv"
    table.write_text("words,kind\n" + "".join(f"{t},{'low' if t[0] in 'ab' else 'high'}\n" for t in texts()))
    columns = ("--input", "words", "--label", "kind")
    run = learn(tmp_path, table, "--task", "classify", *columns, "--pool", "mean")
    assert weft("predict", run, "abba", "xyxy").out.split()[::2] == ["low", "high"]
    assert weft("predict", run, stdin="abab\n").out.startswith("low\t")
    assert json.loads(weft("evaluate", run, table, *columns, "--json").out)["accuracy"] > 0.9
    done = weft("evaluate", run, table)
    assert done.returncode == 1 and "t.csv:2: expected a column 'text', there are words, kind" in done.err


@pytest.mark.slow
def test_a_folder_of_texts_and_a_transformer(tmp_path):
    folder = tmp_path / "names"
    folder.mkdir()
    for name, letters in (("Low", "ab"), ("High", "xy")):
        (folder / f"{name}.txt").write_text("".join(f"{t}\n" for t in texts() if t[0] in letters))
    run = learn(tmp_path, folder, "--task", "classify", "--cell", "transformer", "--pool", "mean")
    assert "accuracy" in weft("evaluate", run, folder).out
    assert weft("predict", run, "abab").out.split()[0] in ("Low", "High")


@pytest.mark.slow
def test_regress_tag_and_series(tmp_path):
    table = tmp_path / "t.jsonl"
    table.write_text("".join(json.dumps({"text": t, "label": t.count("a") + 0.5}) + "\n" for t in texts()))
    run = learn(tmp_path, table, "--task", "regress")
    assert float(weft("predict", run, "aaaa").out) > float(weft("predict", run, "yyyy").out)
    assert "rmse" in weft("evaluate", run, table).out
    bad = tmp_path / "bad.tsv"
    bad.write_text("text\tlabel\nabc\tmuch\n")
    done = weft("train", bad, "--out", tmp_path / "none", "--task", "regress")
    assert done.returncode == 1 and "example 1: expected a number as 'label', got 'much'" in done.err


@pytest.mark.slow
@pytest.mark.parametrize("more", [(), ("--crf",)])
def test_tag(tmp_path, more):
    conll = tmp_path / "t.conll"
    conll.write_text("".join("".join(f"{c} {'V' if c in 'ax' else 'C'}\n" for c in t) + "\n" for t in texts()))
    run = learn(tmp_path, conll, "--task", "tag", *more)
    assert weft("predict", run, "a b y x").out.split() == ["V", "C", "C", "V"]
    assert weft("predict", run, "--file", conll).out.count("\n") == 60
    assert json.loads(weft("evaluate", run, conll, "--json").out)["token_accuracy"] > 0.9


@pytest.mark.slow
def test_forecast(tmp_path):
    table = tmp_path / "t.csv"
    table.write_text("month,count\n" + "".join(f"{i},{np.sin(i / 3):.5f}\n" for i in range(200)))
    run = learn(tmp_path, table, "--task", "forecast", "--column", "count", "--window", 16, "--horizon", 4)
    found = weft("predict", run, "--file", table, "--column", "count", "--steps", 6).out.split()
    assert len(found) == 6 and all(np.isfinite(float(v)) for v in found)
    assert "rmse linear" in weft("evaluate", run, table, "--column", "count").out
    for arguments, code, text in (
        (("predict", run, "1 2 3"), 2, "--file: expected the series"),
        (("predict", run, "--file", table), 2, "--column: expected the name of the column"),
        (
            ("train", table, "--out", tmp_path / "no", "--task", "forecast", "--column", "day"),
            1,
            "t.csv:2: expected a column 'day'",
        ),
    ):
        done = weft(*arguments)
        assert done.returncode == code and text in done.err, done.err


@pytest.mark.slow
def test_language_and_ts(tmp_path):
    text = tmp_path / "t.txt"
    text.write_text("the weaver weaves the weft\n" * 20)
    run = learn(tmp_path, text, "--task", "language")
    assert weft("predict", run, "the", "--max-length", 9).out.startswith("the")
    drawn = [weft("predict", run, "the", "--temperature", 1, "--seed", 4, "--max-length", 20).out for _ in range(2)]
    assert drawn[0] == drawn[1]
    assert json.loads(weft("evaluate", run, text, "--json").out)["perplexity"] > 1
    series = tmp_path / "t.ts"
    rows = "".join(f"{','.join(str(v + i % 2) for v in range(3 + i % 4))}:{'ab'[i % 2]}\n" for i in range(30))
    series.write_text("@univariate true\n@classLabel true a b\n@data\n" + rows)
    (tmp_path / "two").mkdir()
    run = learn(tmp_path / "two", series, "--task", "classify")
    assert set(weft("predict", run, "--file", series).out.split()[::2]) <= {"a", "b"}
    for arguments, code, message in (
        (("predict", run, "abc"), 2, "give them with --file"),
        (("inspect", run, "abc"), 2, "expected a model from sequence to sequence, got a SequenceClassifier"),
        (("train", text, "--out", tmp_path / "no", "--task", "classify"), 2, "expected a .csv, .tsv, .jsonl or .ts file"),
        (("train", text, "--out", tmp_path / "no", "--cell", "transformer"), 2, "expected --model transformer for pairs"),
        (("train", text, "--out", tmp_path / "no", "--task", "sing"), 2, "invalid choice"),
        (("train", text, "--out", tmp_path / "no", "--dropout", "2"), 2, "expected a number from 0 to 1"),
    ):
        done = weft(*arguments)
        assert done.returncode == code and message in done.err, done.err
