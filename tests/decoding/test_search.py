"""Greedy and beam search on a model small enough to search whole."""

import itertools

import numpy as np
import pytest

from weft import decoding

VOCABULARY = 6
END = 2


class Table:
    """Log-probabilities that depend on the input and the last two tokens."""

    def __init__(self, seed):
        self.scores = np.random.default_rng(seed).standard_normal((10, VOCABULARY, VOCABULARY, VOCABULARY)) * 2

    class State:
        def __init__(self, rows, last):
            self.rows, self.last = rows, last

        def select(self, chosen):
            return Table.State(self.rows[chosen], self.last[chosen])

    def start(self, inputs):
        return Table.State(np.array([i[0] for i in inputs]), np.full(len(inputs), 1))

    def logp(self, row, before, token):
        x = self.scores[row, before, token]
        return x - np.log(np.exp(x).sum())

    def step(self, state, tokens):
        scores = np.array([self.logp(r, b, t) for r, b, t in zip(state.rows, state.last, tokens, strict=True)]).reshape(
            -1, VOCABULARY
        )
        return scores, None, Table.State(state.rows, tokens)


def exhaustive(model, row, longest, penalty):
    found = []
    for n in range(longest + 1):
        for tokens in itertools.product((4, 5), repeat=n):
            sequence, total = [1, 1, *tokens], 0.0
            for i, t in enumerate([*tokens, END]):
                total += model.logp(row, sequence[i], sequence[i + 1])[t]
            found.append((decoding.penalized(total, n + 1, penalty), total, list(tokens)))
    return sorted(found, key=lambda f: -f[0])


@pytest.mark.parametrize("penalty", ["none", "average", "wu"])
@pytest.mark.parametrize("seed", range(4))
def test_a_wide_beam_is_exhaustive_search(penalty, seed):
    model = Table(seed)
    results = decoding.beam(model, [[3], [7]], [4, 3], beam=40, n_best=5, length_penalty=penalty)
    for row, longest, got in ((3, 4, results[0]), (7, 3, results[1])):
        best = exhaustive(model, row, longest, penalty)[:5]
        assert [r.tokens for r in got] == [b[2] for b in best]
        assert [r.score for r in got] == pytest.approx([b[0] for b in best])
        assert [r.logprob for r in got] == pytest.approx([b[1] for b in best])


@pytest.mark.parametrize("seed", range(4))
def test_greedy_takes_the_best_token_and_beam_one_does_the_same(seed):
    model = Table(seed)
    got = decoding.greedy(model, [[0], [5]], [6, 6])
    for row, result in zip((0, 5), got, strict=True):
        before, last, tokens = 1, 1, []
        while len(tokens) < 6:
            scores = model.logp(row, before, last)
            best = max((2, 4, 5), key=lambda t: scores[t])
            if best == END:
                break
            tokens.append(best)
            before, last = last, best
        assert result.tokens == tokens
    beam = decoding.beam(model, [[0], [5]], [6, 6], beam=1)
    assert [b[0].tokens for b in beam] == [g.tokens for g in got]
    assert [b[0].logprob for b in beam] == pytest.approx([g.logprob for g in got])
