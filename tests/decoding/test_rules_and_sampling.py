"""Rules on what may be said, and sampling, on a model that is a table."""

import itertools

import numpy as np
import pytest
from decoding.test_search import END, Table

import weft
from weft import decoding, models
from weft.data import Pair

INPUTS = [[3], [5], [3]]


def every(rules, limit=8):
    model = Table(0)
    greedy = [r.tokens for r in decoding.greedy(model, INPUTS, [limit] * 3, rules)]
    beam = [r[0].tokens for r in decoding.beam(model, INPUTS, [limit] * 3, 3, 1, rules=rules)]
    drawn = [r.tokens for rs in decoding.sample(model, INPUTS, [limit] * 3, decoding.Cut(), [1, 2, 3], 4, rules) for r in rs]
    return greedy, beam, drawn


def test_lengths_and_prefixes():
    for found in every(decoding.Rules(min_length=5)):
        assert all(5 <= len(t) <= 8 for t in found)
    begins = ((4, 5), (5,), ())
    greedy, beam, drawn = every(decoding.Rules(prefix=begins))
    for found, count in ((greedy, 1), (beam, 1), (drawn, 4)):
        for i, tokens in enumerate(found):
            begin = begins[i // count]
            assert tuple(tokens[: len(begin)]) == begin


def test_nothing_twice_and_nothing_forbidden():
    for n in (1, 2, 3):
        for found in every(decoding.Rules(no_repeat_ngram=n, min_length=4)):
            for tokens in found:
                runs = [tuple(tokens[i : i + n]) for i in range(len(tokens) - n + 1)]
                assert len(set(runs)) == len(runs)
    for found in every(decoding.Rules(forbidden=((4, 4), (5, 4)), min_length=3)):
        for tokens in found:
            assert (4, 4) not in itertools.pairwise(tokens) and (5, 4) not in itertools.pairwise(tokens)


def test_rules_change_the_choice_not_the_log_probability():
    model = Table(2)
    for result in decoding.greedy(model, INPUTS, [6] * 3, decoding.Rules(repetition_penalty=3.0, min_length=3)):
        said = [1, 1, *result.tokens]
        assert len(result.tokens) >= 3 and result.logprob < 0
        total = [
            sum(model.logp(i, a, b)[t] for a, b, t in zip(said, said[1:], [*result.tokens, END], strict=False)) for i in (3, 5)
        ]
        assert min(abs(t - result.logprob) for t in total) < 1e-9


def test_when_nothing_is_left_it_ends():
    rules = decoding.Rules(forbidden=((4,), (5,)), min_length=2)
    assert all(tokens == [] for found in every(rules) for tokens in found)


def test_cuts():
    scores = np.log(np.array([0.4, 0.3, 0.2, 0.1])).astype(np.float32)
    assert decoding.Cut().probabilities(scores)[0].tolist() == [0, 1, 2, 3]
    assert decoding.Cut(top_k=2).probabilities(scores)[0].tolist() == [0, 1]
    assert decoding.Cut(top_p=0.65).probabilities(scores)[0].tolist() == [0, 1]
    assert decoding.Cut(top_p=0.71).probabilities(scores)[0].tolist() == [0, 1, 2]
    assert decoding.Cut(min_p=0.45).probabilities(scores)[0].tolist() == [0, 1, 2]
    np.testing.assert_allclose(decoding.Cut(top_k=2).probabilities(scores)[1], [4 / 7, 3 / 7], rtol=1e-6)
    np.testing.assert_allclose(decoding.Cut(temperature=0.5).probabilities(scores)[1], np.array([16, 9, 4, 1]) / 30, rtol=1e-6)
    assert decoding.Cut(temperature=1e-3).probabilities(scores)[1][0] > 0.999


def test_draws_follow_the_probabilities_and_the_seed_alone():
    model = Table(1)
    together = decoding.sample(model, [[3], [4]], [1, 1], decoding.Cut(), [7, 8], 2000)
    alone = decoding.sample(model, [[4]], [1], decoding.Cut(), [8], 2000)
    assert [r.tokens for r in together[1]] == [r.tokens for r in alone[0]]
    p = np.exp(model.logp(3, 1, 1))
    p[[0, 1, 3]] = 0
    p /= p.sum()
    counts = np.zeros(6)
    for r in together[0]:
        counts[r.tokens[0] if r.tokens else END] += 1
    assert abs(counts / 2000 - p).max() < 0.04


@pytest.mark.parametrize(
    "make, text",
    [
        (lambda: decoding.Cut(temperature=0.0), "temperature: expected a number above 0, got 0.0"),
        (lambda: decoding.Cut(top_p=0.0), "top_p: expected a number above 0, up to 1, got 0.0"),
        (lambda: decoding.Cut(top_k=0), "top_k: expected a whole number of at least 1, got 0"),
        (lambda: decoding.Cut(min_p=2.0), "min_p: expected a number from 0 to 1, got 2.0"),
        (lambda: decoding.Rules(min_length=-1), "min_length: expected a whole number of at least 0, got -1"),
        (lambda: decoding.Rules(repetition_penalty=0.5), "repetition_penalty: expected a number of at least 1, got 0.5"),
        (lambda: decoding.Rules(forbidden=((),)), "forbidden: expected runs of at least one token"),
    ],
)
def test_refusals(make, text):
    with pytest.raises(weft.WeftError, match=text):
        make()


@pytest.mark.parametrize("kind", ["Seq2Seq", "Transformer"])
def test_models_offer_all_of_it(kind):
    pairs = [Pair("abc", "cba"), Pair("ab", "ba"), Pair("cab", "bac")]
    sizes = {"hidden": 16} if kind == "Seq2Seq" else {"hidden": 16, "heads": 2, "layers": 1}
    model = getattr(models, kind).from_pairs(pairs, **sizes)
    texts = ["abc", "ab", "cab"]
    found = model.generate(texts, prefix=["c", "b", "ba"], min_length=3, max_length=6, forbidden=["aa"])
    for begin, [result] in zip(["c", "b", "ba"], found, strict=True):
        assert result.text.startswith(begin) and 3 <= len(result.text) <= 6 and "aa" not in result.text
    drawn = model.generate(texts, temperature=1.5, top_k=3, n_best=5, seed=4, max_length=6)
    assert [len(r) for r in drawn] == [5, 5, 5]
    assert [r.text for r in model.generate("ab", temperature=1.5, top_k=3, n_best=5, seed=4, max_length=6)] == [
        r.text for r in drawn[1]
    ]
    for text, results in zip(texts, drawn, strict=True):
        scores = model.score([Pair(text, r.text) for r in results])
        for r, score in zip(results, scores, strict=True):
            assert len(r.tokens) == 6 or abs(score - r.logprob) < 1e-4
    assert "".join(model.stream("abc")) == model.generate("abc")[0].text
    for arguments, text in (
        ({"top_k": 3}, "expected a temperature"),
        ({"temperature": 1.0, "beam": 2}, "expected no beam beside it"),
        ({"prefix": "xyz"}, "prefix: expected tokens of the target vocabulary, got 'x'"),
        ({"seed": [1, 2], "temperature": 1.0}, "expected one, or 3, got 2"),
        ({"min_length": -1}, "min_length: expected a whole number of at least 0, got -1"),
    ):
        with pytest.raises(weft.WeftError, match=text):
            model.generate(texts, **arguments)
