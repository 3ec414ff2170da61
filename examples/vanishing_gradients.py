"""How far gradients reach: sigmoid, tanh and ReLU networks, LSTM and GRU over 200 steps (Bengio et al. 1994; Hochreiter 1991).

    python examples/vanishing_gradients.py --out vanishing_gradients.png

The loss looks at the last step only; what is drawn is the norm of its gradient at each h_t, before any training.
"""

import argparse

import numpy as np

import weft
from weft import nn


class SigmoidCell(nn.Module):
    """h' = σ(W x + b + R h): a cell of one's own, by Unroll a layer."""

    def __init__(self, inputs, hidden):
        super().__init__()
        self.input, self.recurrent = nn.Linear(inputs, hidden), nn.Linear(hidden, hidden, bias=False)

    def forward(self, x, h=None):
        """The next h."""
        z = self.input(x)
        return (z if h is None else z + self.recurrent(h)).sigmoid()


def flows(steps, hidden, seed=0):
    """Norms [T] of each kind of layer, on one random sequence batch."""
    weft.manual_seed(seed)
    inputs = 8
    layers = {
        "sigmoid RNN": nn.Unroll(SigmoidCell(inputs, hidden)),
        "tanh RNN": nn.RNN(inputs, hidden),
        "ReLU RNN": nn.RNN(inputs, hidden, nonlinearity="relu"),
        "LSTM": nn.LSTM(inputs, hidden),
        "LSTM, forget bias 3": nn.LSTM(inputs, hidden, forget_bias=3.0),
        "GRU": nn.GRU(inputs, hidden),
    }
    x = weft.randn(steps, 4, inputs)
    return {name: weft.interpret.gradient_flow(layer, x, lambda y: y[-1].sum())[0] for name, layer in layers.items()}


def main(arguments=None):
    """Prints how much of the gradient is left at the first step; draws the curves."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--hidden", type=int, default=64)
    parser.add_argument("--out", help="a picture of the curves (needs matplotlib)")
    options = parser.parse_args(arguments)
    found = flows(options.steps, options.hidden)
    print(f"gradient at step 0 as a share of that at step {options.steps - 1}:")
    for name, norms in found.items():
        share = norms[0] / norms[-1]
        print(f"  {name:22s} 1e{np.log10(share):.0f}" if share > 0 else f"  {name:22s} 0 (below the smallest float32)")
    if options.out:
        weft.interpret.plot_gradient_flow(found).figure.savefig(options.out, dpi=100)
    return found


if __name__ == "__main__":
    main()
