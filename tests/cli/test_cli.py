"""The command line in processes of its own, as a user has it: one clear line for every mistake, no traceback."""

import json
import os
import subprocess
import sys

import pytest


def weft(*arguments, stdin=None, cwd=None, **environment):
    command = [sys.executable, "-m", "weft", *map(str, arguments)]
    stdin = stdin.encode() if isinstance(stdin, str) else stdin
    done = subprocess.run(command, input=stdin, capture_output=True, cwd=cwd, timeout=300, env={**os.environ, **environment})
    done.out, done.err = done.stdout.decode(), done.stderr.decode()
    assert "Traceback" not in done.err, done.err
    return done


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A model trained by the command line on a user's own file."""
    folder = tmp_path_factory.mktemp("cli")
    pairs = folder / "pairs.tsv"
    words = ["".join(w) for w in ([a, b, c] for a in "abcd" for b in "abcd" for c in "abcd")]
    pairs.write_text("".join(f"{w}\t{w[::-1]}\n" for w in words))
    done = weft("train", pairs, "--out", folder / "run", "--epochs", 3, "--hidden", 32, "--seed", 7, "--threads", 2)
    assert done.returncode == 0, done.err
    assert "epoch 3" in done.out and f"weft predict {folder / 'run'} TEXT" in done.out
    return folder


def test_the_version():
    import weft as package

    done = weft("--version")
    assert (done.returncode, done.out, done.err) == (0, f"weft {package.__version__}\n", "")


@pytest.mark.slow
def test_train_predict_evaluate_info(run):
    summary = json.loads((run / "run/summary.json").read_text())
    assert summary["seed"] == 7 and summary["threads"] == 2 and summary["steps"] > 0 and summary["words_per_second"] > 0
    two = weft("predict", run / "run", "abc", "dd")
    assert two.returncode == 0 and len(two.out.splitlines()) == 2
    lines = weft("predict", run / "run", stdin="abc\ndd\n")
    assert lines.out == two.out
    found = weft("evaluate", run / "run", run / "pairs.tsv", "--json")
    numbers = json.loads(found.out)
    assert numbers["token_error_rate"] >= 0 and 0 <= numbers["sequence_error_rate"] <= 1 and numbers["sources"] == 64
    assert "Seq2Seq: cell=gru" in weft("info", run / "run").out
    assert "instruction set" in weft("info").out


@pytest.mark.slow
def test_a_transformer_has_the_same_life(run):
    out = run / "transformer"
    sizes = ("--model", "transformer", "--hidden", 32, "--heads", 2, "--layers", 1)
    done = weft("train", run / "pairs.tsv", "--out", out, "--epochs", 2, "--quiet", *sizes)
    assert done.returncode == 0, done.err
    assert json.loads((out / "config.json").read_text())["model"] == "Transformer"
    assert weft("predict", out, "abc", "--beam", 2).returncode == 0
    assert json.loads(weft("evaluate", out, run / "pairs.tsv", "--json", "--beam", 1).out)["token_error_rate"] >= 0
    wrong = weft("train", run / "pairs.tsv", "--out", run / "x", "--model", "transformer", "--hidden", 30, "--heads", 4)
    assert wrong.returncode == 2 and "num_heads: expected a divisor of embed_dim 30, got 4" in wrong.err


@pytest.mark.slow
def test_threads_and_isa_change_no_bit_of_a_training(run):
    weights = []
    for i, extra in enumerate([{}, {"WEFT_ISA": "portable"}, {"WEFT_ISA": "avx2"}]):
        out = run / f"again{i}"
        done = weft(
            "train", run / "pairs.tsv", "--out", out, "--epochs", 1, "--hidden", 16, "--quiet", "--threads", 1 + i % 2, **extra
        )
        if "on this machine" in done.err:
            continue
        assert done.returncode == 0, done.err
        weights.append((out / "weights.safetensors").read_bytes())
    assert len(set(weights)) == 1


