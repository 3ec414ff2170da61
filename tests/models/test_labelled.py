"""Classifier, regressor and tagger: what they learn, that batches change nothing, and what they refuse."""

import numpy as np
import pytest

import weft
from weft import data, models, train
from weft.models.metrics import span_f1, spans

RNG = np.random.default_rng(0)
WORDS = ["".join(RNG.choice(list("abcd"), n)) for n in RNG.integers(1, 9, 160)]
TEXTS = [(w, "more a" if w.count("a") > w.count("b") else "not") for w in WORDS]
FLOATS = [(RNG.standard_normal((n, 2)) + (i % 3) * np.array([0.0, 3.0]), i % 3) for i, n in enumerate(RNG.integers(2, 12, 90))]
BODIES = [
    {"cell": "gru", "pool": "last"}, {"cell": "lstm", "pool": "mean", "layers": 2}, {"cell": "rnn", "pool": "max", "bidirectional": False},
    {"cell": "transformer", "pool": "mean", "heads": 2}, {"cell": "gru", "pool": "attention"},
]  # fmt: skip


@pytest.mark.parametrize("body", BODIES, ids=lambda b: f"{b['cell']} {b['pool']}")
def test_classifier(body, tmp_path):
    for examples in (TEXTS, FLOATS):
        weft.manual_seed(0)
        model = models.SequenceClassifier.from_examples(examples, hidden=32, **body)
        history = train.fit(model, examples, valid=0.1, epochs=25, batch_tokens=128, lr=1e-2, progress=False)
        inputs, labels = [e[0] for e in examples], [e[1] for e in examples]
        assert model.score(inputs, labels) > 0.9 and history.epochs[-1].metrics["accuracy"] > 0.6
        p = model.predict_proba(inputs)
        np.testing.assert_allclose(p.sum(1), 1.0, atol=1e-5)
        assert [model.labels.names[i] for i in p.argmax(1)] == model.predict(inputs)
        for i in (0, 7, 33):
            assert (model.predict_proba(inputs[i : i + 1])[0] == p[i]).all()
        model.save(tmp_path / "run")
        assert (models.load(tmp_path / "run").predict_proba(inputs[:9]) == p[:9]).all()


@pytest.mark.parametrize("pool", ["last", "mean", "max", "attention"])
def test_pools_never_look_beyond_a_length(pool):
    weft.manual_seed(1)
    layer = weft.nn.Pool(pool, 4, both=pool == "last")
    x = RNG.standard_normal((3, 5, 4)).astype(np.float32)
    given = weft.tensor(x.copy(), requires_grad=True)
    y = layer(given, lengths=[5, 2, 0])
    y.sum().backward()
    assert (given.grad.numpy()[1, 2:] == 0).all() and (given.grad.numpy()[2] == 0).all() and (y.numpy()[2] == 0).all()
    x[1, 2:] = np.nan
    assert (layer(x, lengths=[5, 2, 0]).numpy() == y.numpy()).all()
    np.testing.assert_allclose(layer(x[1:2, :2]).numpy()[0], y.numpy()[1], rtol=1e-6)
    wished = {"last": np.concatenate([x[0, 4, :2], x[0, 0, 2:]]), "mean": x[0].mean(0), "max": x[0].max(0)}
    if pool in wished:
        np.testing.assert_allclose(y.numpy()[0], wished[pool], rtol=1e-6)


def test_class_weights():
    examples = [("a", "x")] * 9 + [("b", "y")]
    model = models.SequenceClassifier.from_examples(examples, class_weights="balanced", hidden=8)
    np.testing.assert_allclose(model.options["class_weights"], [10 / 18, 5.0])
    batch = model.collate(model.encode_examples(examples))
    p = model.predict_proba(["a", "b"]).astype(float)
    wished = -(9 * (10 / 18) * np.log(p[0, 0]) + 5.0 * np.log(p[1, 1])) / (9 * (10 / 18) + 5.0)
    assert model.loss(batch).item() == pytest.approx(wished, rel=1e-5)
    named = models.SequenceClassifier.from_examples(examples, class_weights={"y": 3.0}, hidden=8)
    assert named.options["class_weights"] == [1.0, 3.0]
    # A batch in which no class counts is no loss, not no number.
    some = models.SequenceClassifier.from_examples(examples, class_weights={"x": 0.0}, hidden=8)
    assert some.loss(some.collate(some.encode_examples(examples)[:9])).item() == 0.0


