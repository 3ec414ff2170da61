"""Conditional random fields against the enumeration of all tag sequences."""

import itertools

import numpy as np
import pytest

import weft
from weft.autograd.crf import crf_loss

from checking import check_operation


def scores(emissions, transitions, start, end, n):
    """The score of every sequence of n tags, by sequence."""
    found = {}
    for tags in itertools.product(range(len(start)), repeat=n):
        total = start[tags[0]] + end[tags[-1]] + sum(emissions[t, y] for t, y in enumerate(tags))
        found[tags] = total + sum(transitions[a, b] for a, b in itertools.pairwise(tags))
    return found


def enumerated(emissions, transitions, start, end, tags, lengths):
    losses = np.zeros(len(lengths))
    for row, n in enumerate(lengths):
        if n:
            every = scores(emissions[row], transitions, start, end, n)
            values = np.array(list(every.values()))
            largest = values.max()
            losses[row] = largest + np.log(np.exp(values - largest).sum()) - every[tuple(tags[row, :n].tolist())]
    return losses


def made(rng, k, lengths, steps=4, scale=2.0):
    return {
        "emissions": rng.standard_normal((len(lengths), steps, k)) * scale,
        "transitions": rng.standard_normal((k, k)) * scale,
        "start": rng.standard_normal(k),
        "end": rng.standard_normal(k),
    }


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("k, lengths", [(1, [4, 2]), (3, [4, 1, 0, 3]), (5, [2, 4]), (2, [4] * 19)])
def test_loss_and_gradients(rng, k, lengths, reduction):
    tags = rng.integers(0, k, (len(lengths), 4))

    def reference(emissions, transitions, start, end):
        losses = enumerated(emissions, transitions, start, end, tags, lengths)
        return {"mean": losses.mean(), "sum": losses.sum(), "none": losses}[reduction]

    check_operation(
        lambda emissions, transitions, start, end: crf_loss(emissions, transitions, start, end, tags, lengths, reduction),
        reference,
        made(rng, k, lengths),
    )


def test_wide_tags_against_the_plain_recursion(rng):
    k, lengths, steps = 37, [9, 4], 9
    x = made(rng, k, lengths, steps)
    tags = rng.integers(0, k, (2, steps))
    got = crf_loss(*(weft.tensor(v) for v in x.values()), tags, lengths, "none").numpy()
    for row, n in enumerate(lengths):
        e = x["emissions"][row]
        alpha = x["start"] + e[0]
        for t in range(1, n):
            ways = alpha[:, None] + x["transitions"]
            alpha = ways.max(0) + np.log(np.exp(ways - ways.max(0)).sum(0)) + e[t]
        last = alpha + x["end"]
        z = last.max() + np.log(np.exp(last - last.max()).sum())
        y = tags[row, :n]
        score = x["start"][y[0]] + x["end"][y[-1]] + e[np.arange(n), y].sum() + x["transitions"][y[:-1], y[1:]].sum()
        np.testing.assert_allclose(got[row], z - score, rtol=1e-10)


@pytest.mark.parametrize("k", [1, 2, 4])
def test_viterbi_finds_the_best_of_all(rng, k):
    lengths = [4, 0, 1, 3]
    x = made(rng, k, lengths)
    crf = weft.nn.CRF(k, dtype=np.float64)
    crf.load_state_dict({n: x[n] for n in ("transitions", "start", "end")})
    tags, best = crf.decode(x["emissions"], lengths=lengths)
    for row, n in enumerate(lengths):
        if n:
            every = scores(x["emissions"][row], x["transitions"], x["start"], x["end"], n)
            wished = max(every, key=every.get)
            assert tuple(tags[row, :n].tolist()) == wished
            np.testing.assert_allclose(best[row], every[wished])
        assert (tags[row, n:] == 0).all()
    whole = np.zeros((1, 3, 3))
    assert weft.nn.CRF(3, dtype=np.float64).decode(whole)[0].shape == (1, 3)


def test_forbidden_ways_and_padding_do_no_harm(rng):
    x = {n: v.astype(np.float32) for n, v in made(rng, 3, [4, 2]).items()}
    x["transitions"][0, 1] = -np.inf
    x["start"][2] = -1e4
    x["emissions"][1, 2:] = np.nan
    tags = np.array([[0, 0, 2, 1], [1, 0, 7, -5]])
    parts = [weft.tensor(v, requires_grad=True) for v in x.values()]
    loss = crf_loss(*parts, tags, [4, 2], "none")
    wished = enumerated(*(v.astype(np.float64) for v in x.values()), tags, [4, 2])
    np.testing.assert_allclose(loss.numpy(), wished, rtol=1e-5)
    loss.sum().backward()
    assert all(np.isfinite(p.grad.numpy()).all() for p in parts)
    assert parts[1].grad.numpy()[0, 1] == 0 and (parts[0].grad.numpy()[1, 2:] == 0).all()
    np.testing.assert_allclose(parts[0].grad.numpy()[0].sum(-1), 0.0, atol=1e-5)


def test_the_same_bits_for_any_thread_count(rng):
    x = [v.astype(np.float32) for v in made(rng, 20, [50] * 64, 50).values()]
    tags, lengths = rng.integers(0, 20, (64, 50)), rng.integers(1, 51, 64)
    found = []
    before = weft.get_num_threads()
    for threads in (1, 2, 3, 7):
        weft.set_num_threads(threads)
        parts = [weft.tensor(v, requires_grad=True) for v in x]
        loss = crf_loss(*parts, tags, lengths, "mean")
        loss.backward()
        found.append([loss.numpy().tobytes(), *(p.grad.numpy().tobytes() for p in parts)])
    weft.set_num_threads(before)
    assert all(f == found[0] for f in found)
    alone = [weft.tensor(x[0][5:6], requires_grad=True), *(weft.tensor(v) for v in x[1:])]
    one = crf_loss(*alone, tags[5:6], lengths[5:6], "none")
    every = crf_loss(*(weft.tensor(v) for v in x), tags, lengths, "none")
    assert one.numpy()[0] == every.numpy()[5]


@pytest.mark.parametrize(
    "make, text",
    [
        (lambda c: c(np.zeros((2, 3), np.float32), np.zeros((2, 3), int)), r"emissions: expected shape \[B, T, K\]"),
        (
            lambda c: c(np.zeros((2, 3, 4), np.float32), np.zeros((2, 3), int)),
            r"transitions: expected shape \[4, 4\], got \[3, 3\]",
        ),
        (lambda c: c(np.zeros((2, 3, 3), np.float32), np.zeros((2, 2), int)), r"tags: expected shape \[2, 3\], got \[2, 2\]"),
        (lambda c: c(np.zeros((2, 3, 3), np.float32), np.zeros((2, 3))), "tags: expected int64, got float64"),
        (lambda c: c(np.zeros((2, 3, 3), np.float32), np.full((2, 3), 3)), r"tags: expected values from 0 to 2, got 3"),
        (
            lambda c: c(np.zeros((2, 3, 3), np.float32), np.zeros((2, 3), int), lengths=[4, 1]),
            r"lengths: expected values from 0 to 3, got 4",
        ),
        (lambda c: c(np.zeros((2, 3, 3)), np.zeros((2, 3), int)), "transitions: expected float64, got float32"),
        (lambda c: c(np.zeros((2, 3, 3), np.float32), np.zeros((2, 3), int), reduction="most"), "reduction: expected one of"),
        (lambda c: weft.nn.CRF(0), "num_tags"),
    ],
)
def test_refusals(make, text):
    with pytest.raises(weft.WeftError, match=text):
        make(weft.nn.CRF(3))