@pytest.mark.slow
def test_the_learning_rate_and_the_batches_are_those_asked_for(run):
    sizes, weights = ("--epochs", 1, "--hidden", 16, "--quiet"), []
    for i, extra in enumerate([(), ("--lr", "0.002", "--batch-tokens", 2048), ("--lr", "1e-5"), ("--batch-tokens", 128)]):
        out = run / f"rates{i}"
        done = weft("train", run / "pairs.tsv", "--out", out, *sizes, *extra)
        assert done.returncode == 0, done.err
        weights.append((out / "weights.safetensors").read_bytes())
    # Those of fit, and two other ways to learn.
    assert weights[0] == weights[1] and len(set(weights)) == 3


@pytest.mark.slow
def test_the_demo_on_a_slice_end_to_end(tmp_path):
    done = weft("demo", "--limit", 400, "--epochs", 1, "--words", "seoul,tolkien", "--out", "runs/demo", cwd=tmp_path)
    assert done.returncode == 0, done.err
    assert "seoul " in done.out and "weft predict runs/demo seoul" in done.out and "Where the network looked" in done.out
    folder = tmp_path / "runs/demo"
    names = {f.name for f in folder.iterdir()}
    assert {
        "weights.safetensors",
        "config.json",
        "source_vocabulary.json",
        "target_vocabulary.json",
        "metrics.jsonl",
        "summary.json",
    } <= names
    summary = json.loads((folder / "summary.json").read_text())
    keys = {"test_per", "test_wer", "train_seconds", "words_per_second", "parameters", "threads", "isa", "seed", "format_version"}
    assert keys <= set(summary) and 0 < summary["test_wer"] <= 1
    assert weft("predict", folder, "seoul").returncode == 0
    again = weft("demo", "--limit", 400, "--epochs", 1, "--quiet", "--out", "runs/demo", cwd=tmp_path)
    assert again.returncode == 0


MISTAKES = [
    ((), 2, "expected a command"),
    (("fly",), 2, "invalid choice: 'fly'"),
    (("train", "PAIRS", "--out", "x", "--fast"), 2, "unrecognized arguments: --fast"),
    (("train", "PAIRS"), 2, "the following arguments are required: --out"),
    (("train", "PAIRS", "--out", "x", "--lr", "nan"), 2, "--lr: expected a number above 0, got 'nan'"),
    (("train", "PAIRS", "--out", "x", "--batch-tokens", "0"), 2, "--batch-tokens: expected a whole number of at least 1, got 0"),
    (("train", "PAIRS", "--out", "x", "--epochs", "0"), 2, "--epochs: expected a whole number from 1 to 100000, got 0"),
    (("train", "PAIRS", "--out", "x", "--threads", "0"), 2, "--threads: expected a whole number from 1 to 1024, got 0"),
    (("train", "PAIRS", "--out", "x", "--hidden", "7"), 2, "hidden: expected an even number"),
    (("train", "none.tsv", "--out", "x"), 1, "none.tsv: no such file"),
    (("train", "empty.tsv", "--out", "x"), 1, "empty.tsv: the file holds no pairs"),
    (("train", "notab.tsv", "--out", "x"), 1, "notab.tsv:2: expected a source, a tab and a target, got no tab"),
    (("train", "wide.tsv", "--out", "x"), 1, "wide.tsv:1: expected a source, a tab and a target, got 3 columns"),
    (("train", "latin.tsv", "--out", "x"), 1, "latin.tsv:1: not UTF-8 (byte 0xe9)"),
    (("train", "blank.tsv", "--out", "x"), 1, "blank.tsv:1: the source is empty"),
    (("train", "long.tsv", "--out", "x"), 1, "long.tsv:1: the source has 10000 characters"),
    (("train", "PAIRS", "--out", "empty.tsv/x", "--epochs", "1", "--quiet"), 1, "the folder could not be made"),
    (("train", "PAIRS", "--out", "RUN"), 2, "there is a model already"),
    (("demo", "--out", "RUN"), 2, "holds a model that is not a demo's"),
    (("demo", "--limit", "200", "--words", "naïve", "--out", "x"), 1, "has never seen the characters 'ï'"),
    (("predict", "none", "abc"), 1, "none: no such model folder"),
    (("predict", ".", "abc"), 1, "not a model folder: config.json is missing"),
    (("predict", "RUN", "abz"), 1, "'abz': the model has never seen the characters 'z'"),
    (("predict", "RUN", ""), 1, "'': the text is empty"),
    (("predict", "RUN", "a" * 10_000), 1, "the text has 10000 characters, at most 1000 are allowed"),
    (("predict", "RUN", "--beam", "0", "a"), 2, "--beam: expected a whole number from 1 to 1000, got 0"),
    (("evaluate", "RUN", "strange.tsv"), 1, "strange.tsv:2: the model has never seen the characters 'q'"),
]