def test_regressor(tmp_path):
    weft.manual_seed(0)
    examples = [(x, [x[:, 0].sum(), 100.0 + x[:, 1].mean()]) for x, _ in FLOATS]
    model = models.SequenceRegressor.from_examples(examples, hidden=32, bidirectional=False)
    history = train.fit(model, examples, valid=0.1, epochs=60, batch_tokens=64, lr=1e-2, progress=False)
    inputs, targets = [e[0] for e in examples], [e[1] for e in examples]
    assert model.score(inputs, targets) > 0.9 and history.epochs[-1].metrics["rmse"] < 3
    said = model.predict(inputs)
    assert said.shape == (len(inputs), 2) and (model.predict(inputs[4:5])[0] == said[4]).all()
    assert np.isnan(model.score([], []))
    with pytest.raises(weft.ShapeError, match=r"\[regressor\] targets: expected shape \[2, 2\], got \[2\]"):
        model.score(inputs[:2], [1.0, 2.0])
    model.save(tmp_path / "run")
    assert (models.load(tmp_path / "run").predict(inputs) == said).all()


@pytest.mark.parametrize("crf", [False, True])
def test_tagger(crf, tmp_path):
    """Tags depend on the letter and on whether the one before it was tagged: B-, I-, O."""
    examples = []
    for w in WORDS:
        tags, before = [], False
        for c in w:
            tags.append("O" if c in "cd" else "I-X" if before else "B-X")
            before = c not in "cd"
        examples.append((w, tags))
    weft.manual_seed(0)
    model = models.SequenceTagger.from_examples(examples, hidden=32, crf=crf)
    history = train.fit(model, examples, valid=0.1, epochs=15, batch_tokens=128, lr=1e-2, progress=False)
    assert history.epochs[-1].metrics["token_accuracy"] > 0.95 and history.epochs[-1].metrics["span_f1"] > 0.9
    inputs, tags = [e[0] for e in examples], [e[1] for e in examples]
    said = model.predict(inputs)
    assert model.score(inputs, tags) > 0.97 and [len(s) for s in said] == [len(w) for w in WORDS]
    assert model.predict(inputs[3:4])[0] == said[3]
    model.save(tmp_path / "run")
    assert models.load(tmp_path / "run").predict(inputs) == said


def test_spans():
    tags = ["B-A", "I-A", "I-B", "O", "I-A", "B-A", "B-A"]
    assert spans(tags) == {(0, 2, "A"), (2, 3, "B"), (4, 5, "A"), (5, 6, "A"), (6, 7, "A")}
    assert span_f1([["B-A", "O"]], [["B-A", "B-A"]]) == pytest.approx(2 / 3) and span_f1([["O"]], [["O"]]) == 1.0


def test_refusals():
    make = models.SequenceClassifier.from_examples
    for build, text in (
        (lambda: make([("a", 1), ("b", 1)]), r"at least two classes, got \['1'\]"),
        (lambda: make([(np.zeros((2, 3)), 0), (np.zeros((2, 4)), 1)]), "sequence 1: expected width 3 like sequence 0"),
        (lambda: make([(np.zeros((2, 2)), 0), (np.full((2, 2), np.nan), 1)]), r"got nan at step 0, column 0 \(input 1\)"),
        (lambda: make([(np.zeros((0, 2)), 0), (np.zeros((2, 2)), 1)]), "input 0: expected a sequence of at least one step"),
        (lambda: make(TEXTS, pool="sum"), "kind: expected one of 'last', 'mean', 'max', 'attention'"),
        (lambda: make(TEXTS, cell="cnn"), "cell: expected one of"),
        (lambda: make(TEXTS, class_weights="fair"), "expected 'balanced' or a weight by class, got 'fair'"),
        (
            lambda: models.SequenceTagger.from_examples([("abc", ["x", "y"])]),
            "tags: expected 3, one for each token of 'abc', got 2",
        ),
        (
            lambda: models.SequenceRegressor.from_examples([("a", 1.0), ("b", float("nan"))]),
            "target: expected 1 finite numbers, got nan",
        ),
    ):
        with pytest.raises(weft.WeftError, match=text):
            build()
    model = make(TEXTS, hidden=8)
    with pytest.raises(weft.DataError, match="expected one seen in training .'more a', 'not'., got 'maybe'"):
        train.fit(model, TEXTS, valid=[("ab", "maybe")], progress=False)
    with pytest.raises(weft.DataError, match="class 'not': expected examples to learn from, got none"):
        train.fit(model, [t for t in TEXTS if t[1] != "not"], valid=TEXTS, progress=False)
    with pytest.raises(weft.DataError, match="input 0: expected a sequence of at least one step"):
        model.predict([""])


def test_a_split_keeps_equal_inputs_together_and_leaves_every_class():
    examples = [data.Labelled(f"t{i % 40}", i % 4) for i in range(80)] + [data.Labelled("rare", 9)]
    learn, check = data.labelled.split_labelled(examples, 0.2)
    assert {e.label for e in learn} == {0, 1, 2, 3, 9} and not {e.input for e in learn} & {e.input for e in check}
    assert 8 <= len(check) <= 24 and len(learn) + len(check) == 81
