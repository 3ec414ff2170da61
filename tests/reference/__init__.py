"""Every operation in plain NumPy, as its paper writes it: the one oracle. Slow, in f64, and read before it is trusted."""

import math

import numpy as np


def sigmoid(x):
    return 1.0 / (1.0 + np.exp(-x))


def softmax(x, axis=-1):
    e = np.exp(x - x.max(axis=axis, keepdims=True))
    return e / e.sum(axis=axis, keepdims=True)


def log_softmax(x, axis=-1):
    return x - x.max(axis=axis, keepdims=True) - np.log(np.exp(x - x.max(axis=axis, keepdims=True)).sum(axis=axis, keepdims=True))


def erf(x):
    from math import erf as scalar

    return np.vectorize(scalar, otypes=[np.float64])(x)


def gelu(x):
    """Hendrycks & Gimpel 2016, §2."""
    return x * 0.5 * (1.0 + erf(x / np.sqrt(2.0)))


def gelu_tanh(x):
    """Hendrycks & Gimpel 2016, §2, the approximation."""
    return 0.5 * x * (1.0 + np.tanh(np.sqrt(2.0 / np.pi) * (x + 0.044715 * x**3)))


def layer_norm(x, weight=None, bias=None, eps=1e-5):
    """Ba et al. 2016, eq. 4, over the last axis."""
    mean = x.mean(-1, keepdims=True)
    y = (x - mean) / np.sqrt(((x - mean) ** 2).mean(-1, keepdims=True) + eps)
    y = y if weight is None else y * weight
    return y if bias is None else y + bias


def rms_norm(x, weight=None, eps=1e-5):
    """Zhang & Sennrich 2019, eq. 4, over the last axis."""
    y = x / np.sqrt((x**2).mean(-1, keepdims=True) + eps)
    return y if weight is None else y * weight


def activate(name, x):
    """The activations that a linear layer takes along."""
    if name == "gelu_tanh":
        return 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))
    if name == "gelu":
        return x * 0.5 * (1 + np.vectorize(math.erf)(x / np.sqrt(2)))
    return {
        "relu": lambda: np.maximum(x, 0),
        "tanh": lambda: np.tanh(x),
        "sigmoid": lambda: 1 / (1 + np.exp(-x)),
        None: lambda: x,
    }[name]()


def cross_entropy(x, target, ignore=-100, smoothing=0.0, reduction="mean"):
    """Szegedy et al. 2016, §7: targets (1 − ε)·onehot + ε/V."""
    logp = log_softmax(x)
    losses = np.zeros(len(target))
    for n, t in enumerate(target):
        if t != ignore:
            losses[n] = -(1 - smoothing) * logp[n, t] - smoothing * logp[n].mean()
    if reduction == "none":
        return losses
    return losses.sum() if reduction == "sum" else losses.sum() / np.count_nonzero(target != ignore)


def attention(q, k, v, energy=None, scale=1.0, lengths=None):
    """Luong et al. 2015, eq. 7-8; with an energy Bahdanau et al. 2015, A.1.2. Returns context and weights."""
    weights = np.zeros((q.shape[0], q.shape[1], k.shape[1]))
    for b in range(q.shape[0]):
        n = k.shape[1] if lengths is None else lengths[b]
        if n == 0:
            continue
        for t in range(q.shape[1]):
            if energy is None:
                scores = np.array([scale * q[b, t] @ k[b, s] for s in range(n)])
            else:
                scores = np.array([energy @ np.tanh(q[b, t] + k[b, s]) for s in range(n)])
            weights[b, t, :n] = softmax(scores)
    return weights @ v, weights


def cell_step(cell, x, h, c, w_ih, w_hh, b_ih, b_hh):
    """One step of one sequence, as in the documentation of torch.nn."""
    gi = w_ih @ x + (0 if b_ih is None else b_ih)
    gh = w_hh @ h + (0 if b_hh is None else b_hh)
    n = len(h)
    if cell == "rnn_tanh":
        return np.tanh(gi + gh), c
    if cell == "rnn_relu":
        return np.maximum(gi + gh, 0), c
    if cell == "lstm":
        i, f, g, o = np.split(gi + gh, 4)
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        return sigmoid(o) * np.tanh(c), c
    r, z = sigmoid(gi[:n] + gh[:n]), sigmoid(gi[n : 2 * n] + gh[n : 2 * n])
    new = np.tanh(gi[2 * n :] + r * gh[2 * n :])
    return (1 - z) * new + z * h, c


def recurrent(cell, x, w_ih, w_hh, b_ih, b_hh, h_0, c_0, lengths=None, reverse=False):
    """x [T, B, I] through one direction; returns output [T, B, H], h_n, c_n. Steps beyond a length stay zero and are not read."""
    steps, batch, _ = x.shape
    output = np.zeros((steps, batch, h_0.shape[1]))
    h_n, c_n = h_0.copy(), c_0.copy()
    for b in range(batch):
        n = steps if lengths is None else lengths[b]
        for t in range(n)[::-1] if reverse else range(n):
            h_n[b], c_n[b] = cell_step(cell, x[t, b], h_n[b], c_n[b], w_ih, w_hh, b_ih, b_hh)
            output[t, b] = h_n[b]
    return output, h_n, c_n


def adam(p, g, m, v, step, lr, beta1, beta2, eps, decay, decoupled):
    """Kingma & Ba 2015, algorithm 1; decoupled decay from Loshchilov & Hutter 2019, algorithm 2."""
    if decoupled:
        p = p - lr * decay * p
    else:
        g = g + decay * p
    m = beta1 * m + (1 - beta1) * g
    v = beta2 * v + (1 - beta2) * g * g
    p = p - lr * (m / (1 - beta1**step)) / (np.sqrt(v / (1 - beta2**step)) + eps)
    return p, m, v


def multi_head(q, k, v, scale, seen, bias=0.0):
    """Vaswani et al. 2017, eq. 1, for q [B, N, T, D], k [B, n, S, D], v [B, n, S, E]; a row uses the keys that `seen` [B, N, T, S] allows
    and a row without any gives zeros. Heads of q share those of k and v in groups (Ainslie et al. 2023). Returns contexts and weights."""
    group = q.shape[1] // k.shape[1]
    k, v = np.repeat(k, group, 1), np.repeat(v, group, 1)
    scores = scale * np.einsum("bntd,bnsd->bnts", q, k) + bias
    weights = np.zeros_like(scores)
    for index in np.ndindex(scores.shape[:-1]):
        allowed = seen[index] & (scores[index] > -np.inf)
        if allowed.any():
            weights[index][allowed] = softmax(scores[index][allowed])
    return np.where(weights[..., None] > 0, weights[..., None] * v[:, :, None], 0).sum(3), weights
