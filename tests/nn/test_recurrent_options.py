"""Options of recurrent layers as a user meets them: pieces and whole, gates, misuse."""

import numpy as np
import pytest

import weft
from weft import nn

LAYERS = {"rnn": nn.RNN, "lstm": nn.LSTM, "gru": nn.GRU}
ALL = {
    "rnn": {"layer_norm": True, "zoneout": 0.2, "recurrent_dropout": 0.3, "input_dropout": 0.2, "residual": True},
    "gru": {"layer_norm": True, "zoneout": 0.2, "recurrent_dropout": 0.3, "input_dropout": 0.2, "reset_after": False},
    "lstm": {
        "layer_norm": True, "zoneout": (0.2, 0.4), "recurrent_dropout": 0.3, "input_dropout": 0.2, "peephole": True,
        "coupled_gates": True, "proj_size": 9, "learn_initial_state": True, "forget_bias": 1.0, "orthogonal": True,
    },
}  # fmt: skip


def same(a, b):
    return all((np.asarray(x.detach()) == np.asarray(y.detach())).all() for x, y in zip(flat(a), flat(b), strict=True))


def flat(state):
    return [t for part in state for t in flat(part)] if isinstance(state, tuple) else [state]


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("training", [True, False])
def test_pieces_with_carried_noise_are_the_whole_bit_for_bit(rng, name, training):
    layer = LAYERS[name](7, 20, 2, **ALL[name]).train(training)
    x = rng.standard_normal((6, 3, 7)).astype(np.float32)
    weft.manual_seed(5)
    whole, last = layer(x, noise=layer.noise(3))
    weft.manual_seed(5)
    noise, state, pieces = layer.noise(3), None, []
    for first, end in [(0, 1), (1, 4), (4, 6)]:
        y, state = layer(x[first:end], state, noise=noise)
        pieces.append(np.asarray(y.detach()))
    assert noise.step == 6
    assert (np.concatenate(pieces) == np.asarray(whole.detach())).all() and same(state, last)
    if training:
        again, _ = layer(x)
        assert not same(again, whole)
        with pytest.raises(weft.ConfigError, match=r"noise: expected what layer.noise\(3\) makes, got one for 2"):
            layer(x, noise=layer.noise(2))


def test_masks_keep_their_share_and_are_those_of_the_seed():
    layer = nn.LSTM(40, 50, input_dropout=0.25, recurrent_dropout=0.5)

    def masks():
        weft.manual_seed(3)
        noise = layer.noise(100)
        return noise.input(0), noise.direction(0).mask

    for mask, again, p, width in zip(masks(), masks(), (0.25, 0.5), (40, 50), strict=True):
        assert mask.shape == (100, width) and mask.dtype == np.float32 and (mask == again).all()
        assert set(np.unique(mask)) == {np.float32(0), np.float32(1 / (1 - p))}
        assert abs((mask == 0).mean() - p) < 0.05


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("hidden", [37, 64, 70])
@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("lengths", [None, [5, 1, 0, 5, 3, 2, 5, 4, 1]])
def test_wide_layers_by_phases_are_those_of_the_tiles(rng, name, hidden, batch_first, lengths):
    layer = LAYERS[name](11, hidden, 2, bidirectional=True, batch_first=batch_first, dtype="float64")
    x = weft.tensor(rng.standard_normal((9, 5, 11) if batch_first else (5, 9, 11)), requires_grad=True)
    states = [weft.tensor(rng.standard_normal((4, 9, hidden)), requires_grad=True) for _ in range(2 if name == "lstm" else 1)]
    for given in (None, tuple(states) if name == "lstm" else states[0]):
        found = []
        for shown in ({}, {"return_gates": True}):
            leaves = [x, *states, *layer.parameters()]
            for leaf in leaves:
                leaf.grad = None
            y, last, *_ = layer(x, given, lengths=lengths, **shown)
            ((y * y).sum() + sum(s.sum() for s in flat(last))).backward()
            gradients = [None if leaf.grad is None else np.array(leaf.grad) for leaf in leaves]
            found.append(((y, last), gradients))
        (tiles, by_tiles), (phases, by_phases) = found
        assert same(tiles, phases)
        for a, b in zip(by_tiles, by_phases, strict=True):
            assert (a is None) == (b is None)
            if a is not None:
                np.testing.assert_allclose(b, a, rtol=1e-10, atol=1e-11)


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("options", [{}, {"zoneout": 0.2}])
def test_lengths_over_several_blocks_of_steps_have_one_result(rng, name, options):
    # So many rows that a layer goes through its steps block by block, of which later ones have few rows left.
    layer = LAYERS[name](100, 64, **options).eval()
    steps, batch = 200, 40
    x = weft.tensor(rng.standard_normal((steps, batch, 100)).astype(np.float32), requires_grad=True)
    lengths = rng.integers(0, steps + 1, batch)
    found = []
    for count in (1, 2, 3, 7):
        weft.set_num_threads(count)
        leaves = [x, *layer.parameters()]
        for leaf in leaves:
            leaf.grad = None
        y, _ = layer(x, lengths=lengths)
        y.sum().backward()
        with weft.no_grad():
            assert same(layer(x, lengths=lengths)[0], y)
        found.append([np.array(a) for a in (y.detach(), *(leaf.grad for leaf in leaves))])
    assert all((a == b).all() for other in found[1:] for a, b in zip(found[0], other, strict=True))
    for row in (0, 17, 39):
        if n := lengths[row]:
            alone, _ = layer(np.asarray(x.detach())[:n, row : row + 1])
            assert (np.asarray(alone.detach())[:, 0] == found[0][0][:n, row]).all()


