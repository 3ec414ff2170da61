"""Required texts, coverage, the bound that ends a search, against enumeration and the plain decoder."""

import itertools

import numpy as np
import pytest
from decoding.test_search import Table, exhaustive

import weft
from weft import decoding, models
from weft.data import Pair
from weft.decoding.constraints import allot, count_said, wanted

from reference.decoder import Reference

TEXTS = ["abcd", "dcba", "acbd", "a", "bd"]
PAIRS = [Pair(t, t[::-1]) for t in TEXTS]


def holds(tokens, run):
    return any(tuple(tokens[i : i + len(run)]) == run for i in range(len(tokens) - len(run) + 1))


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("required", [((4, 4),), ((5, 4), (4, 4)), ((5,), (4,))])
def test_a_wide_beam_finds_the_best_text_with_all_that_is_required(seed, required):
    model = Table(seed)
    rules = decoding.Rules(required=(required, ()))
    found, free = decoding.beam(model, [[3], [3]], [5, 5], beam=120, n_best=3, rules=rules)
    whole = [e for e in exhaustive(model, 3, 5, "average") if all(holds(e[2], run) for run in required)]
    assert [r.tokens for r in found] == [e[2] for e in whole[:3]]
    assert [r.tokens for r in free] == [e[2] for e in exhaustive(model, 3, 5, "average")[:3]]


@pytest.mark.parametrize("beam", [1, 2, 3, 5])
def test_a_narrow_beam_says_what_is_required_too(beam):
    for seed, limit in itertools.product(range(4), (4, 6, 9)):
        rules = decoding.Rules(required=(((4, 5, 5), (4,)), ((5,),)))
        for runs, [result] in zip(
            rules.required, decoding.beam(Table(seed), [[3], [7]], [limit, limit], beam=beam, rules=rules), strict=True
        ):
            assert all(holds(result.tokens, run) for run in runs) and len(result.tokens) <= limit


def test_how_much_of_it_is_said():
    required = ((4, 5, 6), (4, 7))
    assert [count_said(s, required) for s in ([], [4], [4, 5], [4, 5, 6], [4, 7], [4, 7, 4, 5], [4, 7, 4, 5, 6], [5, 6])] == [
        0,
        1,
        2,
        3,
        2,
        4,
        5,
        0,
    ]
    assert wanted([4, 5], required) == [6, 4] and wanted([4, 7], required) == [4] and wanted([4, 5, 6, 4, 7], required) == []
    counts, totals = np.array([0, 0, 0, 1, 2]), np.array([-1.0, -2.0, -3.0, -9.0, -8.0])
    assert allot(counts, totals, 4, 2) == [0, 1, 4, 3]


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("penalty", ["none", "average", "wu"])
def test_the_bound_ends_a_search_only_when_nothing_can_change(seed, penalty):
    model = Table(seed)
    [found] = decoding.beam(model, [[3]], [5], beam=40, n_best=2, length_penalty=penalty, stop="bound")
    assert [r.tokens for r in found] == [e[2] for e in exhaustive(model, 3, 5, penalty)[:2]]

    class Counting(Table):
        steps = 0

        def step(self, state, tokens):
            Counting.steps += 1
            return super().step(state, tokens)

    decoding.beam(Counting(seed), [[3]], [200], beam=4, length_penalty="none", stop="bound")
    assert Counting.steps < 100


def test_coverage_prefers_who_looked_at_everything():
    assert decoding.coverage(np.eye(3, dtype=np.float32)) == 0.0
    assert decoding.coverage(np.array([[0.5, 0.5], [0.5, 0.25]])) == pytest.approx(np.log(0.75))
    weft.manual_seed(3)
    model = models.Seq2Seq.from_pairs(PAIRS, hidden=16)
    plain = model.generate("abcd", beam=4, n_best=4)
    for result in model.generate("abcd", beam=4, n_best=4, coverage_penalty=0.3):
        assert result.score == pytest.approx(
            result.logprob / (len(result.tokens) + 1) + 0.3 * decoding.coverage(result.alignment)
        )
    assert {tuple(r.tokens) for r in plain} == {
        tuple(r.tokens) for r in model.generate("abcd", beam=4, n_best=4, coverage_penalty=9.0)
    }


