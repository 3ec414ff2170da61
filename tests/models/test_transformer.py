"""The Transformer, language models and the Vision Transformer: they learn, decode from a cache to the bits of whole passes, and are kept."""

import numpy as np
import pytest

import weft
from weft import models, train
from weft.data import Pair
from weft.data.vocabulary import START

LETTERS = "abcdefgh"
PAIRS = [Pair("".join(LETTERS[(i * k + i) % 8] for k in range(1 + i % 5)), "".join(LETTERS[(i * k + i) % 8] for k in range(1 + i % 5))[::-1])
         for i in range(200)]  # fmt: skip
SMALL = {"hidden": 32, "heads": 2, "layers": 2, "feed_forward": 64}


@pytest.mark.parametrize(
    "options", [{}, {"norm_first": True, "positions": "rotary"}, {"positions": "learned", "tie": "all", "depth_scaled": True}]
)
def test_cached_decoding_is_the_whole_pass(options):
    model = models.Transformer.from_pairs(PAIRS, **SMALL, **options).eval()
    sources = [model.source_vocabulary.encode(t) for t in ("abc", "hgfed", "a")]
    state, tokens = model.start(sources), np.full(3, START)
    written = [[START] for _ in sources]
    for step in range(12):
        scores, weights, state = model.step(state, tokens)
        longest = max(map(len, sources))
        source = np.zeros((len(written), longest), np.int64)
        lengths = np.array([len(s) for s in sources])
        for row, numbers in zip(source, sources, strict=True):
            row[: len(numbers)] = numbers
        with weft.no_grad():
            memory = model.encode(source, lengths)
            x = model.embed(np.array(written), model.target_embedding)
            whole = model.output(model.decoder(x, memory, tgt_is_causal=True, memory_lengths=lengths))
            expected = weft.nn.functional.log_softmax(whole[:, -1], -1).numpy()
        assert (scores == expected).all()
        assert np.allclose(weights.sum(1), 1, atol=1e-5)
        rows = np.array([0, 0, 1, 2]) if step == 1 else np.array([0, 2, 3]) if step == 4 else np.arange(len(written))
        state, tokens = state.select(rows), np.array([(5 + step + r) % 8 + 4 for r in range(len(rows))])
        sources, written = [sources[r] for r in rows], [[*written[r], int(t)] for r, t in zip(rows, tokens, strict=True)]


def test_it_learns_to_reverse_and_is_kept(tmp_path):
    weft.manual_seed(5)
    model = models.Transformer.from_pairs(PAIRS, **SMALL, dropout=0.0)
    before = train.fit(model, PAIRS, valid=PAIRS[:20], epochs=60, batch_tokens=256, lr=5e-3, progress=False).epochs
    assert before[-1].metrics["token_error_rate"] < 0.05
    model.save(tmp_path / "m")
    again = models.load(tmp_path / "m")
    assert isinstance(again, models.Transformer)
    texts = [p.source for p in PAIRS[:9]]
    one, other = model.generate(texts, beam=3), again.generate(texts[::-1], beam=3)[::-1]
    assert [r[0].text for r in one] == [r[0].text for r in other] and [r[0].logprob for r in one] == [r[0].logprob for r in other]
    assert one[1][0].alignment.shape[1] == len(texts[1])


def test_three_tables_are_one():
    model = models.Transformer.from_pairs([Pair("ab", "ba")], **SMALL, tie="all")
    assert model.output.weight is model.source_embedding.weight and model.target_embedding.weight is model.output.weight
    names = [n for n, _ in model.named_parameters()]
    assert "source_embedding.weight" in names and "output.weight" not in names
    scaled = models.Transformer.from_pairs(PAIRS, hidden=64, heads=2, layers=4, depth_scaled=True)
    first, last = (np.abs(scaled.encoder.layers[i].linear1.weight.numpy()).max() for i in (0, 3))
    assert 1.9 < first / last < 2.1