EACH = [
    (name, options)
    for name, extra in {
        "rnn": [],
        "gru": [{"reset_after": False}],
        "lstm": [{"peephole": True}, {"coupled_gates": True}, {"peephole": True, "coupled_gates": True}, {"proj_size": 9}],
    }.items()
    for options in [{}, {"layer_norm": True}, {"zoneout": 0.2}, {"recurrent_dropout": 0.3}, *extra, ALL[name]]
]


@pytest.mark.parametrize("name, options", EACH, ids=lambda v: v if isinstance(v, str) else "+".join(v) or "plain")
@pytest.mark.parametrize("hidden", [20, 64])
def test_steps_beyond_all_lengths_are_no_steps(rng, name, options, hidden):
    layer = LAYERS[name](7, hidden, 2, bidirectional=True, **options)
    x, lengths = rng.standard_normal((6, 3, 7)).astype(np.float32), [2, 0, 4]
    found = []
    for steps, given in ((6, lengths), (4, lengths), (6, [0, 0, 0])):
        weft.manual_seed(5)
        leaves = [weft.tensor(x[:steps], requires_grad=True), *layer.parameters()]
        for leaf in leaves:
            leaf.grad = None
        y, last = layer(leaves[0], lengths=given)
        ((y * y).sum() + sum(s.sum() for s in flat(last))).backward()
        by_step = [np.asarray(a) for a in (y.detach(), leaves[0].grad)]
        assert all((a[max(given) :] == 0).all() for a in by_step)
        whole = [np.asarray(a) for a in (*(s.detach() for s in flat(last)), *(leaf.grad for leaf in leaves[1:]))]
        found.append([*(a[:4] for a in by_step), *whole])
    assert all((a == b).all() for a, b in zip(found[0], found[1], strict=True))


@pytest.mark.parametrize("name", LAYERS)
def test_a_row_does_not_depend_on_its_batch(rng, name):
    options = {k: v for k, v in ALL[name].items() if k != "zoneout"} | {"zoneout": 0.2}
    layer = LAYERS[name](7, 20, 2, batch_first=True, bidirectional=True, **options).eval()
    x = rng.standard_normal((5, 6, 7)).astype(np.float32)
    lengths = [6, 2, 0, 3, 6]
    for row, n in enumerate(lengths):
        x[row, n:] = np.nan
    whole, _ = layer(x, lengths=lengths)
    for row, n in enumerate(lengths):
        if n:
            alone, _ = layer(x[row : row + 1, :n])
            assert (np.asarray(alone.detach())[0] == np.asarray(whole.detach())[row, :n]).all()
        assert (np.asarray(whole.detach())[row, n:] == 0).all()


@pytest.mark.parametrize("name", LAYERS)
def test_gates_change_nothing_and_follow_the_equations(rng, name):
    layer = LAYERS[name](4, 5, 2, bidirectional=True, batch_first=True)
    x = rng.standard_normal((3, 6, 4)).astype(np.float32)
    lengths = [6, 1, 3]
    plain = layer(x, lengths=lengths)
    *seen, gates = layer(x, lengths=lengths, return_gates=True)
    assert same(plain, tuple(seen)) and list(gates) == ["l0", "l0_reverse", "l1", "l1_reverse"]
    top = {k: np.asarray(t) for k, t in gates["l1"].items()}
    assert all(t.shape == (3, 6, 5) for t in top.values())
    h = np.asarray(seen[0].detach())[..., :5]
    assert (top["h"] == h).all() and (top["h"][1, 1:] == 0).all()
    if name == "lstm":
        before = np.concatenate([np.zeros((3, 1, 5)), top["c"][:, :-1]], 1)
        c = top["f"] * before + top["i"] * top["g"]
        alive = (np.arange(6) < np.array(lengths)[:, None])[..., None]
        np.testing.assert_allclose(top["c"], c * alive, atol=1e-6)
        np.testing.assert_allclose(top["h"], top["o"] * np.tanh(top["c"]) * alive, atol=1e-6)
    if name == "gru":
        before = np.concatenate([np.zeros((3, 1, 5)), h[:, :-1]], 1)
        np.testing.assert_allclose(h[0], ((1 - top["z"]) * top["n"] + top["z"] * before)[0], atol=1e-6)
    unbatched = LAYERS[name](4, 5)
    *_, gates = unbatched(x[0], return_gates=True)
    assert gates["l0"]["h"].shape == (6, 5)


