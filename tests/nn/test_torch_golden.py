"""Recurrent layers against numbers that torch computed (tests/golden/make_torch.py): outputs, states, gradients, packed sequences."""

from pathlib import Path

import numpy as np
import pytest

import weft
from weft import nn

GOLDEN = np.load(Path(__file__).parents[1] / "golden/torch_recurrent.npz")
LAYERS = {
    "rnn": lambda: nn.RNN(5, 7, 2, nonlinearity="relu", bidirectional=True),
    "lstm": lambda: nn.LSTM(5, 7, 2, bidirectional=True),
    "gru": lambda: nn.GRU(5, 7, 2, bidirectional=True, batch_first=True),
    "gru_plain": lambda: nn.GRU(5, 19, bias=False),
    "lstm_proj": lambda: nn.LSTM(5, 7, 2, bidirectional=True, proj_size=3),
}


def close(a, b):
    return np.abs(np.asarray(a) - b).max() < 2e-6 * max(1.0, np.abs(b).max())


@pytest.mark.parametrize("name", LAYERS)
def test_a_torch_state_dict_gives_torchs_numbers(name):
    golden = {k.removeprefix(f"{name}/"): GOLDEN[k] for k in GOLDEN.files if k.startswith(f"{name}/")}
    layer = LAYERS[name]()
    layer.load_state_dict({k.removeprefix("param/"): v for k, v in golden.items() if k.startswith("param/")})
    x = weft.tensor(golden["x"], requires_grad=True)
    y, state = layer(x)
    states = state if isinstance(state, tuple) else (state,)
    assert close(y.detach(), golden["y"])
    assert all(close(s.detach(), golden[f"state{i}"]) for i, s in enumerate(states))
    loss = (y * golden["cotangent"]).sum()
    for s in states:
        loss = loss + s.sum()
    loss.backward()
    assert close(x.grad, golden["dx"])
    for n, p in layer.named_parameters():
        assert close(p.grad, golden[f"grad/{n}"]), n
    y, state = layer(x, lengths=golden["lengths"])
    assert close(y.detach(), golden["packed_y"])
    assert close((state[0] if isinstance(state, tuple) else state).detach(), golden["packed_h"])


@pytest.mark.parametrize("name", LAYERS)
def test_packed_sequences_are_torchs(name):
    golden = {k.removeprefix(f"{name}/"): GOLDEN[k] for k in GOLDEN.files if k.startswith(f"{name}/")}
    layer = LAYERS[name]()
    layer.load_state_dict({k.removeprefix("param/"): v for k, v in golden.items() if k.startswith("param/")})
    x = weft.tensor(golden["x"], requires_grad=True)
    first = name == "gru"
    packed = nn.utils.rnn.pack_padded_sequence(x, golden["lengths"], batch_first=first, enforce_sorted=False)
    y, state = layer(packed)
    assert y.batch_sizes.tolist() == golden["batch_sizes"].tolist()
    assert close(y.data.detach(), golden["packed_data"])
    assert close((state[0] if isinstance(state, tuple) else state).detach(), golden["packed_h"])
    (y.data * y.data).sum().backward()
    assert close(x.grad, golden["packed_dx"])
    steps = x.shape[1] if first else x.shape[0]
    padded, lengths = nn.utils.rnn.pad_packed_sequence(y, batch_first=first, total_length=steps)
    assert close(padded.detach(), golden["packed_y"]) and lengths.tolist() == golden["lengths"].tolist()


@pytest.mark.parametrize("name", ["rnn", "lstm", "gru"])
def test_cells_are_torchs(name):
    golden = {k.removeprefix(f"{name}_cell/"): GOLDEN[k] for k in GOLDEN.files if k.startswith(f"{name}_cell/")}
    cell = {"rnn": nn.RNNCell(5, 7), "lstm": nn.LSTMCell(5, 7), "gru": nn.GRUCell(5, 7, bias=False)}[name]
    cell.load_state_dict({k.removeprefix("param/"): v for k, v in golden.items() if k.startswith("param/")})
    state = (golden["h"], golden["c"]) if name == "lstm" else golden["h"]
    y = cell(golden["x"], state)
    y = y if name == "lstm" else (y,)
    assert all(close(t.detach(), golden[f"y{i}"]) for i, t in enumerate(y))
    row = cell(golden["x"][1], tuple(s[1] for s in state) if name == "lstm" else state[1])
    row = row if name == "lstm" else (row,)
    assert all((np.asarray(a.detach()) == np.asarray(b.detach())[1]).all() for a, b in zip(row, y, strict=True))
