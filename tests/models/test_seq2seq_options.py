"""Every form of Seq2Seq: it decodes what it is trained to say, is saved whole, and learns."""

import numpy as np
import pytest

import weft
from weft import models, train
from weft.data import Pair

TEXTS = ["abcd", "dcba", "acbd", "a", "bd", ""]
PAIRS = [Pair(t, t[::-1]) for t in TEXTS[:-1]]
FORMS = {
    "cho": {"attention": "none", "context": "every"},
    "cho lstm": {"attention": "none", "context": "every", "cell": "lstm", "layers": 2},
    "sutskever": {"attention": "none", "reverse_source": True, "cell": "lstm", "layers": 2},
    "luong": {"input_feeding": True, "cell": "lstm", "layers": 2},
    "bahdanau": {"input_feeding": True, "attention": "additive"},
    "rnn": {"input_feeding": True, "cell": "rnn", "attention": "concat", "reverse_source": True},
    "tied": {"tie": True},
    "copied": {"bridge": "copy", "reverse_source": True},
    "from zero": {"bridge": "zero", "bidirectional": False},
    "local": {"local": "predictive", "window": 2, "input_feeding": True},
    "monotonic": {"local": "monotonic", "window": 2},
}


@pytest.mark.parametrize("form", FORMS)
def test_it_decodes_what_it_is_trained_to_say(form, tmp_path):
    weft.manual_seed(2)
    model = models.Seq2Seq.from_pairs(PAIRS, hidden=16, dropout=0.1, **FORMS[form])
    model.loss(model.collate(PAIRS)).backward()
    assert all(p.grad is not None and np.isfinite(p.grad.numpy()).all() for p in model.parameters())
    model.eval()
    results = model.generate(TEXTS, beam=3, n_best=3, max_length=7)
    for text, some in zip(TEXTS, results, strict=True):
        scores = model.score([Pair(text, r.text) for r in some])
        for r, score in zip(some, scores, strict=True):
            assert len(r.tokens) == 7 or score == pytest.approx(r.logprob, abs=1e-5)
        alone = model.generate(text, beam=3, n_best=3, max_length=7)
        assert [(r.text, r.logprob, r.score) for r in alone] == [(r.text, r.logprob, r.score) for r in some]
    model.save(tmp_path / "run")
    again = models.load(tmp_path / "run")
    assert again.generate("abcd", beam=3, max_length=7)[0].logprob == results[0][0].logprob and again.options == model.options


@pytest.mark.slow
@pytest.mark.parametrize("form", ["cho", "sutskever", "luong", "bahdanau"])
def test_it_learns(form):
    weft.manual_seed(1)
    pairs = [Pair(a + b + c, c + b + a) for a in "abcd" for b in "abcd" for c in "abcd"]
    model = models.Seq2Seq.from_pairs(pairs, hidden=48, **FORMS[form])
    history = train.fit(model, pairs, valid=0.1, epochs=40, batch_tokens=64, lr=1e-2, progress=False)
    assert history.epochs[-1].train_loss < 0.2


def test_reversing_reads_from_the_last_token_to_the_first():
    weft.manual_seed(4)
    one = models.Seq2Seq.from_pairs(PAIRS, hidden=16, reverse_source=True).eval()
    other = models.Seq2Seq.from_pairs(PAIRS, hidden=16, bidirectional=False).eval()
    other.load_state_dict(one.state_dict())
    a, b = one.generate("abcd", max_length=5)[0], other.generate("dcba", max_length=5)[0]
    assert a.text == b.text and a.logprob == pytest.approx(b.logprob, abs=1e-6)
    np.testing.assert_allclose(a.alignment, b.alignment[:, ::-1], atol=1e-6)


def test_float_sources():
    rng = np.random.default_rng(0)
    sounds = [rng.standard_normal((n, 3)).astype(np.float32) for n in (4, 2, 7)]
    pairs = [Pair(s, t) for s, t in zip(sounds, ("ab", "b", "cab"), strict=True)]
    for kind, options in (("Seq2Seq", {}), ("Transformer", {"heads": 2, "layers": 1})):
        weft.manual_seed(0)
        model = getattr(models, kind).from_pairs(pairs, hidden=16, **options)
        history = train.fit(model, pairs, valid=0.0, epochs=60, lr=1e-2, progress=False)
        assert history.epochs[-1].train_loss < 0.5
        results = model.generate(sounds, beam=2)
        assert [r[0].text for r in results] == ["ab", "b", "cab"]
        assert model.generate(sounds[2], beam=2)[0].logprob == results[2][0].logprob
        with pytest.raises(weft.ShapeError, match=r"sequence: expected shape \[T, 3\], got \[4, 2\]"):
            model.generate(np.zeros((4, 2), np.float32))
        with pytest.raises(weft.DataError, match="got nan at step 1, column 2"):
            model.generate(np.array([[0, 0, 0], [0, 0, np.nan]], np.float32))
    with pytest.raises(weft.ShapeError, match=r"sequence 1: expected width 3 like sequence 0, got \[2, 4\]"):
        models.Seq2Seq.from_pairs([Pair(np.zeros((2, 3)), "a"), Pair(np.zeros((2, 4)), "a")])