def test_initial_values_and_learned_states(rng):
    layer = nn.LSTM(4, 6, forget_bias=1.5, orthogonal=True, learn_initial_state=True, layer_norm=True)
    np.testing.assert_allclose(np.asarray(layer.bias_ih_l0.detach())[6:12], 1.5)
    np.testing.assert_allclose(np.asarray(layer.bias_hh_l0.detach())[6:12], 0.0)
    for gate in np.split(np.asarray(layer.weight_hh_l0.detach()), 4):
        np.testing.assert_allclose(gate @ gate.T, np.eye(6), atol=1e-5)
    x = rng.standard_normal((3, 2, 4)).astype(np.float32)
    y, _ = layer(x)
    y.sum().backward()
    assert np.abs(np.asarray(layer.initial_h.grad)).min() > 0 and np.abs(np.asarray(layer.initial_c.grad)).min() > 0
    state = (np.zeros((1, 2, 6), np.float32),) * 2
    given, _ = layer(x, state)
    assert same(given, y)
    again = nn.LSTM(4, 6, layer_norm=True, learn_initial_state=True)
    again.load_state_dict(layer.state_dict())
    assert same(again(x), layer(x))
    assert repr(layer) == "LSTM(4, 6, layer_norm=True, orthogonal=True, learn_initial_state=True, forget_bias=1.5)"


def test_reverse_and_residual(rng):
    x = rng.standard_normal((5, 2, 4)).astype(np.float32)
    both, one = nn.GRU(4, 3, bidirectional=True), nn.GRU(4, 3, reverse=True)
    one.load_state_dict({k.removesuffix("_reverse"): v for k, v in both.state_dict().items() if k.endswith("_reverse")})
    lengths = [2, 5]
    assert (np.asarray(one(x, lengths=lengths)[0].detach()) == np.asarray(both(x, lengths=lengths)[0].detach())[..., 3:]).all()
    plain, deep = nn.RNN(4, 3, 2), nn.RNN(4, 3, 2, residual=True)
    deep.load_state_dict(plain.state_dict())
    first = nn.RNN(4, 3)
    first.load_state_dict({k: v for k, v in plain.state_dict().items() if k.endswith("l0")})
    expected = np.asarray(plain(x)[0].detach()) + np.asarray(first(x)[0].detach())
    assert (np.asarray(deep(x)[0].detach()) == expected).all()


def test_truncated_backpropagation_reaches_only_its_piece(rng):
    layer = nn.LSTM(3, 4)
    x = weft.tensor(rng.standard_normal((6, 2, 3)).astype(np.float32), requires_grad=True)
    _, state = layer(x[:3])
    y, _ = layer(x[3:], nn.detached(state))
    y.sum().backward()
    grad = np.asarray(x.grad)
    assert (grad[:3] == 0).all() and np.abs(grad[3:]).min() > 0


def test_saturation_and_many_steps():
    for name, make in LAYERS.items():
        layer = make(2, 4, **{k: v for k, v in ALL[name].items() if k != "proj_size"})
        x = weft.tensor(np.array([[[1e4, -1e4]], [[-1e4, 1e4]]], np.float32), requires_grad=True)
        y, _ = layer(x)
        y.sum().backward()
        assert np.isfinite(np.asarray(y.detach())).all() and np.isfinite(np.asarray(x.grad)).all()
    y, _ = nn.GRU(1, 4)(np.ones((10_000, 1, 1), np.float32))
    assert np.isfinite(np.asarray(y.detach())).all()


