"""Series that go on, and sequences from one vector."""

import numpy as np
import pytest

import weft
from weft import models, train

SERIES = np.sin(np.arange(400) / 4.0) * (1.0 + 0.5 * np.sin(np.arange(400) / 29.0)) + 5.0


@pytest.mark.parametrize("mode", ["direct", "autoregressive"])
@pytest.mark.parametrize("cell", ["gru", "lstm"])
def test_forecaster(mode, cell, tmp_path):
    weft.manual_seed(0)
    model = models.Forecaster.from_series([SERIES], window=24, horizon=6, mode=mode, cell=cell, hidden=32)
    history = train.fit(model, [SERIES], valid=0.2, epochs=20, batch_tokens=24 * 16, lr=1e-2, progress=False)
    last = history.epochs[-1].metrics
    assert last["rmse"] < last["rmse_last_value"] / 3 and set(last) == {"rmse", "rmse_linear", "rmse_last_value"}
    said = model.predict(SERIES[:200], 10)
    assert said.shape == (10, 1) and np.abs(said[:6, 0] - SERIES[200:206]).max() < 0.5
    assert (model.predict(SERIES[:200], 3) == said[:3]).all() and (model.predict(SERIES[150:200], 10) == said).all()
    assert model.baseline.coefficients.weight.grad is None
    model.save(tmp_path / "run")
    assert (models.load(tmp_path / "run").predict(SERIES[:200], 10) == said).all()
    # The linear baseline goes on from many histories as from one.
    windows = model.encode_examples([SERIES[:40]])
    history = windows.before[:3] * model.deviation.numpy() + model.mean.numpy()
    for one, many in zip(history, model.baseline.go_on(history, 6), strict=True):
        np.testing.assert_allclose(many, model.baseline.predict(one, 6), rtol=1e-12)


def test_series_of_two_numbers_and_what_is_refused():
    both = np.stack([SERIES, -SERIES], 1)
    model = models.Forecaster.from_series([both, both[:90]], window=8, horizon=3, hidden=8)
    assert model.predict(both[:50]).shape == (3, 2)
    for build, text in (
        (lambda: models.Forecaster.from_series([]), "at least one, got none"),
        (lambda: models.Forecaster.from_series([SERIES[:20]], window=16, horizon=8), "one of more than 24 steps"),
        (lambda: models.Forecaster.from_series([np.array([1.0, np.nan] * 40)]), r"got nan at step 1, column 0 \(series 0\)"),
        (lambda: models.Forecaster.from_series([SERIES], mode="magic"), "mode: expected one of 'direct', 'autoregressive'"),
        (lambda: model.predict(both[:5]), r"history: expected at least 8 steps of width 2, got \[5, 2\]"),
        (lambda: model.predict(both, 0), "steps: expected a whole number of at least 1, got 0"),
    ):
        with pytest.raises(weft.WeftError, match=text):
            build()


@pytest.mark.parametrize("cell", ["gru", "lstm"])
def test_texts_from_classes_and_vectors(cell, tmp_path):
    weft.manual_seed(0)
    words = {"low": "aabba", "high": "xyzzy", "none": "q"}
    vectors = {"low": [1.0, 0.0], "high": [0.0, 1.0], "none": [0.5, 0.5]}
    for examples in ([(k, w) for k, w in words.items()] * 4, [(np.array(vectors[k]), w) for k, w in words.items()] * 4):
        model = models.SequenceGenerator.from_examples(examples, cell=cell, hidden=32, layers=2)
        train.fit(model, examples, valid=0.0, epochs=60, batch_tokens=64, lr=1e-2, progress=False)
        given = [e[0] for e in examples[:3]]
        assert [r[0].text for r in model.generate(given, beam=2)] == list(words.values())
        one = model.generate(given[1], temperature=0.5, n_best=2, seed=3)
        assert len(one) == 2 and one[0].text == "xyzzy"
        model.save(tmp_path / "run")
        assert models.load(tmp_path / "run").generate(given[2])[0].text == "q"
    with pytest.raises(weft.DataError, match="expected one seen in training"):
        models.SequenceGenerator.from_examples([("a", "x"), ("b", "y")], hidden=8).generate("c")
    with pytest.raises(weft.ShapeError, match=r"vector: expected shape \[2\], got \[3\]"):
        model.generate(np.zeros(3))


def test_floats_from_a_vector():
    weft.manual_seed(0)
    examples = [(np.array([f]), np.sin(f * np.arange(20))[:, None]) for f in np.linspace(0.2, 0.6, 24)]
    model = models.SequenceGenerator.from_examples(examples, hidden=48)
    history = train.fit(model, examples, valid=0.0, epochs=120, batch_tokens=160, lr=1e-2, progress=False)
    assert history.epochs[-1].train_loss < 0.01
    said = model.predict([e[0] for e in examples[:4]], 20)
    assert said.shape == (4, 20, 1) and np.abs(said[:, :6] - np.array([e[1][:6] for e in examples[:4]])).mean() < 0.2
    with pytest.raises(weft.ConfigError, match="expected a model of float sequences"):
        models.SequenceGenerator.from_examples([("a", "x"), ("b", "y")], hidden=8).predict(["a"], 3)
