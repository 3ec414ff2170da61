"""RNN, LSTM and GRU: against the plain loop, by central differences, and the rules of their layouts."""

import numpy as np
import pytest

import weft
from weft import nn
from weft.autograd.recurrent import recurrent

import reference
from checking import check_operation

CELLS = {"rnn_tanh": 1, "rnn_relu": 1, "lstm": 4, "gru": 3}
LAYERS = [lambda *a, **k: nn.RNN(*a, **k), lambda *a, **k: nn.LSTM(*a, **k), lambda *a, **k: nn.GRU(*a, **k)]


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(
    "t, b, i, h, lengths, reverse",
    [(3, 2, 3, 5, None, False), (4, 3, 2, 3, [2, 0, 4], False), (4, 3, 2, 3, [2, 0, 4], True), (1, 1, 1, 1, None, False),
     (2, 9, 3, 17, None, True), (3, 0, 2, 3, None, False), (3, 2, 20, 4, [1, 1], True)],
)  # fmt: skip
def test_one_direction(rng, cell, bias, t, b, i, h, lengths, reverse):
    g = CELLS[cell]
    lengths = None if lengths is None else np.array(lengths)
    inputs = {
        "x": rng.standard_normal((t, b, i)), "w_ih": rng.standard_normal((g * h, i)) / 2, "w_hh": rng.standard_normal((g * h, h)) / 2,
        "h_0": rng.standard_normal((b, h)),
    }  # fmt: skip
    if bias:
        inputs |= {"b_ih": rng.standard_normal(g * h), "b_hh": rng.standard_normal(g * h)}
    if cell == "lstm":
        inputs["c_0"] = rng.standard_normal((b, h))

    def operation(x, w_ih, w_hh, h_0, b_ih=None, b_hh=None, c_0=None):
        y, h_n, c_n = recurrent(cell, x, [(w_ih, w_hh, b_ih, b_hh)], [h_0], [c_0], lengths, False, [reverse])
        return (y, h_n[0], *c_n)

    def plain(x, w_ih, w_hh, h_0, b_ih=None, b_hh=None, c_0=None):
        c = np.zeros_like(h_0) if c_0 is None else c_0
        y, h_n, c_n = reference.recurrent(cell, x, w_ih, w_hh, b_ih, b_hh, h_0, c, lengths, reverse)
        return (y, h_n, c_n) if c_0 is not None else (y, h_n)

    check_operation(operation, plain, inputs)


@pytest.mark.parametrize("make", LAYERS)
def test_padding_is_never_read_and_stays_zero(rng, make):
    layer = make(6, 10, num_layers=2, bidirectional=True, batch_first=True)
    x = rng.standard_normal((3, 5, 6)).astype(np.float32)
    lengths = [3, 0, 5]
    clean, *_ = layer(x, lengths=lengths)
    for row, n in enumerate(lengths):
        x[row, n:] = np.nan
    t = weft.tensor(x, requires_grad=True)
    output, _ = layer(t, lengths=lengths)
    assert (np.asarray(output.detach()) == np.asarray(clean.detach())).all()
    assert all((np.asarray(output.detach())[r, n:] == 0).all() for r, n in enumerate(lengths))
    output.sum().backward()
    grad = np.asarray(t.grad)
    assert np.isfinite(grad).all() and all((grad[r, n:] == 0).all() for r, n in enumerate(lengths))
    assert all(np.isfinite(np.asarray(p.grad)).all() for p in layer.parameters())


@pytest.mark.parametrize("make", LAYERS)
def test_step_by_step_is_the_whole_sequence_bit_for_bit(rng, make):
    layer = make(7, 20, num_layers=2)
    x = rng.standard_normal((6, 3, 7)).astype(np.float32)
    whole, last = layer(x)
    state, steps = None, []
    for t in range(6):
        y, state = layer(x[t : t + 1], state)
        steps.append(np.asarray(y.detach()))
    assert (np.concatenate(steps) == np.asarray(whole.detach())).all()
    for a, b in zip(state if isinstance(state, tuple) else (state,), last if isinstance(last, tuple) else (last,), strict=True):
        assert (np.asarray(a.detach()) == np.asarray(b.detach())).all()