def test_empty_batches_and_no_steps():
    for make in LAYERS.values():
        y, _ = make(3, 5, layer_norm=True)(np.zeros((4, 0, 3), np.float32))
        assert y.shape == (4, 0, 5)
        y, _ = make(3, 5, zoneout=0.1)(np.zeros((4, 2, 3), np.float32), lengths=[0, 0])
        assert (np.asarray(y.detach()) == 0).all()
        with pytest.raises(weft.ShapeError, match=r"input: expected at least one step, got \[0, 2, 3\]"):
            make(3, 5)(np.zeros((0, 2, 3), np.float32))


MISUSE = [
    (lambda: nn.LSTM(3, 4, proj_size=4), r"\[lstm\] proj_size: expected a whole number from 0 to 3, got 4"),
    (lambda: nn.LSTM(3, 4, proj_size=-1), r"proj_size: expected a whole number"),
    (lambda: nn.GRU(3, 4, zoneout=1.0), r"\[gru\] zoneout: expected a number of at least 0 and below 1"),
    (lambda: nn.LSTM(3, 4, zoneout=(0.1, 1.5)), r"zoneout"),
    (lambda: nn.RNN(3, 4, recurrent_dropout=1.5), r"\[rnn\] recurrent_dropout: expected a number of at least 0 and below 1, got 1.5"),
    (lambda: nn.RNN(3, 4, input_dropout=-0.1), r"input_dropout"),
    (lambda: nn.RNN(3, 4, dropout=1.1), r"dropout: expected a number from 0 to 1"),
    (lambda: nn.LSTM(3, 4, bias=False, forget_bias=1.0), r"forget_bias: expected a layer with bias=True"),
    (lambda: nn.GRU(3, 4, reverse=True, bidirectional=True), r"reverse: a bidirectional layer has both"),
    (lambda: nn.LSTM(3, 4)(np.zeros((2, 2, 4), np.float32)), r"\[lstm\] input: expected shape \[T, B, 3\]"),
    (lambda: nn.LSTM(3, 4, 2)(np.zeros((2, 2, 3), np.float32), (np.zeros((1, 2, 4), np.float32),) * 2), r"h_0: expected shape \[2, 2, 4\]"),
    (lambda: nn.GRU(3, 4)(np.zeros((2, 2, 3), np.float32), lengths=[3, 1]), r"lengths"),
    (lambda: nn.GRU(3, 4)(np.zeros((2, 2, 3), np.float32), lengths=[-1, 1]), r"lengths"),
    (lambda: nn.GRU(3, 4)(np.zeros((2, 2, 3), np.float32), lengths=[1.5, 1.0]), r"lengths"),
    (lambda: nn.GRU(3, 4)(np.zeros((2, 2, 3))), r"\[gru\] input: expected float32, got float64"),
    (lambda: nn.GRU(3, 4, device="cuda"), r"device: expected one of None, 'cpu', got 'cuda'"),
    (lambda: nn.utils.rnn.pack_padded_sequence(np.zeros((3, 2, 1), np.float32), [1, 2]), r"lengths: expected falling lengths"),
    (lambda: nn.utils.rnn.pack_padded_sequence(np.zeros((3, 2, 1), np.float32), [0, 2], enforce_sorted=False), r"lengths: expected 1 to 3"),
    (lambda: nn.utils.rnn.pack_padded_sequence(np.zeros((3, 2, 1), np.float32), [4, 2]), r"lengths: expected 1 to 3"),
    (lambda: nn.LSTMCell(3, 4)(np.zeros((2, 5), np.float32)), r"\[lstmcell\] input: expected shape \[B, 3\]"),
    (lambda: nn.GRUCell(3, 4)(np.zeros((2, 3), np.float32), np.zeros((2, 3), np.float32)), r"\[grucell\] h: expected shape \[2, 4\]"),
]  # fmt: skip


@pytest.mark.parametrize("make, text", MISUSE, ids=range(len(MISUSE)))
def test_misuse_has_its_sentence(make, text):
    with pytest.raises(weft.errors.WeftError, match=text):
        make()