def test_lists_of_tokens_and_numbers():
    pairs = [Pair([10, 3, 7], [7, 3, 10]), Pair(np.array([3, 3]), np.array([3, 3]))]
    model = models.Seq2Seq.from_pairs(pairs, hidden=8)
    result = model.generate([10, 7], max_length=4)[0]
    assert result.source == ["10", "7"] and all(t.isdigit() for t in result.target)
    assert len(model.generate([[10, 7], [3]], max_length=4)) == 2
    words = models.Seq2Seq.from_pairs([Pair(["je", "suis"], ["I", "am"])], hidden=8)
    assert words.generate([["je"]], max_length=2)[0][0].source == ["je"]
    assert train.fit(model, pairs, valid=0.5, epochs=1, progress=False).epochs


@pytest.mark.parametrize("kind", ["bpe", "unigram"])
def test_subwords(kind, tmp_path):
    pytest.importorskip("tokenizers", reason="subwords come with the text extra")
    texts = ["the weaver weaves the weft", "the warp and the weft", "weaving is older than writing"] * 4
    vocabulary = weft.data.make_vocabulary(texts, kind, 40)
    assert vocabulary.tokens[:4] == ["<pad>", "<s>", "</s>", "<unk>"] and len(vocabulary) <= 40
    assert all(vocabulary.decode(vocabulary.encode(t)) == t for t in texts)
    assert 3 in vocabulary.encode("Ω") and 1 not in vocabulary.encode("<s>")
    again = weft.data.vocabulary_from_json(vocabulary.to_json())
    assert again.encode(texts[0]) == vocabulary.encode(texts[0]) and again.kind == kind
    pairs = [Pair(t, t[::-1]) for t in texts]
    model = models.Transformer.from_pairs(pairs, tokens=kind, vocabulary_size=40, hidden=16, heads=2, layers=1)
    model.save(tmp_path / "run")
    assert (
        models.load(tmp_path / "run").generate(texts[0], max_length=5)[0].text == model.generate(texts[0], max_length=5)[0].text
    )
    shared = models.Transformer.from_pairs(
        pairs, tokens=kind, vocabulary_size=40, shared=True, tie="all", hidden=16, heads=2, layers=1
    )
    assert shared.source_vocabulary is shared.target_vocabulary


def test_without_the_package_subwords_say_what_to_install(monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "tokenizers", None)
    with pytest.raises(weft.ConfigError, match=r"pip install 'weft\[text\]'"):
        weft.data.make_vocabulary(["a"], "bpe")


def test_refusals():
    for options, text in (
        ({"reverse_source": True, "bidirectional": True}, "reverse_source: expected an encoder of one direction"),
        ({"attention": "none", "input_feeding": True}, "input_feeding: expected an attention"),
        ({"context": "every"}, "context: expected attention 'none' beside 'every'"),
        ({"context": "sometimes"}, "context: expected one of 'initial', 'every'"),
        ({"bridge": "wood"}, "bridge: expected one of 'dense', 'copy', 'zero'"),
        ({"tie": True, "embedding": 8}, "embedding with tie: expected hidden, 16, got 8"),
        ({"vocabulary_size": 0}, "size: expected a whole number of at least 1, got 0"),
        ({"tokens": "syllable"}, "tokens: expected one of 'character', 'word', 'bpe', 'unigram'"),
    ):
        with pytest.raises(weft.ConfigError, match=text):
            models.Seq2Seq.from_pairs(PAIRS, hidden=16, **options)
    short = models.Transformer.from_pairs(PAIRS, hidden=16, heads=2, layers=1, max_length=4)
    with pytest.raises(weft.ConfigError, match=r"pair 0: expected a target of at most 4 tokens, the end counted, got 5"):
        train.fit(short, PAIRS, progress=False)