@pytest.mark.parametrize("options", [{}, {"reverse": True}, {"zoneout": 0.2}])
@pytest.mark.parametrize("lengths", [None, [4, 0, 3]])
@pytest.mark.parametrize("make", LAYERS)
def test_layouts_agree_bit_for_bit(rng, make, lengths, options):
    options = options if "reverse" in options else {"bidirectional": True, **options}
    time_first, batch_first = make(5, 19, **options), make(5, 19, batch_first=True, **options)
    batch_first.load_state_dict(time_first.state_dict())
    x = rng.standard_normal((4, 3, 5)).astype(np.float32)
    wide = 19 * (2 if "bidirectional" in options else 1)
    # A gradient whose rows lie side by side, and one that does not.
    dy = np.repeat(rng.standard_normal((4, 3, wide)).astype(np.float32), 2, axis=2)[:, :, ::2]

    def passes(layer, x, dy):
        weft.manual_seed(3)
        t = weft.tensor(x, requires_grad=True)
        y, _ = layer(t, lengths=lengths)
        y.backward(weft.tensor(dy))
        return {
            "y": np.asarray(y.detach()),
            "x": np.asarray(t.grad),
            **{n: np.asarray(p.grad) for n, p in layer.named_parameters()},
        }

    a, b = passes(time_first, x, dy), passes(batch_first, x.swapaxes(0, 1), dy.swapaxes(0, 1))
    for name, one in a.items():
        other = b[name].swapaxes(0, 1) if name in "xy" else b[name]
        # The rows that the gradients of weights are sums over have another order in a reversed direction.
        backwards = name not in "xy" and ("reverse" in options or name.endswith("_reverse"))
        assert np.allclose(one, other, atol=1e-5) if backwards else (one == other).all(), name
    if lengths is None and "zoneout" not in options:
        alone = time_first(x[:, 1])[0]
        assert alone.shape == (4, wide) and (np.asarray(alone.detach()) == a["y"][:, 1]).all()


@pytest.mark.parametrize("options", [{}, {"layer_norm": True}])
@pytest.mark.parametrize("make, hidden", list(zip(LAYERS, (2060, 530, 700), strict=True)))
def test_both_directions_give_the_input_one_sum_in_every_layout(rng, make, hidden, options):
    """K of the product of a direction's gradients, all gates of all units, is more than one chunk of 2,048 here (rule R1)."""
    steps = 4
    layer = make(5, hidden, bidirectional=True, **options)
    across = make(5, hidden, bidirectional=True, batch_first=True, **options)
    across.load_state_dict(layer.state_dict())
    x, g = rng.standard_normal((steps, 3, 5)).astype(np.float32), rng.standard_normal((steps, 3, 2 * hidden)).astype(np.float32)

    def gradient(layer, x, g, **lengths):
        t = weft.tensor(x, requires_grad=True)
        loss = (layer(t, **lengths)[0] * g).sum()
        loss.backward(retain_graph=True)
        kept = np.asarray(t.grad).copy()
        t.grad = None
        loss.backward()
        assert (np.asarray(t.grad) == kept).all()
        return kept

    whole = gradient(layer, x, g)
    assert (gradient(across, x.swapaxes(0, 1), g.swapaxes(0, 1)).swapaxes(0, 1) == whole).all()
    ragged = gradient(layer, x, g, lengths=[steps, 2, steps])
    assert (ragged[:, ::2] == whole[:, ::2]).all() and (ragged[2:, 1] == 0).all()
    assert (gradient(layer, x[:2, 1:2], g[:2, 1:2])[:, 0] == ragged[:2, 1]).all()
    one, other = (gradient(layer, x, np.concatenate([a, b], -1)) for a, b in ((g[..., :hidden], 0 * g[..., hidden:]),
                                                                         (0 * g[..., :hidden], g[..., hidden:])))  # fmt: skip
    assert np.abs(one + other - whole).max() <= 1e-5 * np.abs(whole).max()


@pytest.mark.parametrize("make", LAYERS)
@pytest.mark.parametrize("steps, batch", [(40, 32), (12, 1)])
def test_backwards_is_forwards_over_the_steps_turned_round(rng, make, steps, batch):
    """In blocks of steps and shared out by units, too, with and without a tape."""
    layer, turned = make(24, 256), make(24, 256, reverse=True)
    turned.load_state_dict(layer.state_dict())
    x = rng.standard_normal((steps, batch, 24)).astype(np.float32)
    there, back = layer(x), turned(x[::-1].copy())
    with weft.no_grad():
        quiet = turned(x[::-1].copy())
    for y in (back, quiet):
        assert (np.asarray(y[0].detach())[::-1] == np.asarray(there[0].detach())).all()
        for a, b in zip(
            y[1] if isinstance(y[1], tuple) else y[1:], there[1] if isinstance(y[1], tuple) else there[1:], strict=True
        ):
            assert (np.asarray(a.detach()) == np.asarray(b.detach())).all()


