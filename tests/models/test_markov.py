"""The n-gram model: probabilities by hand, sums of one, and the same decoding as nets."""

import numpy as np
import pytest

import weft
from weft import models


def test_probabilities_by_hand():
    """Witten & Bell: "ab" seen once, order 2. After a: b once of one kind, so b gets 1/2 of its own and half of what a shorter context gives."""
    model = models.MarkovModel.from_texts(["ab"], order=2)
    a, b = model.vocabulary.encode("ab")
    possible = len(model.vocabulary) - 2
    shorter = 1 / 6 + 3 / 6 / possible
    p = model.distribution([a])
    np.testing.assert_allclose(p[b], 1 / 2 + 1 / 2 * shorter)
    np.testing.assert_allclose(p[a], 1 / 2 * shorter)


@pytest.mark.parametrize("order", [1, 2, 4])
def test_it_sums_to_one_and_generates(order):
    texts = ["abcab", "bca", "cabcabc"]
    model = models.MarkovModel.from_texts(texts, order=order)
    for before in ([], [4], [4, 5, 6], [6, 6]):
        np.testing.assert_allclose(model.distribution(before).sum(), 1.0)
    assert 1 < model.perplexity(texts) < len(model.vocabulary)
    for text, score in zip(texts, model.score(texts), strict=True):
        steps = [*model.vocabulary.encode(text), weft.data.vocabulary.END]
        np.testing.assert_allclose(score, sum(np.log(model.distribution(steps[:i])[t]) for i, t in enumerate(steps)))
    drawn = model.generate("ca", temperature=1.0, seed=3, max_length=9)[0]
    assert drawn.text == model.generate(["a", "ca"], temperature=1.0, seed=[1, 3], max_length=9)[1][
        0
    ].text and drawn.text.startswith("ca")
    for text in ("cab", "abcab"):
        numbers = model.vocabulary.encode(text)
        for i, token in enumerate(numbers):
            np.testing.assert_allclose(model.probability(numbers[:i], token), model.distribution(numbers[:i])[token])
    if order == 4:
        assert model.generate("cabc")[0].text.startswith("cabca")
        assert model.perplexity(texts) < models.MarkovModel.from_texts(texts, order=1).perplexity(texts)


def test_refusals():
    with pytest.raises(weft.ConfigError, match="order: expected a whole number of at least 1, got 0"):
        models.MarkovModel.from_texts(["a"], order=0)


def test_it_is_saved_and_loaded(tmp_path):
    model = models.MarkovModel.from_texts("abcabcab", order=3)
    model.save(tmp_path / "run")
    again = models.load(tmp_path / "run")
    assert again.loss("abcab") == model.loss("abcab") and again.options == {"order": 3}
    assert again.generate("ab", beam=2)[0].text == model.generate("ab", beam=2)[0].text
