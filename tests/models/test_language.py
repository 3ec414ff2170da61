"""Language models: long texts in windows, state from window to window, measures; the linear baseline; ensembles."""

import math

import numpy as np
import pytest

import weft
from weft import models, train
from weft.data import Pair
from weft.models.language import Window

TEXT = "the weaver weaves the weft through the warp; " * 12


@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])
def test_a_long_text_is_read_in_order_and_the_state_is_kept(cell):
    weft.manual_seed(0)
    model = models.LanguageModel.from_texts(TEXT, cell=cell, hidden=16, layers=2, window=7)
    encoded = model.encode_examples(TEXT)
    windows = list(model.batches(encoded, 21, weft.random.Generator(1)))
    assert len(windows) == model.count_batches(encoded, 21) and [w.first for w in windows] == [True] + [False] * (
        len(windows) - 1
    )
    read, wanted = (np.concatenate([w[i] for w in windows], 1) for i in (0, 1))
    assert (read[:, 1:] == wanted[:, :-1]).all() and read.shape[0] == 3
    assert (wanted.ravel() == encoded[: read.size]).all() and (read[:, 0] == 1).all()
    model.eval()
    with weft.no_grad():
        in_windows = sum(model.loss(w).item() * w.targets.size for w in windows) / wanted.size
        whole = model.loss(Window(read, wanted)).item()
    assert in_windows == pytest.approx(whole, rel=1e-6)


def test_gradients_stop_at_the_borders_of_windows():
    weft.manual_seed(0)
    model = models.LanguageModel.from_texts(TEXT, hidden=8, window=5)
    first, second, *_ = model.batches(model.encode_examples(TEXT), 5)
    model.loss(first)
    carried = [c.numpy().copy() for c in model._carried]
    model.zero_grad()
    model.loss(second).backward()
    got = {n: p.grad.numpy().copy() for n, p in model.named_parameters()}
    model.zero_grad()
    given = tuple(weft.tensor(c) for c in carried)
    features = model.features(second.tokens, given)
    rows = model.output(features).reshape(-1, len(model.vocabulary))
    weft.nn.functional.cross_entropy(rows, second.targets.reshape(-1)).backward()
    for n, p in model.named_parameters():
        np.testing.assert_allclose(got[n], p.grad.numpy(), atol=1e-6)


def test_a_transformer_sees_every_window_once():
    model = models.LanguageModel.from_texts(TEXT, cell="transformer", hidden=16, heads=2, window=8, max_length=16)
    encoded = model.encode_examples(TEXT)
    windows = list(model.batches(encoded, 24, weft.random.Generator(5)))
    assert len(windows) == model.count_batches(encoded, 24) and all(w.first for w in windows)
    assert sum(len(w.tokens) for w in windows) == (len(encoded)) // 8
    assert all((w.tokens[:, 1:] == w.targets[:, :-1]).all() for w in windows)


@pytest.mark.slow
@pytest.mark.parametrize("cell", ["gru", "transformer"])
def test_it_learns_a_long_text(cell, tmp_path):
    weft.manual_seed(0)
    model = models.LanguageModel.from_texts(TEXT, cell=cell, hidden=48, heads=4, layers=1, window=24, max_length=200)
    history = train.fit(model, TEXT, valid=0.2, epochs=30, batch_tokens=96, lr=1e-2, out=tmp_path / "run", progress=False)
    last = history.epochs[-1]
    assert last.metrics["perplexity"] == pytest.approx(math.exp(last.valid_loss)) and last.valid_loss < 0.3
    assert last.metrics["bits_per_character"] == pytest.approx(last.valid_loss / math.log(2))
    assert model.generate("the wea", max_length=30)[0].text.startswith("the weaver weaves")
    assert models.load(tmp_path / "run").perplexity(TEXT) == model.perplexity(TEXT)


def test_words_count_bits_by_their_characters():
    texts = ["a bb ccc", "bb a"]
    model = models.LanguageModel.from_texts(texts, tokens="word", hidden=8)
    nats = -model.score(texts).sum()
    assert model.bits_per_character(texts) == pytest.approx(nats / 12 / math.log(2), rel=1e-5)
    assert model.perplexity(texts) == pytest.approx(math.exp(nats / 7), rel=1e-5)


