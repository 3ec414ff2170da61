"""Writes tests/golden/torch_recurrent.npz: outputs and gradients of torch.nn layers on small inputs, from a state dict that Weft loads.

Run: python tests/golden/make_torch.py   (needs torch; written with torch 2.15)
"""

import pathlib

import numpy as np
import torch


def main():
    torch.manual_seed(0)
    out = {}
    makers = {
        "rnn": lambda: torch.nn.RNN(5, 7, 2, nonlinearity="relu", bidirectional=True),
        "lstm": lambda: torch.nn.LSTM(5, 7, 2, bidirectional=True),
        "gru": lambda: torch.nn.GRU(5, 7, 2, bidirectional=True, batch_first=True),
        "gru_plain": lambda: torch.nn.GRU(5, 19, bias=False),
        "lstm_proj": lambda: torch.nn.LSTM(5, 7, 2, bidirectional=True, proj_size=3),
    }
    for name, make in makers.items():
        layer = make()
        x = torch.randn(4, 3, 5, requires_grad=True)
        y, state = layer(x)
        cotangent = torch.randn_like(y)
        ((y * cotangent).sum() + sum(s.sum() for s in (state if isinstance(state, tuple) else (state,)))).backward()
        out |= {f"{name}/x": x, f"{name}/y": y, f"{name}/cotangent": cotangent, f"{name}/dx": x.grad.clone()}
        out |= {f"{name}/state{i}": s for i, s in enumerate(state if isinstance(state, tuple) else (state,))}
        out |= {f"{name}/param/{n}": p for n, p in layer.named_parameters()}
        out |= {f"{name}/grad/{n}": p.grad.clone() for n, p in layer.named_parameters()}
        # The same with lengths, through torch's packed sequences.
        first = name == "gru"
        lengths = torch.tensor([4, 2, 3] if not first else [3, 1, 2, 3])
        packed = torch.nn.utils.rnn.pack_padded_sequence(x, lengths, batch_first=first, enforce_sorted=False)
        y, state = layer(packed)
        out |= {f"{name}/packed_data": y.data, f"{name}/batch_sizes": y.batch_sizes}
        x.grad = None
        (y.data * y.data).sum().backward()
        out[f"{name}/packed_dx"] = x.grad.clone()
        steps = x.shape[1] if first else x.shape[0]
        out[f"{name}/lengths"] = lengths
        out[f"{name}/packed_y"] = torch.nn.utils.rnn.pad_packed_sequence(y, batch_first=first, total_length=steps)[0]
        out[f"{name}/packed_h"] = state[0] if isinstance(state, tuple) else state
    for name, cell in (
        ("rnn", torch.nn.RNNCell(5, 7)),
        ("lstm", torch.nn.LSTMCell(5, 7)),
        ("gru", torch.nn.GRUCell(5, 7, bias=False)),
    ):
        x, h = torch.randn(3, 5), torch.randn(3, 7)
        state = (h, torch.randn(3, 7)) if name == "lstm" else h
        y = cell(x, state)
        out |= {f"{name}_cell/x": x, f"{name}_cell/h": h} | {f"{name}_cell/param/{n}": p for n, p in cell.named_parameters()}
        out |= {f"{name}_cell/c": state[1]} if name == "lstm" else {}
        out |= {f"{name}_cell/y{i}": t for i, t in enumerate(y if name == "lstm" else (y,))}
    path = pathlib.Path(__file__).parent / "torch_recurrent.npz"
    np.savez_compressed(path, **{k: v.detach().numpy() for k, v in out.items()})


if __name__ == "__main__":
    main()
