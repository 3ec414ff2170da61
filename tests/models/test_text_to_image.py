"""Pictures from words: codes, captions, guidance, cached = whole."""

import numpy as np
import pytest

import weft
from weft import data, models, train


def small():
    """Four colours of one square on 8 x 8."""
    images = {"dark": 10, "grey": 90, "pale": 170, "light": 250}
    pairs = []
    for word, value in images.items():
        for half in ("top", "bottom"):
            image = np.zeros((8, 8), np.uint8)
            image[:4] = value if half == "top" else 0
            image[4:] = value if half == "bottom" else 0
            pairs += [(f"{word} {half}", image)] * 3
    return pairs


@pytest.fixture(scope="module")
def trained():
    weft.manual_seed(0)
    pairs = small()
    model = models.TextToImage.from_pairs(pairs, patch=4, codes=16, hidden=32, heads=2, layers=2, dropout=0.0)
    train.fit(model.tokenizer, np.array([p[1] for p in pairs]), valid=0.0, epochs=150, batch_tokens=64, lr=5e-3, progress=False)
    train.fit(model, pairs, valid=0.0, epochs=100, batch_tokens=64, lr=5e-3, progress=False)
    return model, pairs


@pytest.mark.slow
def test_it_draws_what_it_was_asked(trained):
    model, pairs = trained
    captions = list(dict.fromkeys(p[0] for p in pairs))
    wished = {c: i for c, i in pairs}
    for options in ({"temperature": None}, {"temperature": 0.3, "guidance": 2.0}):
        found = model.generate(captions, n=2, seed=1, **options)
        assert found.shape == (8, 2, 8, 8, 1) and found.dtype == np.uint8
        for caption, images in zip(captions, found, strict=True):
            assert np.abs(images[0, ..., 0].astype(int) - wished[caption]).mean() < 25
    measured = model.tokenizer.measure(np.array([p[1] for p in pairs])).metrics
    assert measured["pixel_rmse"] < 25 and 0 < measured["codes_used"] <= 1 and measured["code_perplexity"] >= 1
    assert model.measure(pairs).metrics["code_accuracy"] > 0.9


@pytest.mark.slow
def test_a_caption_alone_or_among_others(trained, tmp_path):
    model, _ = trained
    together = model.write(["dark top", "light bottom"], n=3, guidance=1.5, seed=7)
    assert (model.write("light bottom", n=3, guidance=1.5, seed=7)[0] == together[1]).all()
    assert (model.write(["dark top", "light bottom"], n=3, guidance=1.5, seed=7, batch_size=2) == together).all()
    ranked = model.generate("dark top", n=3, seed=7, rerank=lambda images, caption: images.mean((1, 2, 3)))
    assert (np.diff(ranked.mean((1, 2, 3))) <= 0).all()
    model.save(tmp_path / "run")
    assert (models.load(tmp_path / "run").write(["dark top"], n=2, seed=3) == model.write(["dark top"], n=2, seed=3)).all()


def test_step_by_step_is_the_whole_pass():
    weft.manual_seed(0)
    pairs = small()
    model = models.TextToImage.from_pairs(pairs, patch=2, codes=16, hidden=32, heads=2, layers=2).eval()
    codes = model.write(["dark top", "grey bottom"], temperature=None)[:, 0]
    batch = models.text_to_image.CaptionBatch(model.read_captions(["dark top", "grey bottom"]), codes)
    with weft.no_grad():
        assert (model(batch).numpy().argmax(-1) == codes).all()


def test_refusals():
    pairs = small()
    model = models.TextToImage.from_pairs(pairs, patch=4, codes=8, hidden=16, heads=2, layers=1)
    for build, text in (
        (lambda: models.TextToImage.from_pairs([]), "at least one, got none"),
        (lambda: models.TextToImage.from_pairs(pairs, patch=3), "patch: expected a divisor of 8 and 8, got 3"),
        (
            lambda: train.fit(model, [*pairs, ("dark top", np.zeros((9, 8), np.uint8))], valid=0.0, progress=False),
            r"image 24: expected shape \[8, 8\] like image 0",
        ),
        (lambda: model.tokenizer.encode(np.zeros((2, 8, 8))), "images: expected uint8, got float64"),
        (
            lambda: model.tokenizer.encode(np.zeros((2, 9, 8), np.uint8)),
            r"images: expected shape \[B, 8, 8, 1\], got \[2, 9, 8\]",
        ),
        (lambda: model.generate("dark top dark top"), "expected 1 to 2 tokens, got 4"),
        (lambda: model.generate(""), "expected 1 to 2 tokens, got 0"),
        (lambda: model.generate("dark", temperature=0.0), "temperature: expected a number above 0"),
        (lambda: model.generate("dark", n=0), "n: expected a whole number of at least 1"),
        (lambda: model.generate("dark", guidance=-1.0), "guidance: expected a number of at least 0"),
        (lambda: model.generate("dark", n=2, rerank=lambda i, c: [1.0]), "rerank: expected 2 numbers"),
    ):
        with pytest.raises(weft.WeftError, match=text):
            build()


def test_drawings_and_captions_of_digits():
    every = data.drawings()
    assert len(every) == len({d.caption for d in every}) == 3024 and every[0].image.shape == (32, 32, 3)
    assert len({d.image.tobytes() for d in every}) == 3024
    # A place moves a shape by whole patches.
    here, there = (data.draw("large", "hollow", "blue", "rotated", "square", place) for place in ("top left", "bottom centre"))
    assert (np.roll(here, (16, 8), (0, 1)) == there).all() and here.any()
    images = np.zeros((3, 28, 28), np.uint8)
    for i in range(20):
        images[0, 4 + i, 13:15] = 255
        images[1, 4 + i, 10:18] = 255
        images[2, 4 + i, 18 - i // 2 : 20 - i // 2] = 255
    thick, slant = data.measure_digits(images)
    assert thick[1] > 2 * thick[0] and abs(slant[0]) < 1e-9 and slant[2] == pytest.approx(0.5, abs=0.05)
    captions = data.caption_digits(images, np.array([1, 8, 7]))
    assert captions[1].startswith("a thick eight") and captions[2].endswith("slanted right")
    with pytest.raises(weft.ShapeError, match=r"images: expected shape \[N, H, W\]"):
        data.measure_digits(images[0])