def test_generation_is_that_of_all_models():
    model = models.LanguageModel.from_texts(["abcabc", "bca"], hidden=16)
    assert [len(r) for r in model.generate(["a", "bc"], beam=3, n_best=2, max_length=5)] == [2, 2]
    result = model.generate("ab", beam=3, required=["cc"], max_length=6)[0]
    assert result.text.startswith("ab") and "cc" in result.text[2:] and result.source == ["a", "b"]
    assert "".join(model.stream("a", max_length=8)) == model.generate("a", max_length=8)[0].text[1:]
    for r in model.generate("a", temperature=1.0, n_best=4, seed=2, max_length=40):
        if len(r.tokens) < 40:
            whole = model.score([r.text])[0] - model.score(["a"])[0]
            state = model.start([[]])
            scores, _, state = model.step(state, np.array([1]))
            a = model.vocabulary.encode("a")[0]
            assert model.score([r.text])[0] == pytest.approx(scores[0, a] + r.logprob, abs=1e-4), whole


def test_refusals():
    with pytest.raises(weft.ConfigError, match="at least one text, got none"):
        models.LanguageModel.from_texts([])
    with pytest.raises(weft.ConfigError, match="window: expected a whole number from 1 to max_length, got 99"):
        models.LanguageModel.from_texts("abc", cell="transformer", hidden=8, heads=2, max_length=20, window=99)
    model = models.LanguageModel.from_texts("abc", cell="transformer", hidden=8, heads=2, max_length=4, window=4)
    with pytest.raises(weft.ConfigError, match="text 1: expected at most 4 tokens, got 6"):
        train.fit(model, ["a", "abcab"], valid=0, progress=False)
    with pytest.raises(weft.DataError, match="at least one to learn from"):
        train.fit(model, "", valid=0, progress=False)


def test_the_linear_baseline_finds_the_rule(tmp_path):
    rng = np.random.default_rng(0)
    a, b = np.array([[0.5, 0.2], [-0.1, 0.4]]), np.array([[0.3, 0.0], [0.1, -0.2]])
    series = [rng.standard_normal((6, 2)) for _ in range(4)]
    for i, s in enumerate(series):
        rows = list(s[:2])
        for _ in range(20):
            rows.append(a @ rows[-1] + b @ rows[-2] + [1.0, -0.5])
        series[i] = np.array(rows)
    model = models.AutoregressiveModel.from_sequences(series, order=2)
    np.testing.assert_allclose(model.coefficients.weight.numpy(), np.concatenate([a, b], 1), atol=1e-8)
    np.testing.assert_allclose(model.predict(series[0][:5], 10), series[0][5:15], atol=1e-8)
    assert model.error(series) < 1e-12
    model.save(tmp_path / "run")
    assert (models.load(tmp_path / "run").predict(series[1], 3) == model.predict(series[1], 3)).all()
    with pytest.raises(weft.DataError, match="history: expected at least 2 steps, got 1"):
        model.predict(series[0][:1])
    with pytest.raises(weft.DataError, match="got nan at step 1, column 0"):
        models.AutoregressiveModel.from_sequences([[1.0, math.nan, 3.0]], order=1)


@pytest.mark.parametrize("mean", ["arithmetic", "geometric"])
def test_an_ensemble_says_the_mean(mean):
    pairs = [Pair("abc", "cba"), Pair("bd", "db")]
    weft.manual_seed(0)
    members = [models.Seq2Seq.from_pairs(pairs, hidden=12), models.Transformer.from_pairs(pairs, hidden=12, heads=2, layers=1)]
    team = models.Ensemble(members, mean=mean)
    one, other, both = (m.step(m.start([[4, 5]]), np.array([1]))[0][0] for m in (*members, team))
    wished = np.log((np.exp(one) + np.exp(other)) / 2) if mean == "arithmetic" else (one + other) / 2
    if mean == "geometric":
        wished = wished - np.log(np.exp(wished).sum())
    np.testing.assert_allclose(both, wished, atol=1e-5)
    alone = models.Ensemble(members[:1], mean=mean).generate(["abc", "bd"], beam=3)
    assert [r[0].text for r in alone] == [r[0].text for r in members[0].generate(["abc", "bd"], beam=3)]
    result = team.generate("abc", beam=2)[0]
    assert result.alignment.shape[1] == 3
    with pytest.raises(weft.ConfigError, match="that of member 1 differs"):
        models.Ensemble([members[0], models.Seq2Seq.from_pairs([Pair("x", "y")], hidden=12)])