@pytest.mark.slow
@pytest.mark.parametrize("arguments, code, text", MISTAKES, ids=[" ".join(m[0])[:50] or "nothing" for m in MISTAKES])
def test_mistakes_are_one_line_and_destroy_nothing(run, arguments, code, text):
    files = {"empty.tsv": b"", "notab.tsv": b"a\tb\nab\n", "wide.tsv": b"a\tb\tc\n", "latin.tsv": b"caf\xe9\tb\n", "blank.tsv": b"\tb\n",
             "long.tsv": b"x" * 10_000 + b"\tb\n", "strange.tsv": b"abc\tcba\nabq\tqba\n"}  # fmt: skip
    for name, content in files.items():
        (run / name).write_bytes(content)
    before = {p: p.read_bytes() for p in (run / "run").iterdir()}
    names = {"PAIRS": "pairs.tsv", "RUN": "run"}
    done = weft(*[names.get(a, a) for a in arguments], cwd=run)
    assert done.returncode == code and text in done.err, done.err
    assert len(done.err.strip().splitlines()) == 1, done.err
    assert {p: p.read_bytes() for p in (run / "run").iterdir()} == before


@pytest.mark.slow
def test_bad_lines_on_standard_input_are_named(run):
    done = weft("predict", run / "run", stdin=b"abc\n\xff\n")
    assert done.returncode == 1 and "<stdin>:2: not UTF-8 (byte 0xff)" in done.err
    done = weft("predict", run / "run", stdin="abc\nxyz\n")
    assert (
        done.returncode == 1 and "<stdin>:2: the model has never seen the characters 'x', 'y', 'z'" in done.err and done.out == ""
    )
    assert weft("predict", run / "run", "--allow-unknown", stdin="xyz\n").returncode == 0


@pytest.mark.slow
@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs a full device")
def test_no_space_left(run):
    done = subprocess.run(
        ["bash", "-c", f"ulimit -f 8; trap '' XFSZ; {sys.executable} -m weft train pairs.tsv --out small --epochs 1 --hidden 64 --quiet"],
        capture_output=True, text=True, cwd=run, timeout=120,
    )  # fmt: skip
    assert done.returncode == 1 and "could not be written" in done.stderr and "Traceback" not in done.stderr, done.stderr
    assert not (run / "small/weights.safetensors").exists()


def test_inspect(run, tmp_path):
    pytest.importorskip("matplotlib")
    done = weft("inspect", run / "run", "abc", "--out", tmp_path / "map.png", "--best", 2)
    assert done.returncode == 0 and done.out.startswith("1. ") and "\n2. " in done.out and "</s>" in done.out
    assert (tmp_path / "map.png").stat().st_size > 1000
    assert "gradient" in weft("inspect", run / "run", "abc", "--map", "saliency").out
    for arguments, code, text in (
        (("zzz",), 1, "never seen the characters 'z'"),
        (("abc", "--map", "head"), 2, "expected one with MultiheadAttention"),
        (("abc", "--out", tmp_path / "no" / "map.png"), 1, "could not be written"),
        (("abc", "--map", "nonsense"), 2, "invalid choice"),
    ):
        done = weft("inspect", run / "run", *arguments)
        assert done.returncode == code and text in done.err, done.err
