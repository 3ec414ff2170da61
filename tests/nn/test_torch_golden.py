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
