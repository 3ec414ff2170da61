"""A recurrent encoder-decoder with attention and its beam search in plain NumPy, f64: one token, one row, one hypothesis at a time."""

import numpy as np

START, END = 1, 2
NEVER = [0, 1, 3]


def sigmoid(x):
    return 1.0 / (1.0 + np.exp(-x))


def gru(x, h, w):
    """Cho et al. 2014 with the reset after the product (torch's)."""
    a, b = w["weight_ih"] @ x + w["bias_ih"], w["weight_hh"] @ h + w["bias_hh"]
    n = len(h)
    r, z = sigmoid(a[:n] + b[:n]), sigmoid(a[n : 2 * n] + b[n : 2 * n])
    new = np.tanh(a[2 * n :] + r * b[2 * n :])
    return (1 - z) * new + z * h


class Reference:
    """The `Seq2Seq` of a state dict: one layer of GRU, both directions, general attention, dense bridge."""

    def __init__(self, state):
        self.w = {name: np.asarray(p, np.float64) for name, p in state.items()}

    def cell(self, name):
        return {
            k: self.w[f"{name.split(':')[0]}.{k}_l0{name.partition(':')[2]}"]
            for k in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        }

    def read(self, source):
        x = self.w["source_embedding.weight"][source]
        half = self.w["encoder.weight_hh_l0"].shape[1]
        directions = []
        for name, order in (("encoder:", range(len(x))), ("encoder:_reverse", range(len(x) - 1, -1, -1))):
            h, out, cell = np.zeros(half), np.zeros((len(x), half)), self.cell(name)
            for t in order:
                h = out[t] = gru(x[t], h, cell)
            directions.append((out, h))
        states = np.concatenate([d[0] for d in directions], 1)
        last = np.concatenate([d[1] for d in directions])
        return states, np.tanh(self.w["bridge.0.weight"] @ last + self.w["bridge.0.bias"])

    def step(self, states, h, token):
        h = gru(self.w["target_embedding.weight"][token], h, self.cell("decoder:"))
        energy = states @ self.w["attention.key.weight"].T @ h
        weights = np.exp(energy - energy.max())
        weights /= weights.sum()
        mixed = np.tanh(self.w["combine.weight"] @ np.concatenate([weights @ states, h]) + self.w["combine.bias"])
        logits = self.w["output.weight"] @ mixed + self.w["output.bias"]
        logits -= logits.max()
        return logits - np.log(np.exp(logits).sum()), weights, h

    def beam(self, source, beam, limit, n_best):
        """The hypotheses that ended as (average log-probability, log-probability, tokens, weights), the best first."""
        states, h = self.read(source)
        alive, ended = [([], 0.0, h, START, [])], []
        while alive:
            if len(ended) >= beam:
                # Enough have ended, and the best of the others would not be among the n_best as it stands.
                now = max(a[1] / (len(a[0]) + 1) for a in alive)
                if sorted((e[0] for e in ended), reverse=True)[n_best - 1] >= now:
                    break
            found = []
            for tokens, total, h, last, looks in alive:
                logp, weights, after = self.step(states, h, last)
                logp[NEVER] = -np.inf
                allowed = [END] if len(tokens) == limit else range(len(logp))
                found += [(total + logp[t], tokens, t, after, [*looks, weights]) for t in allowed]
            found.sort(key=lambda f: -f[0])
            alive = []
            for total, tokens, t, h, looks in [f for f in found if np.isfinite(f[0])][:beam]:
                if t == END:
                    ended.append((total / (len(tokens) + 1), total, tokens, np.stack(looks)))
                else:
                    alive.append(([*tokens, t], total, h, t, looks))
        return sorted(ended, key=lambda e: -e[0])
