"""Writes tests/golden/torch_recurrent.npz: outputs and gradients of torch.nn layers on small inputs, from a state dict that Weft loads.

Run: python tests/golden/make_torch.py   (needs torch; written with torch 2.13)
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
    }
    for name, make in makers.items():
        layer = make()
        x = torch.randn(4, 3, 5, requires_grad=True)
        y, state = layer(x)
        cotangent = torch.randn_like(y)
        ((y * cotangent).sum() + sum(s.sum() for s in (state if isinstance(state, tuple) else (state,)))).backward()
        out |= {f"{name}/x": x, f"{name}/y": y, f"{name}/cotangent": cotangent, f"{name}/dx": x.grad}
        out |= {f"{name}/state{i}": s for i, s in enumerate(state if isinstance(state, tuple) else (state,))}
        out |= {f"{name}/param/{n}": p for n, p in layer.named_parameters()}
        out |= {f"{name}/grad/{n}": p.grad for n, p in layer.named_parameters()}
        # The same with lengths, through torch's packed sequences.
        first = name == "gru"
        lengths = torch.tensor([4, 2, 3] if not first else [3, 1, 2, 3])
        packed = torch.nn.utils.rnn.pack_padded_sequence(x, lengths, batch_first=first, enforce_sorted=False)
        y, state = layer(packed)
        steps = x.shape[1] if first else x.shape[0]
        out[f"{name}/lengths"] = lengths
        out[f"{name}/packed_y"] = torch.nn.utils.rnn.pad_packed_sequence(y, batch_first=first, total_length=steps)[0]
        out[f"{name}/packed_h"] = state[0] if isinstance(state, tuple) else state
    path = pathlib.Path(__file__).parent / "torch_recurrent.npz"
    np.savez_compressed(path, **{k: v.detach().numpy() for k, v in out.items()})


if __name__ == "__main__":
    main()
