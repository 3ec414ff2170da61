"""Saliency, weights of every layer, maps as text and picture."""

import numpy as np
import pytest

import weft
from weft import interpret, models
from weft.data import Pair
from weft.nn import functional as F

PAIRS = [Pair("abcd", "dcba"), Pair("bd", "db"), Pair("a", "a")]
KINDS = {
    "gru": ("Seq2Seq", {"hidden": 16}),
    "fed lstm": ("Seq2Seq", {"hidden": 16, "cell": "lstm", "input_feeding": True}),
    "transformer": ("Transformer", {"hidden": 16, "heads": 2, "layers": 2}),
}


def made(kind):
    weft.manual_seed(0)
    name, options = KINDS[kind]
    return getattr(models, name).from_pairs(PAIRS, **options).eval()


@pytest.mark.parametrize("kind", KINDS)
def test_saliency_is_the_change_of_the_log_probability(kind):
    model = made(kind)
    before = {n: p.numpy().copy() for n, p in model.named_parameters()}
    found = interpret.saliency(model, "abcd", "dc", form="input")
    norms = interpret.saliency(model, "abcd", "dc")
    assert found.shape == norms.shape == (3, 4) and (norms > 0).all()
    assert all((before[n] == p.numpy()).all() and p.grad is None for n, p in model.named_parameters())
    # Each letter occurs once: scaling its embedding by 1 + h moves log p(y_t) by h times the entry.
    batch, wanted = model.collate([Pair("abcd", "dc")]), model.target_vocabulary.encode("dc") + [2]
    h = 1e-2
    for column, letter in enumerate("abcd"):
        row = model.source_vocabulary.encode(letter)[0]
        scores = []
        for sign in (1 + h, 1 - h):
            with weft.no_grad():
                old = model.source_embedding.weight[row].numpy().copy()
                model.source_embedding.weight[row] = old * np.float32(sign)
                scores.append(F.log_softmax(model(batch), -1).numpy()[0][np.arange(3), wanted].astype(np.float64))
                model.source_embedding.weight[row] = old
        np.testing.assert_allclose(found[:, column], (scores[0] - scores[1]) / (2 * h), rtol=2e-2, atol=5e-4)
    with pytest.raises(weft.ConfigError, match="form: expected one of 'norm', 'input'"):
        interpret.saliency(model, "ab", "b", form="loud")


def test_weights_of_every_layer():
    model = made("transformer")
    batch = model.collate([Pair("abcd", "dc")])
    with weft.no_grad():
        untouched = model(batch).numpy().copy()
    found = interpret.attention_weights(model, "abcd", "dc")
    assert len(found) == 6 and found["encoder.layers.1.self_attn"].shape == (2, 4, 4)
    assert found["decoder.layers.0.multihead_attn"].shape == (2, 3, 4)
    for name, weights in found.items():
        np.testing.assert_allclose(weights.sum(-1), 1.0, atol=1e-5)
        if "decoder" in name and "self" in name:
            assert (np.triu(weights, 1) == 0).all()
    with weft.no_grad():
        assert (model(batch).numpy() == untouched).all()
    result = model.generate("abcd", max_length=4)[0]
    again = interpret.attention_weights(model, "abcd", result.text)["decoder.layers.1.multihead_attn"]
    steps = min(len(again[0]), len(result.alignment))
    np.testing.assert_allclose(again.mean(0)[:steps], result.alignment[:steps], atol=1e-6)
    language = models.LanguageModel.from_texts(["abc"], cell="transformer", hidden=16, heads=2)
    assert interpret.attention_weights(language, "abc")["body.layers.0.self_attn"].shape == (2, 4, 4)
    classifier = models.SequenceClassifier.from_examples([("a", 0), ("b", 1)], cell="transformer", hidden=16, heads=2)
    with pytest.raises(weft.ConfigError, match="expected one of texts, got SequenceClassifier"):
        interpret.attention_weights(classifier, "abc")
    with pytest.raises(weft.ConfigError, match="expected one with MultiheadAttention"):
        interpret.attention_weights(made("gru"), "abcd", "d")


def test_maps(tmp_path):
    result = made("gru").generate("abcd", beam=2)[0]
    assert interpret.draw_attention(result).splitlines()[0].split() == list("abcd")
    assert [t for t, _ in interpret.hard_alignment(result)] == result.target
    pytest.importorskip("matplotlib")
    ax = interpret.plot_attention(result, tmp_path / "map.png")
    assert (tmp_path / "map.png").stat().st_size > 1000 and ax.get_xlabel() == "source"
    assert interpret.plot_map(np.eye(2), ["a", "b"], ["c", "d"], ax=ax) is ax


