"""Recurrent cells with every option, one row and one step at a time, as the papers write them."""

import numpy as np

from . import layer_norm, sigmoid


def step(cell, p, o, x, h, c, mask, keep):
    """One step of one row: parameters p by name, options o, mask of h, kept shares of h and c. Returns h, c and the gates."""
    n = p["weight_ih"].shape[0] // {"rnn_tanh": 1, "rnn_relu": 1, "gru": 3, "lstm": 3 if o.get("coupled_gates") else 4}[cell]
    zero = np.zeros(p["weight_ih"].shape[0])
    b_ih, b_hh = p.get("bias_ih", zero), p.get("bias_hh", zero)
    u = h * mask
    groups = [(0, 2 * n), (2 * n, 3 * n)] if cell == "gru" else [(0, len(zero))]

    def sums(weight, v, bias, gain):
        s = weight @ v
        return (layer_norm(s, gain, None) if gain is not None else s) + bias

    def side(weight, vs, bias, name):
        return np.concatenate([
            sums(p[weight][a:b], v, bias[a:b], p[name][a:b] if name in p else None) for (a, b), v in zip(groups, vs, strict=True)
        ])  # fmt: skip

    gi = side("weight_ih", [x] * len(groups), b_ih, "norm_ih")
    if cell == "gru":
        rz = sums(p["weight_hh"][: 2 * n], u, b_hh[: 2 * n], p["norm_hh"][: 2 * n] if "norm_hh" in p else None)
        r, z = np.split(sigmoid(gi[: 2 * n] + rz), 2)
        v = u if o.get("reset_after", True) else r * u
        q = sums(p["weight_hh"][2 * n :], v, b_hh[2 * n :], p["norm_hh"][2 * n :] if "norm_hh" in p else None)
        new = np.tanh(gi[2 * n :] + (r * q if o.get("reset_after", True) else q))
        full, gates, c_new = (1 - z) * new + z * h, {"r": r, "z": z, "n": new}, c
    else:
        s = gi + side("weight_hh", [u], b_hh, "norm_hh")
        if cell != "lstm":
            full, gates, c_new = np.tanh(s) if cell == "rnn_tanh" else np.maximum(s, 0), {}, c
        else:
            parts = np.split(s, 3 if o.get("coupled_gates") else 4)
            i, f, g, out = [None, *parts] if o.get("coupled_gates") else parts
            peep = p.get("peephole")
            peeps = None if peep is None else ([None, *peep] if o.get("coupled_gates") else peep)
            f = sigmoid(f + (0 if peeps is None else peeps[1] * c))
            i = 1 - f if o.get("coupled_gates") else sigmoid(i + (0 if peeps is None else peeps[0] * c))
            g = np.tanh(g)
            c_tilde = f * c + i * g
            out = sigmoid(out + (0 if peeps is None else peeps[2] * c_tilde))
            inner = layer_norm(c_tilde, *p["norm_c"]) if "norm_c" in p else c_tilde
            full = out * np.tanh(inner)
            gates = {"i": i, "f": f, "g": g, "o": out}
            c_new = keep[1] * c_tilde + (1 - keep[1]) * c
    h_tilde = p["weight_hr"] @ full if "weight_hr" in p else full
    return keep[0] * h_tilde + (1 - keep[0]) * h, c_new, gates


def layer(cell, p, o, x, h_0, c_0, lengths=None, reverse=False, mask=None, keep=None):
    """x [T, B, I] through one direction; keep: arrays [T, B, P] and [T, B, H] of kept shares. Returns output [T, B, P], h_n, c_n."""
    steps, batch, _ = x.shape
    h_n, c_n = h_0.copy(), c_0.copy()
    output = np.zeros((steps, batch, h_0.shape[1]), h_0.dtype)
    for b in range(batch):
        n = steps if lengths is None else lengths[b]
        for number, t in enumerate(range(n)[::-1] if reverse else range(n)):
            kept = (1.0, 1.0) if keep is None else (keep[0][number, b], keep[1][number, b])
            m = 1.0 if mask is None else mask[b]
            h_n[b], c_n[b], _ = step(cell, p, o, x[t, b], h_n[b], c_n[b], m, kept)
            output[t, b] = h_n[b]
    return output, h_n, c_n