@pytest.mark.parametrize("make, hidden", list(zip(LAYERS, (730, 400, 430), strict=True)))
def test_gradients_of_weights_that_are_formed_in_parts(rng, make, hidden):
    # More than 4 MiB each. Of one row they are outer products: of one step, and of a second whose first had an input of zeros.
    layer = make(hidden, hidden, dtype=np.float64)

    def gradients(x):
        for parameter in layer.parameters():
            parameter.grad = None
        output, _ = layer(x)
        output[-1].sum().backward()
        return (np.asarray(p.grad) for p in layer.parameters())

    x = rng.standard_normal((1, 1, hidden))
    weight_ih, weight_hh, bias_ih, _ = gradients(x)
    np.testing.assert_allclose(weight_ih, np.outer(bias_ih, x), rtol=1e-12, atol=1e-14)
    assert bias_ih.any() and not weight_hh.any()
    first = np.zeros_like(x)
    h = np.asarray(layer(first)[0].detach())[0, 0]
    weight_ih, weight_hh, *_ = gradients(np.concatenate([first, x]))
    k, units = np.abs(x[0, 0]).argmax(), np.abs(h).argmax()
    d, from_h = weight_ih[:, k] / x[0, 0, k], weight_hh[:, units] / h[units]
    np.testing.assert_allclose(weight_ih, np.outer(d, x), rtol=1e-11, atol=1e-13)
    np.testing.assert_allclose(weight_hh, np.outer(from_h, h), rtol=1e-11, atol=1e-13)
    # The n of a GRU takes h through r.
    same = slice(0, 2 * hidden if len(d) == 3 * hidden else len(d))
    np.testing.assert_allclose(from_h[same], d[same], rtol=1e-11, atol=1e-13)


def test_a_second_backward_needs_retain_graph(rng):
    layer = nn.LSTM(3, 4)
    x = rng.standard_normal((2, 1, 3)).astype(np.float32)
    loss = layer(x)[0].sum()
    loss.backward(retain_graph=True)
    first = np.asarray(layer.weight_hh_l0.grad).copy()
    loss.backward(retain_graph=True)
    assert (np.asarray(layer.weight_hh_l0.grad) == 2 * first).all()
    loss.backward()
    with pytest.raises(RuntimeError, match="retain_graph=True"):
        loss.backward()


def test_refusals():
    layer = nn.LSTM(28, 8)
    with pytest.raises(weft.ShapeError, match=r"\[lstm\] input: expected shape \[T, B, 28\] \(3 dimensions\), got \[64, 2, 27\]"):
        layer(np.zeros((64, 2, 27), np.float32))
    with pytest.raises(weft.DtypeError, match=r"\[lstm\] input: expected float32, got float64"):
        layer(np.zeros((4, 2, 28)))
    with pytest.raises(weft.ShapeError, match=r"\[lstm\] h_0: expected shape \[1, 2, 8\], got \[1, 3, 8\]"):
        layer(np.zeros((4, 2, 28), np.float32), (np.zeros((1, 3, 8), np.float32), np.zeros((1, 2, 8), np.float32)))
    with pytest.raises(weft.ConfigError, match=r"\[lstm\] lengths: expected whole numbers from 0 to 4, got \[5, 1\]"):
        layer(np.zeros((4, 2, 28), np.float32), lengths=[5, 1])
    with pytest.raises(weft.ConfigError, match=r"\[gru\] hidden_size: expected a whole number of at least 1, got 0"):
        nn.GRU(3, 0)


@pytest.mark.parametrize("make", LAYERS)
@pytest.mark.parametrize("hidden, batch", [(64, 6), (128, 1), (136, 2), (136, 5), (256, 1), (256, 4)])
def test_few_rows_whose_units_are_shared_out_give_the_same_bits(rng, make, hidden, batch):
    layer = make(hidden, hidden)
    x = rng.standard_normal((9, batch, hidden)).astype(np.float32)
    g = weft.tensor(rng.standard_normal((9, batch, hidden)).astype(np.float32))

    def run():
        t = weft.tensor(x, requires_grad=True)
        layer.zero_grad()
        output, _ = layer(t)
        output.backward(g)
        with weft.no_grad():
            inferred, _ = layer(t)
        return [np.asarray(a).copy() for a in (output.detach(), inferred, t.grad, *(p.grad for p in layer.parameters()))]

    weft.set_num_threads(1)
    alone = run()
    assert (alone[0] == alone[1]).all()
    for threads in (2, 3, 7):
        weft.set_num_threads(threads)
        assert all((a == b).all() for a, b in zip(run(), alone, strict=True)), threads
