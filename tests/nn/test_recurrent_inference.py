"""The short way of recurrent layers when nothing is recorded: the bits of the long way, and no stale weights."""

import copy
import itertools

import numpy as np
import pytest

import weft


@pytest.mark.parametrize("cell", ["RNN", "LSTM", "GRU"])
@pytest.mark.parametrize(
    "options", [{}, {"num_layers": 3, "batch_first": True}, {"bias": False, "dtype": np.float64, "reverse": True}]
)
def test_bits_of_the_recorded_way(cell, options):
    weft.manual_seed(0)
    layer = getattr(weft.nn, cell)(5, 7, **options)
    x = weft.tensor(np.random.default_rng(1).standard_normal((4, 3, 5)), dtype=options.get("dtype", np.float32))
    layers, batch = options.get("num_layers", 1), 4 if options.get("batch_first") else 3
    state = weft.tensor(np.random.default_rng(2).standard_normal((layers, batch, 7)), dtype=x.dtype)
    for given in (None, (state, state) if cell == "LSTM" else state):
        y, last = layer(x, given)
        with weft.no_grad():
            other, other_last = layer(x, given)
        assert (y.detach().numpy() == other.numpy()).all()
        for a, b in zip(last if cell == "LSTM" else [last], other_last if cell == "LSTM" else [other_last], strict=True):
            assert a.shape == b.shape and (a.detach().numpy() == b.numpy()).all()


def test_weights_that_change_are_packed_again():
    layer, x = weft.nn.GRU(2, 3), weft.tensor(np.ones((2, 1, 2), np.float32))

    def run(of=layer):
        with weft.no_grad():
            return of(x)[0].numpy().copy()

    seen = [run()]
    twin = copy.deepcopy(layer)
    assert (run(twin) == seen[0]).all()
    with weft.no_grad():
        layer.weight_hh_l0.copy_(layer.weight_hh_l0 * 2.0)
    seen.append(run())
    layer.bias_ih_l0 = weft.nn.Parameter(np.full(9, 0.5, np.float32))
    seen.append(run())
    view = layer.weight_ih_l0.detach().numpy()
    view[0] += 1.0
    seen.append(run())
    view[0] += 1.0
    seen.append(run())
    del view
    seen.append(run())
    assert (seen[-1] == seen[-2]).all()
    for before, after in itertools.pairwise(seen[:-1]):
        assert (before != after).any()
    y = layer(x)[0].detach().numpy()
    assert (y == seen[-1]).all() and (run(twin) == seen[0]).all()


def test_a_view_that_writes_and_goes_leaves_nothing_stale():
    layer, x = weft.nn.RNN(2, 3), weft.tensor(np.ones((1, 1, 2), np.float32))
    with weft.no_grad():
        view = layer.weight_ih_l0.detach().numpy()
        layer(x)
        view[...] = 0.5
        del view
        short = layer(x)[0].numpy()
    assert (short == layer(x)[0].detach().numpy()).all()