@pytest.mark.parametrize("beam", [1, 3, 6])
def test_the_plain_decoder_agrees(beam):
    weft.manual_seed(5)
    model = models.Seq2Seq.from_pairs(PAIRS, hidden=16)
    for p in model.parameters():
        with weft.no_grad():
            p.mul_(2.0)
    plain = Reference(model.state_dict())
    for text, results in zip(TEXTS, model.generate(TEXTS, beam=beam, n_best=beam, max_length=6), strict=True):
        wished = plain.beam(model.source_vocabulary.encode(text), beam, 6, beam)[:beam]
        assert [r.tokens for r in results] == [w[2] for w in wished]
        for r, (score, logprob, _, weights) in zip(results, wished, strict=True):
            assert r.score == pytest.approx(score, abs=1e-5) and r.logprob == pytest.approx(logprob, abs=1e-5)
            np.testing.assert_allclose(r.alignment, weights, atol=1e-5)
    scores = model.score([Pair(t, model.generate(t, max_length=6)[0].text) for t in TEXTS])
    for text, score in zip(TEXTS, scores, strict=True):
        result = model.generate(text, max_length=6)[0]
        assert len(result.tokens) == 6 or score == pytest.approx(result.logprob, abs=1e-5)


def test_models_keep_required_forbidden_and_prefix_together():
    model = models.Seq2Seq.from_pairs(PAIRS, hidden=16)
    found = model.generate(TEXTS, beam=3, required=["bd", "c"], forbidden=["a"], max_length=8)
    assert all("bd" in r.text and "c" in r.text and "a" not in r.text for [r] in found)
    each = model.generate(TEXTS, beam=2, required=[["ab"], ["b"], [], ["d"], ["cc"]], prefix="d", max_length=8)
    for runs, [r] in zip([["ab"], ["b"], [], ["d"], ["cc"]], each, strict=True):
        assert r.text.startswith("d") and all(run in r.text for run in runs)
    alone = model.generate(TEXTS[1], beam=2, required=["b"], prefix="d", max_length=8)[0]
    assert alone.text == each[1][0].text and alone.logprob == each[1][0].logprob
    for arguments, text in (
        ({"required": ["ab"], "forbidden": ["b"]}, r"required and forbidden: \['a', 'b'\] holds \['b'\], which must not occur"),
        ({"required": ["abc"], "max_length": 2}, "required: expected no more than max_length 2 tokens, got 3"),
        ({"min_length": 5, "max_length": 4}, "min_length: expected no more than max_length 4 tokens, got 5"),
        ({"prefix": "abc", "max_length": 2}, "prefix: expected no more than max_length 2"),
        (
            {"prefix": "abc", "forbidden": ["bc"]},
            r"prefix and forbidden: \['a', 'b', 'c'\] holds \['b', 'c'\], which must not occur",
        ),
        ({"required": ["x"]}, "required: expected tokens of the target vocabulary, got 'x'"),
        ({"required": ["a"], "temperature": 1.0}, "expected beam search"),
        ({"beam": 2, "stop": "never"}, "stop: expected one of 'full', 'bound'"),
        ({"beam": 2, "coverage_penalty": -1.0}, "coverage_penalty: expected a number of at least 0"),
    ):
        with pytest.raises(weft.WeftError, match=text):
            model.generate(TEXTS, **arguments)


def test_unknown_words_are_copied_from_where_the_model_looked():
    pairs = [Pair("the cat sat", "le chat assis"), Pair("the dog sat", "le chien assis")]
    model = models.Seq2Seq.from_pairs(pairs, tokens="word", hidden=16, vocabulary_size=(None, 1))
    assert len(model.target_vocabulary) == 5
    with weft.no_grad():
        model.output.bias[3] = 50.0
    result = model.generate("the zebra sat", max_length=3, copy_unknown=True)[0]
    looked = result.alignment.argmax(1)
    assert result.tokens == [3, 3, 3] and result.target == [["the", "zebra", "sat"][j] for j in looked[:3]]
    assert "<unk>" not in model.generate("the zebra sat", max_length=3)[0].text


def test_a_sure_text_is_not_lost_to_early_ends():
    """Each token has probability 0.99 and the end 0.009: a beam of two must not stop after two ends."""

    class Sure:
        class State:
            def __init__(self, steps):
                self.steps = steps

            def select(self, rows):
                return Sure.State(self.steps[rows])

        def start(self, inputs):
            return Sure.State(np.zeros(len(inputs), int))

        def step(self, state, tokens):
            p = np.full((len(tokens), 6), 1e-4)
            p[:, 4], p[:, 2] = 0.99, 0.009
            p[state.steps == 6] = [1e-4, 1e-4, 0.99, 1e-4, 0.009, 1e-4]
            return np.log(p), None, Sure.State(state.steps + 1)

    for beam in (2, 3, 5):
        assert decoding.beam(Sure(), [[0]], [20], beam=beam)[0][0].tokens == [4] * 6
