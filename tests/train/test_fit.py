"""The training loop: seeds, interruption, divergence, metrics."""

import json

import numpy as np
import pytest

import weft
from weft import models, train
from weft.data import Pair
from weft.train import NotFiniteError, edit_distance, error_rates

PAIRS = [Pair("ab" * (1 + i % 3), "ba" * (1 + i % 3)) for i in range(60)]


def weights(model):
    return {n: p.numpy().copy() for n, p in model.state_dict().items()}


def fitted(seed=5, **options):
    weft.manual_seed(seed)
    model = models.Seq2Seq.from_pairs(PAIRS, hidden=12, dropout=0.1)
    history = train.fit(model, PAIRS, epochs=2, batch_tokens=100, progress=False, **options)
    return model, history


def test_the_same_seed_gives_the_same_weights_and_another_does_not():
    a, b, c = fitted()[0], fitted()[0], fitted(6)[0]
    assert all((weights(a)[n] == w).all() for n, w in weights(b).items())
    assert any((weights(a)[n] != w).any() for n, w in weights(c).items())


def test_the_folder_holds_model_and_metrics(tmp_path):
    _, history = fitted(out=tmp_path / "run")
    lines = [json.loads(line) for line in (tmp_path / "run/metrics.jsonl").read_text().splitlines()]
    assert [e["epoch"] for e in lines] == [1, 2] and lines[1]["train_loss"] == history.epochs[1].train_loss
    assert lines[0]["samples"] and models.load(tmp_path / "run").generate("ab")


def test_ctrl_c_keeps_what_was_learned(tmp_path, monkeypatch):
    weft.manual_seed(1)
    model = models.Seq2Seq.from_pairs(PAIRS, hidden=12)
    calls, loss = [], type(model).loss

    def press(self, *a, **k):
        calls.append(1)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return loss(self, *a, **k)

    monkeypatch.setattr(type(model), "loss", press)
    history = train.fit(model, PAIRS, batch_tokens=60, out=tmp_path / "run", progress=False)
    monkeypatch.undo()
    assert history.interrupted and history.steps == 3
    assert (weights(models.load(tmp_path / "run"))["output.bias"] == weights(model)["output.bias"]).all()


def test_a_loss_that_is_not_finite_names_the_culprit_and_keeps_the_last_good_model(tmp_path):
    model, _ = fitted(out=tmp_path / "run")
    good = (tmp_path / "run/weights.safetensors").read_bytes()
    with weft.no_grad():
        model.combine.weight[0, 0] = np.nan
    with pytest.raises(
        NotFiniteError, match=r"the loss is nan at step 1; the first that is not finite: parameter combine.weight"
    ):
        train.fit(model, PAIRS, out=tmp_path / "run", progress=False)
    assert (tmp_path / "run/weights.safetensors").read_bytes() == good


def test_options_are_checked_before_work_starts(tmp_path):
    model = models.Seq2Seq.from_pairs(PAIRS, hidden=8)
    for options, text in [({"epochs": 0}, "epochs: expected a whole number of at least 1, got 0"), ({"lr": 0.0}, "lr"),
                          ({"schedule": "up"}, "schedule"), ({"valid": 1.0}, "valid"), ({"batch_tokens": 0}, "batch_tokens")]:  # fmt: skip
        with pytest.raises(weft.ConfigError, match=text):
            train.fit(model, PAIRS, out=tmp_path / "never", **options)
    assert not (tmp_path / "never").exists()
    with pytest.raises(weft.DataError):
        train.fit(model, [])
    (tmp_path / "file").write_text("")
    with pytest.raises(weft.CheckpointError, match="could not be made"):
        train.fit(model, PAIRS, out=tmp_path / "file/run", progress=False)


def test_error_rates():
    assert [edit_distance(a, b) for a, b in [("kitten", "sitting"), ("", "abc"), ("abc", "abc")]] == [3, 3, 0]
    rates = error_rates([list("ab"), list("xyz")], [[list("ac"), list("ab")], [list("xy"), list("abcd")]])
    assert (rates.token, rates.sequence) == (1 / 4, 1 / 2)


@pytest.mark.parametrize("valid", [0.0, 0.2])
def test_pairs_may_be_plain_tuples_and_lists(valid):
    pairs = [Pair("ab", "ba"), Pair("bc", "cb"), Pair("ca", "ac")] * 4
    found = []
    for given in (pairs, [tuple(p) for p in pairs], [list(p) for p in pairs]):
        weft.manual_seed(1)
        model = models.Seq2Seq.from_pairs(given, hidden=8)
        found.append(train.fit(model, given, valid=valid, epochs=1, progress=False).epochs[0].train_loss)
        assert len(model.score(given)) == 12 and train.evaluate(model, given).loss > 0.0
    assert found[0] == found[1] == found[2]


@pytest.mark.parametrize("wrong", ["ab", ("a",), ("a", "b", "c"), 3])
def test_what_is_no_pair_is_named(wrong):
    pairs = [("ab", "ba"), ("bc", "cb")]
    model = models.Seq2Seq.from_pairs(pairs, hidden=8)
    for call in (
        lambda: models.Seq2Seq.from_pairs([*pairs, wrong], hidden=8),
        lambda: train.fit(model, [*pairs, wrong], progress=False),
        lambda: train.fit(model, [*pairs, wrong], valid=0.0, progress=False),
        lambda: model.score([*pairs, wrong]),
    ):
        with pytest.raises(weft.DataError, match=r"\[pairs\] pair 2: expected a source and a target, got"):
            call()
    for text in (3, [0.5], None):
        with pytest.raises(
            weft.DataError, match=r"\[vocabulary\] text: expected a string, or a list of tokens or whole numbers, got"
        ):
            model.score([("ab", text)])
    with pytest.raises(
        weft.DataError, match=r"\[generate\] expected a text, a list of tokens or numbers, or a list of such, got 3"
    ):
        model.generate(3)