TEXTS = [("abcd", 1.0), ("bd", 2.0), ("ca", 0.5)]
LABELLED = {
    "classifier": lambda cell: models.SequenceClassifier.from_examples(
        [(t, "even" if len(t) % 2 else "odd") for t in ("abcd", "bda", "a", "dc")], hidden=8, cell=cell, pool="attention"
    ),
    "regressor": lambda cell: models.SequenceRegressor.from_examples(TEXTS, hidden=8, cell=cell),
    "tagger": lambda cell: models.SequenceTagger.from_examples(
        [(t, list(t.upper())) for t, _ in TEXTS], hidden=8, cell=cell, crf=True
    ),
}


@pytest.mark.parametrize("cell", ["gru", "transformer"])
@pytest.mark.parametrize("kind", LABELLED)
def test_saliency_of_labelled_texts(kind, cell):
    weft.manual_seed(0)
    model = LABELLED[kind](cell).eval()
    found = interpret.saliency(model, "abcd", form="input")
    assert found.shape == ((4 if kind == "tagger" else 1), 4) and (interpret.saliency(model, "abcd") > 0).all()
    [(numbers, wanted)] = model.encode_examples([("abcd", model.predict(["abcd"])[0])])
    batch, h = model.collate([(numbers, wanted)] * len(found)), 1e-2
    for column, letter in enumerate("abcd"):
        row, sums = model.vocabulary.encode(letter)[0], []
        for sign in (1 + h, 1 - h):
            with weft.no_grad():
                old = model.reader.embedding.weight[row].numpy().copy()
                model.reader.embedding.weight[row] = old * np.float32(sign)
                sums.append(model.said(model.forward(batch), wanted).numpy().astype(np.float64))
                model.reader.embedding.weight[row] = old
        np.testing.assert_allclose(found[:, column], (sums[0] - sums[1]) / (2 * h), rtol=3e-2, atol=1e-3)
    assert all(p.grad is None for p in model.parameters())


@pytest.mark.parametrize("cell", ["lstm", "transformer"])
def test_saliency_of_float_sequences(cell):
    weft.manual_seed(0)
    random = np.random.default_rng(0)
    examples = [(random.normal(size=(n, 3)) * 5 + 2, float(n)) for n in (4, 5, 6)]
    model = models.SequenceRegressor.from_examples(examples, hidden=8, cell=cell).eval()
    x, h = examples[0][0], 1e-2
    found = interpret.saliency(model, x, form="input")
    assert found.shape == (1, 4) and (interpret.saliency(model, x) > 0).all()
    for step in range(4):
        moved = [x.copy(), x.copy()]
        moved[0][step] *= 1 + h
        moved[1][step] *= 1 - h
        up, down = model.predict(moved)[:, 0].astype(np.float64)
        np.testing.assert_allclose(found[0, step], (up - down) / (2 * h), rtol=3e-2, atol=2e-3)


@pytest.mark.parametrize("mode", ["direct", "autoregressive"])
def test_saliency_of_a_forecast(mode):
    weft.manual_seed(0)
    series = np.sin(np.arange(80)[:, None] / 3.0) * [3.0, 1.0] + [5.0, 2.0]
    model = models.Forecaster.from_series([series], window=6, horizon=3, hidden=8, mode=mode).eval()
    found, h = interpret.saliency(model, series, form="input"), 1e-2
    assert found.shape == (3, 6) and (interpret.saliency(model, series) > 0).any(1).all()
    for step in range(6):
        moved = [series.copy(), series.copy()]
        moved[0][80 - 6 + step] *= 1 + h
        moved[1][80 - 6 + step] *= 1 - h
        up, down = (model.predict(m).sum(1) for m in moved)
        np.testing.assert_allclose(found[:, step], (up - down) / (2 * h), rtol=3e-2, atol=5e-3)


def test_saliency_names_models_that_read_nothing_first():
    with pytest.raises(weft.ConfigError, match=r"\[saliency\] model: expected one that reads .*, got a MarkovModel"):
        interpret.saliency(models.MarkovModel.from_texts(["ab"], order=1), "ab")