@pytest.mark.parametrize(
    "make, text",
    [
        (lambda: models.Transformer.from_pairs(PAIRS, tie="both"), "tie: expected one of 'none', 'decoder', 'all', got 'both'"),
        (lambda: models.Transformer.from_pairs([Pair("ab", "cd")], tie="all"), "expected one vocabulary for both sides"),
        (lambda: models.Transformer.from_pairs(PAIRS, positions="none"), "positions: expected one of"),
        (lambda: models.Transformer.from_pairs(PAIRS, **SMALL, max_length=3).generate("abcde"), "at most max_length 3 tokens, got 5"),
        (lambda: models.LanguageModel.from_texts(["a"], cell="cnn"), "cell: expected one of"),
        (lambda: models.VisionTransformer(28, 5, classes=3), "patch_size: expected divisors of 28 x 28, got 5 x 5"),
        (lambda: models.VisionTransformer(8, 4, classes=3)(np.zeros((2, 9, 8), np.float32)), "images: expected shape"),
        (lambda: models.VisionTransformer(8, 4, classes=3)(np.zeros((2, 8, 8), np.uint8)), "images: expected floats, got uint8"),
        (lambda: models.VisionTransformer(8, 4, classes=3, pool="mean").class_attention(np.zeros((1, 8, 8), np.float32)), "pool='class'"),
    ],
)  # fmt: skip
def test_refusals(make, text):
    with pytest.raises(weft.WeftError, match=text):
        make()


@pytest.mark.parametrize(
    "options", [{"cell": "transformer"}, {"cell": "transformer", "positions": "rotary"}, {"cell": "lstm"}, {"cell": "gru"}]
)
def test_language_model(tmp_path, options):
    texts = ["abcabcabc", "bcabca", "cab"]
    model = models.LanguageModel.from_texts(texts, hidden=32, heads=2, layers=2, **options)
    start = model.perplexity(texts)
    optimizer = weft.optim.Adam(model.parameters(), lr=5e-3)
    tokens = model.encode(texts)
    model.train()
    for _ in range(80):
        optimizer.zero_grad()
        model.loss(tokens).backward()
        optimizer.step()
    assert model.perplexity(texts) < min(2.0, start / 2)
    assert model.generate("abca", max_length=4)[0].text.startswith("abcabc")
    # Prefixes of different length, read at once and token by token, against whole passes.
    model.eval()
    state, written = model.start([[4, 5, 6, 4], [5]]), [[START, 4, 5, 6, 4], [START, 5]]
    scores, _, state = model.step(state, np.full(2, START))
    for _ in range(6):
        with weft.no_grad():
            for row, numbers in zip(scores, written, strict=True):
                whole = weft.nn.functional.log_softmax(model(np.array([numbers]))[0, -1:], -1).numpy()[0]
                assert (row == whole).all()
        best = scores.argmax(1)
        written = [[*w, int(b)] for w, b in zip(written, best, strict=True)]
        scores, _, state = model.step(state, best)
    model.save(tmp_path / "lm")
    assert models.load(tmp_path / "lm").perplexity(texts) == model.perplexity(texts)


@pytest.mark.parametrize("pool", ["class", "mean"])
def test_vision_transformer(tmp_path, rng, pool):
    """Which quarter of an image is bright."""
    x = rng.random((64, 8, 8)).astype(np.float32)
    y = np.arange(64) % 4
    for image, label in zip(x, y, strict=True):
        image[4 * (label // 2) : 4 * (label // 2) + 4, 4 * (label % 2) : 4 * (label % 2) + 4] += 1
    model = models.VisionTransformer(8, 4, classes=4, hidden=16, layers=2, heads=2, pool=pool)
    optimizer = weft.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(120):
        optimizer.zero_grad()
        model.loss(x, y).backward()
        optimizer.step()
    assert (model.predict(x) == y).mean() > 0.95
    assert (np.asarray(model(x[:, None]).detach()) == np.asarray(model(x).detach())).all()
    assert model(x[:0]).shape == (0, 4)
    if pool == "class":
        looked = model.class_attention(x[:3])
        assert looked.shape == (3, 2, 2, 2) and (looked.sum((2, 3)) < 1).all() and (looked > 0).all()
    model.save(tmp_path / "v")
    assert (models.load(tmp_path / "v").predict(x) == model.predict(x)).all()
