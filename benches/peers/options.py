"""What the options of recurrent layers cost: forward+backward of T100 B32 I256 H256 against the plain cell, in turns.

python benches/peers/options.py
"""

import statistics
import time

import numpy as np

import weft
from weft import nn

T, B, H = 100, 32, 256
CELLS = {"rnn": nn.RNN, "lstm": nn.LSTM, "gru": nn.GRU}
COMMON = {
    "layer_norm": {"layer_norm": True},
    "recurrent_dropout": {"recurrent_dropout": 0.1},
    "input_dropout": {"input_dropout": 0.1},
    "zoneout": {"zoneout": 0.1},
    "learn_initial_state": {"learn_initial_state": True},
    "reverse": {"reverse": True},
}
OWN = {
    "rnn": {},
    "lstm": {"peephole": {"peephole": True}, "coupled_gates": {"coupled_gates": True}, "proj_size 255": {"proj_size": 255}},
    "gru": {"reset_after=False": {"reset_after": False}},
}


def runner(layer, x, g):
    def run():
        x.grad = None
        layer.zero_grad()
        y, _ = layer(x)
        y.backward(g if y.shape == g.shape else g[..., : y.shape[-1]])

    run()
    return run


def seconds(run):
    begin = time.perf_counter()
    run()
    return time.perf_counter() - begin


def main(rounds=11):
    rng = np.random.default_rng(0)
    x = weft.tensor(rng.standard_normal((T, B, H)).astype(np.float32), requires_grad=True)
    g = weft.tensor(rng.standard_normal((T, B, H)).astype(np.float32))
    print("| cell | option | time / plain (quartiles) |\n|---|---|---|")
    for cell, make in CELLS.items():
        options = COMMON | OWN[cell]
        every = {k: v for name, o in options.items() if name != "proj_size 255" for k, v in o.items()}
        options["all but layer norm"] = {k: v for k, v in every.items() if k != "layer_norm"}
        options["all"] = every
        plain = runner(make(H, H), x, g)
        for name, chosen in options.items():
            other = runner(make(H, H, **chosen), x, g)
            ratios = [seconds(other) / seconds(plain) for _ in range(rounds)]
            low, middle, high = statistics.quantiles(ratios, n=4)
            print(f"| {cell} | {name} | {middle:.2f} ({low:.2f}–{high:.2f}) |", flush=True)


if __name__ == "__main__":
    main()
