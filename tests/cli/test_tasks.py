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
    done = weft("inspect", run, "a b", "--out", tmp_path / "map.png")
    assert done.out.startswith("V C\n\ngradient, the largest is 1:") and (tmp_path / "map.png").stat().st_size > 1000, done.err
    done = weft("inspect", run, "a b", "--map", "attention")
    assert done.returncode == 2 and "--map attention: expected saliency with a SequenceTagger" in done.err
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
        (("inspect", run, "abc"), 2, "the model reads sequences of numbers; interpret.saliency takes them from Python"),
        (
            ("inspect", tmp_path / "run", "abc"),
            2,
            "expected a model from sequence to sequence, or of labels, got a LanguageModel",
        ),
        (("train", text, "--out", tmp_path / "no", "--task", "classify"), 2, "expected a .csv, .tsv, .jsonl or .ts file"),
        (("train", text, "--out", tmp_path / "no", "--cell", "transformer"), 2, "expected --model transformer for pairs"),
        (("train", text, "--out", tmp_path / "no", "--task", "sing"), 2, "invalid choice"),
        (("train", text, "--out", tmp_path / "no", "--dropout", "2"), 2, "expected a number from 0 to 1"),
    ):
        done = weft(*arguments)
        assert done.returncode == code and message in done.err, done.err


@pytest.mark.slow
def test_generate(tmp_path):
    table = tmp_path / "t.csv"
    table.write_text("kind,words\n" + "".join(f"{'low' if t[0] in 'ab' else 'high'},{t}\n" for t in texts()))
    columns = ("--input", "kind", "--label", "words")
    run = learn(tmp_path, table, "--task", "generate", *columns)
    low, high = weft("predict", run, "low", "high").out.split()
    assert set(low) <= set("ab") and set(high) <= set("xy")
    assert set(weft("predict", run, "high", "--temperature", "1", "--seed", "5").out.strip()) <= set("xy")
    assert "loss" in weft("evaluate", run, table, *columns).out
    done = weft("predict", run, "middle")
    assert done.returncode == 1 and "expected one seen in training ('high', 'low'), got 'middle'" in done.err
    numbers = tmp_path / "n.jsonl"
    numbers.write_text('{"kind": "a", "age": 5}\n{"kind": "b", "age": 6}\n')
    done = weft("train", numbers, "--task", "generate", "--input", "kind", "--label", "age", "--out", tmp_path / "none")
    assert done.returncode == 1 and "n.jsonl: example 1: expected a text as 'age', got 5" in done.err
    series = tmp_path / "s.ts"
    rows = "".join(f"{','.join(str(round(np.sin(i / 2) * k, 3)) for i in range(8))}:{'ab'[k > 1]}\n" for k in (1, 2) * 10)
    series.write_text(
        "@problemName S\n@univariate true\n@equalLength true\n@seriesLength 8\n@classLabel true a b\n@data\n" + rows
    )
    done = weft("train", series, "--out", tmp_path / "series", *SMALL, "--task", "generate")
    assert done.returncode == 0, done.err
    assert len(weft("predict", tmp_path / "series", "a", "b", "--steps", "8").out.splitlines()) == 17
    assert "--steps: expected how many" in weft("predict", tmp_path / "series", "a").err


@pytest.mark.slow
def test_draw(tmp_path):
    rng = np.random.default_rng(0)
    file = tmp_path / "pictures.npz"
    dark = rng.integers(0, 2, 60).astype(bool)
    images = np.where(dark[:, None, None], 20, 230) + rng.integers(-9, 9, (60, 8, 8))
    np.savez(file, images=images.astype(np.uint8), captions=np.where(dark, "a dark one", "a light one"))
    run = learn(tmp_path, file, "--task", "draw", "--codes", 8, "--layers", 1, "--heads", 2, "--tokenizer-epochs", 20)
    out = tmp_path / "drawn.npz"
    assert "4 pictures" in weft("predict", run, "a dark one", "a light one", "--n", 2, "--out", out).out
    drawn = np.load(out)
    assert drawn["images"].shape == (4, 8, 8, 1) and (drawn["images"][:2].mean() < 100) and (drawn["images"][2:].mean() > 150)
    assert drawn["captions"].tolist() == ["a dark one"] * 2 + ["a light one"] * 2
    assert "code accuracy" in weft("evaluate", run, file).out
    assert "--out: expected a file for the pictures" in weft("predict", run, "a dark one").err
    assert "expected at least one caption" in weft("predict", run, "--out", tmp_path / "none.png", stdin="").err
    pytest.importorskip("matplotlib", reason="pictures need matplotlib")
    assert weft("predict", run, "a dark one", "--out", tmp_path / "drawn.png").returncode == 0
    assert (tmp_path / "drawn.png").stat().st_size > 1000


def test_pictures_that_are_none(tmp_path):
    def refused(**arrays):
        np.savez(tmp_path / "p.npz", **arrays)
        done = weft("train", tmp_path / "p.npz", "--task", "draw", "--out", tmp_path / "none")
        assert done.returncode == 1 and len(done.err.splitlines()) == 1 and not (tmp_path / "none").exists()
        return done.err

    images = np.zeros((3, 8, 8), np.uint8)
    assert "expected arrays 'images' and 'captions'" in refused(images=images)
    assert "expected uint8 [N, H, W] or [N, H, W, C], got float64" in refused(images=images / 2, captions=["a"] * 3)
    assert "expected a text for each of 3 images" in refused(images=images, captions=["a"] * 2)
    assert "could not be read: Object arrays" in refused(images=images, captions=np.array([{"a": 1}] * 3, object))
    (tmp_path / "p.npz").write_bytes(b"not a zip")
    assert "could not be read" in weft("train", tmp_path / "p.npz", "--task", "draw", "--out", tmp_path / "none").err
    (tmp_path / "p.txt").write_text("a")
    done = weft("train", tmp_path / "p.txt", "--task", "draw", "--out", tmp_path / "none")
    assert done.returncode == 2 and "expected a .npz file" in done.err
