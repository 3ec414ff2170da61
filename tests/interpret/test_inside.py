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
