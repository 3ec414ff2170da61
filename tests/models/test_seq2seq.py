"""Seq2Seq: its whole life."""

import json
import shutil

import numpy as np
import pytest

import weft
from weft import models, train
from weft.data import Pair

PAIRS = [Pair("".join(w), "".join(reversed(w))) for w in ([a, b, c] for a in "abcd" for b in "abcd" for c in "abcd")]


@pytest.fixture(scope="module")
def trained():
    weft.manual_seed(1)
    model = models.Seq2Seq.from_pairs(PAIRS, hidden=48)
    train.fit(model, PAIRS, valid=0.1, epochs=25, batch_tokens=64, lr=1e-2, progress=False)
    return model


@pytest.mark.slow
def test_it_learns_to_reverse(trained):
    found = train.evaluate(trained, PAIRS, beam=2)
    assert found.sequence_error_rate < 0.1
    result = trained.generate("abc", beam=3, n_best=3)
    assert result[0].text == "cba" and result[0].score >= result[1].score >= result[2].score
    assert result[0].alignment.shape == (4, 3) and result[0].alignment[0].argmax() == 2
    assert result[0].source == list("abc") and result[0].target == list("cba")


@pytest.mark.slow
def test_saved_and_loaded_it_is_the_same(trained, tmp_path):
    trained.save(tmp_path / "run")
    again = models.load(tmp_path / "run")
    for (n, a), (m, b) in zip(trained.state_dict().items(), again.state_dict().items(), strict=True):
        assert n == m and (np.asarray(a) == np.asarray(b)).all()
    assert again.generate("dcb")[0].logprob == trained.generate("dcb")[0].logprob
    assert again.options == trained.options


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("models") / "run"
    models.Seq2Seq.from_pairs(PAIRS, hidden=8).save(path)
    return path


def damage(folder, tmp_path, change):
    path = tmp_path / "damaged"
    shutil.copytree(folder, path)
    change(path)
    return path


def edit(path, **changes):
    config = json.loads((path / "config.json").read_text())
    (path / "config.json").write_text(json.dumps({**config, **changes}))


DAMAGES = {
    "not a model folder: config.json is missing": lambda p: (p / "config.json").unlink(),
    "not a model folder: target_vocabulary.json is missing": lambda p: (p / "target_vocabulary.json").unlink(),
    "weights.safetensors: no such file": lambda p: (p / "weights.safetensors").unlink(),
    "not a safetensors file, or cut off": lambda p: (p / "weights.safetensors").write_bytes(
        (p / "weights.safetensors").read_bytes()[:-9]
    ),
    "not the config of a Weft model": lambda p: (p / "config.json").write_text("{}"),
    "made by a newer Weft": lambda p: edit(p, format_version=99),
    "a model of kind 'Other'": lambda p: edit(p, model="Other"),
    "the weights do not fit the config": lambda p: edit(p, options={"cell": "gru", "hidden": 16}),
    "unexpected keyword argument": lambda p: edit(p, options={"colour": 1}),
    "not a vocabulary of Weft": lambda p: (p / "source_vocabulary.json").write_text("[1"),
}


@pytest.mark.parametrize("text", DAMAGES)
def test_damaged_folders_say_what_is_wrong(folder, tmp_path, text):
    with pytest.raises(weft.CheckpointError, match=text):
        models.load(damage(folder, tmp_path, DAMAGES[text]))


def test_no_such_folder(tmp_path):
    with pytest.raises(weft.CheckpointError, match="no such model folder"):
        models.load(tmp_path / "none")


def test_nothing_is_left_half_written(folder, tmp_path, monkeypatch):
    import os

    path = damage(folder, tmp_path, lambda p: None)
    before = {f.name: f.read_bytes() for f in path.iterdir()}

    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(weft.CheckpointError, match="No space left on device"):
        models.Seq2Seq.from_pairs(PAIRS, hidden=8).save(path)
    assert {f.name: f.read_bytes() for f in path.iterdir()} == before


def test_options_are_checked():
    for options, text in [({"cell": "gur"}, "cell: expected one of 'rnn', 'lstm', 'gru', got 'gur'"), ({"attention": "loud"}, "attention"),
                          ({"hidden": 7}, "an even number"), ({"dropout": 2.0}, "dropout")]:  # fmt: skip
        with pytest.raises(weft.ConfigError, match=text):
            models.Seq2Seq.from_pairs(PAIRS, **options)
    with pytest.raises(weft.ConfigError, match="at least one pair"):
        models.Seq2Seq.from_pairs([])
    model = models.Seq2Seq.from_pairs(PAIRS, hidden=8)
    for options in (
        {"beam": 0},
        {"beam": 2, "n_best": 3},
        {"max_length": 0},
        {"batch_size": 0},
        {"beam": 2, "length_penalty": "long"},
    ):
        with pytest.raises(weft.ConfigError):
            model.generate(["ab"], **options)


def test_empty_strings_and_lists_are_defined():
    model = models.Seq2Seq.from_pairs(PAIRS, hidden=8)
    assert model.generate([]) == []
    assert isinstance(model.generate("", max_length=3)[0].text, str)
    assert len(model.generate("abcd", max_length=2)[0].tokens) <= 2
    assert "parameters" in model.summary()
