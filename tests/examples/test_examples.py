"""Every example, on little data."""

import gzip
import importlib.util
import struct
from pathlib import Path

import numpy as np
import pytest

import weft

EXAMPLES = Path(__file__).parents[2] / "examples"


def load(name):
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_vanishing_gradients(tmp_path, capsys):
    pytest.importorskip("matplotlib")
    flows = load("vanishing_gradients").main(["--steps", "60", "--hidden", "16", "--out", str(tmp_path / "flow.png")])
    share = {name: norms[0] / norms[-1] for name, norms in flows.items()}
    assert share["sigmoid RNN"] < share["tanh RNN"] < share["LSTM, forget bias 3"]
    assert (tmp_path / "flow.png").stat().st_size > 1000
    assert "sigmoid RNN" in capsys.readouterr().out


def write_idx(path, array, pack):
    content = bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()
    path.write_bytes(gzip.compress(content) if pack else content)


@pytest.fixture
def digits(tmp_path):
    """Drawn "digits": class k has its row 2k + 4 lit."""
    rng = np.random.default_rng(0)
    for part, n, pack in (("train", 1280, True), ("t10k", 64, False)):
        labels = rng.integers(0, 10, n).astype(np.uint8)
        images = rng.integers(0, 60, (n, 28, 28)).astype(np.uint8)
        images[np.arange(n), 2 * labels.astype(int) + 4] += 180
        end = ".gz" if pack else ""
        write_idx(tmp_path / f"{part}-images-idx3-ubyte{end}", images, pack)
        write_idx(tmp_path / f"{part}-labels-idx1-ubyte{end}", labels, pack)
    return tmp_path


@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])
def test_mnist_rows(digits, cell):
    score = load("mnist_rows").main(["--cell", cell, "--folder", str(digits), "--hidden", "32", "--epochs", "40"])
    assert score > 0.8


def test_broken_idx_files_are_named(digits):
    path = digits / "t10k-labels-idx1-ubyte"
    for content, text in [
        (b"\0\0\x08\x01\0\0\0\x40abc", "expected 64 bytes for shape .64., got 3"),
        (b"nonsense", "expected an idx file"),
        (b"", "expected an idx file"),
        (b"\x1f\x8bbroken", "could not be read"),
    ]:
        path.write_bytes(content)
        with pytest.raises(weft.DataError, match=text):
            weft.data.mnist(digits)
    path.unlink()
    with pytest.raises(weft.DataError, match="t10k-labels-idx1-ubyte"):
        weft.data.mnist(digits)


@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_adding_problem(cell):
    module = load("adding_problem")
    assert module.train(cell, steps=8, hidden=32, updates=400, rate=5e-3) < 0.05
    x, y = module.examples(np.random.default_rng(0), 5, 10)
    assert x.shape == (10, 5, 2) and (x[..., 1].sum(0) == 2).all()
    np.testing.assert_allclose((x[..., 0] * x[..., 1]).sum(0), y, rtol=1e-6)


def test_copy_task(capsys):
    assert load("copy_task").main(["--updates", "500", "--length", "5"]) > 0.9
    assert "copied exactly" in capsys.readouterr().out


def test_vit_mnist(digits, tmp_path):
    pytest.importorskip("matplotlib")
    score = load("vit_mnist").main(
        ["--folder", str(digits), "--hidden", "32", "--layers", "1", "--epochs", "1", "--out", str(tmp_path / "a.png")]
    )
    assert 0 <= score <= 1 and (tmp_path / "a.png").stat().st_size > 1000
    images = np.zeros((3, 28, 28), np.uint8)
    images[:, 14, 14] = 9
    moved = load("vit_mnist").shifted(images, np.random.default_rng(1))
    assert moved.shape == images.shape and (moved.sum((1, 2)) == 9).all() and (abs(np.argwhere(moved)[:, 1:] - 14) <= 2).all()


def test_layer_norm_vs_batch_norm():
    found = load("layer_norm_vs_batch_norm").main(["--updates", "120"])
    assert found["layer", 64][1] < 1e-5 < found["batch", 64][1]
    assert found["layer", 64][0] > 0.9


def test_attention_cost():
    found = load("attention_cost").main(["--lengths", "128", "1024", "--hidden", "64"])
    assert found["tiles", 1024][1] < found["stored", 1024][1]


def test_order_blind():
    found = load("order_blind").main(["--updates", "250"])
    assert found["none"][0] < 1e-5 and 0.35 < found["none"][1] < 0.65
    assert all(found[kind][0] > 1e-3 and found[kind][1] > 0.9 for kind in ("sinusoidal", "learned", "rotary"))