def test_unknown_options_are_refused():
    with pytest.raises(TypeError, match=r"GRU\(\) got an unexpected keyword argument 'peephole'"):
        nn.GRU(3, 4, peephole=True)
    with pytest.raises(TypeError, match=r"RNN\(\) got an unexpected keyword argument 'proj_size'"):
        nn.RNN(3, 4, proj_size=2)


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("lengths", [None, [3, 0, 5]])
@pytest.mark.parametrize("reverse", [False, True])
def test_unroll_of_a_cell_is_the_layer(rng, name, lengths, reverse):
    layer = LAYERS[name](4, 6, reverse=reverse)
    cell = {"rnn": nn.RNNCell, "lstm": nn.LSTMCell, "gru": nn.GRUCell}[name](4, 6)
    cell.load_state_dict({k.removesuffix("_l0"): v for k, v in layer.state_dict().items()})
    x = rng.standard_normal((5, 3, 4)).astype(np.float32)
    for row, n in enumerate(lengths or []):
        x[n:, row] = np.nan
    zero = weft.zeros(3, 6)
    state = (zero, zero) if name == "lstm" else zero
    y, last = nn.Unroll(cell, reverse=reverse)(x, state, lengths=lengths)
    want, end = layer(x, lengths=lengths)
    np.testing.assert_allclose(np.asarray(y.detach()), np.asarray(want.detach()), atol=1e-6)
    for a, b in zip(flat(last), flat(end), strict=True):
        np.testing.assert_allclose(np.asarray(a.detach()), np.asarray(b.detach())[0], atol=1e-6)
    y.sum().backward()
    assert all(np.isfinite(np.asarray(p.grad)).all() for p in cell.parameters())


def test_packing_there_and_back(rng):
    rows = [rng.standard_normal((n, 2)).astype(np.float32) for n in (2, 5, 1)]
    tools = nn.utils.rnn
    packed = tools.pack_sequence(rows, enforce_sorted=False)
    for got, want in zip(tools.unpack_sequence(packed), rows, strict=True):
        assert (np.asarray(got) == want).all()
    left = np.asarray(tools.pad_sequence(rows, batch_first=True, padding_value=7.0, padding_side="left"))
    assert (left[0, :3] == 7.0).all() and (left[0, 3:] == rows[0]).all()
    assert tools.invert_permutation(weft.tensor([2, 0, 1])).tolist() == [1, 2, 0]


@pytest.mark.parametrize("name", LAYERS)
def test_gradient_flow_is_the_derivative_by_the_state(rng, name):
    layer = LAYERS[name](3, 4, dtype=np.float64)
    x = rng.standard_normal((5, 1, 3))
    flow = weft.interpret.gradient_flow(layer, x, lambda y: (y[-1] * y[-1]).sum())
    assert flow.shape == (1, 5)
    _, state = layer(x[:2])
    leaves = [weft.tensor(np.asarray(s.detach()), requires_grad=True) for s in (state if name == "lstm" else (state,))]
    y, _ = layer(x[2:], tuple(leaves) if name == "lstm" else leaves[0])
    (y[-1] * y[-1]).sum().backward()
    assert abs(flow[0, 1] - np.linalg.norm(np.asarray(leaves[0].grad))) < 1e-12
    assert abs(flow[0, 4] - 2 * np.linalg.norm(np.asarray(y[-1].detach()))) < 1e-12


@pytest.mark.parametrize("name", LAYERS)
def test_a_stream_of_arrays_is_the_whole_sequence_bit_for_bit(rng, name):
    for batch in (1, 3):
        layer = LAYERS[name](6, 70, 2)
        x = rng.standard_normal((9, batch, 6)).astype(np.float32)
        whole, last = layer(x)
        stream = layer.stream(batch)
        for t in range(5):
            y = stream(x[t])
            assert (y == np.asarray(whole.detach())[t]).all()
        other = layer.stream(batch)
        other.state = stream.state
        for t in range(5, 9):
            assert (other(x[t]) == np.asarray(whole.detach())[t]).all()
        parts = other.state if name == "lstm" else (other.state,)
        assert all((a == np.asarray(b.detach())).all() for a, b in zip(parts, flat(last), strict=True))
        stream.reset()
        assert (stream(x[0]) == np.asarray(whole.detach())[0]).all()
    with pytest.raises(weft.ShapeError, match=r"stream input: expected shape \[3, 6\], got \[1, 6\]"):
        stream(x[0][:1])
    with pytest.raises(weft.ConfigError, match="stream: expected a layer of one direction"):
        LAYERS[name](6, 7, bidirectional=True).stream()


@pytest.mark.parametrize("name", LAYERS)
def test_the_short_way_without_a_tape_gives_the_same_bits(rng, name):
    for options in ({}, {"num_layers": 3}, {"batch_first": True, "num_layers": 2, "reverse": True}):
        layer = LAYERS[name](6, 20, **options).eval()
        x = weft.tensor(rng.standard_normal((4, 3, 6)).astype(np.float32))
        recorded = layer(x)
        with weft.no_grad():
            assert same(layer(x), recorded)
            again = layer(x, recorded[1])
        assert same(again, layer(x, recorded[1]))
    with weft.no_grad(), pytest.raises(weft.ShapeError, match="h_0"):
        layer(x, (recorded[1][0][:1],) * 2 if name == "lstm" else recorded[1][:1])
