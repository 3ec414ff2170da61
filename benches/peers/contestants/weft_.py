"""Weft, as installed in this environment."""

import numpy as np

import weft
from weft.nn import functional as F


def version():
    return weft.__version__


def threads(n):
    weft.set_num_threads(n)


def tensor(*shape, grad=False):
    values = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    return weft.tensor(values, requires_grad=grad)


def quietly(f):
    def run():
        with weft.no_grad():
            f()

    return run


def step(loss, *leaves):
    def run():
        for leaf in leaves:
            leaf.grad = None
        loss().backward()

    return run


def matmul(m, k, n):
    a, b = tensor(m, k), tensor(k, n)
    return quietly(lambda: a @ b)


def linear(n, i, o):
    x, layer = tensor(n, i), weft.nn.Linear(i, o)
    return quietly(lambda: layer(x))


def linear_step(n, i, o):
    x, layer, g = tensor(n, i, grad=True), weft.nn.Linear(i, o), tensor(n, o)

    def run():
        x.grad = layer.weight.grad = layer.bias.grad = None
        layer(x).backward(g)

    return run


def projection(n, d, v):
    x, layer, target = tensor(n, d, grad=True), weft.nn.Linear(d, v), np.arange(n) * 7 % v
    return step(lambda: F.linear_cross_entropy(x, layer.weight, target, layer.bias), x, layer.weight, layer.bias)


def layer_norm(n, d):
    x, layer, g = tensor(n, d, grad=True), weft.nn.LayerNorm(d), tensor(n, d)

    def run():
        x.grad = layer.weight.grad = layer.bias.grad = None
        layer(x).backward(g)

    return run


def softmax(n, d):
    x = tensor(n, d)
    return quietly(lambda: weft.softmax(x, -1))


def gelu(n):
    x = tensor(n)
    return quietly(lambda: F.gelu(x))


def dropout(n):
    x = tensor(n)
    return quietly(lambda: F.dropout(x, 0.1))


def embedding(n, v, d):
    table, index, g = tensor(v, d, grad=True), np.arange(n) * 31 % v, tensor(n, d)

    def run():
        table.grad = None
        F.embedding(index, table).backward(g)

    return run


def adamw(n):
    parameter = weft.nn.Parameter(tensor(n).numpy().copy())
    parameter.grad = tensor(n)
    optimizer = weft.optim.AdamW([parameter], lr=1e-3)
    return optimizer.step


def add(n):
    a, b = tensor(n, grad=True), tensor(n)
    return lambda: a + b


def layer_of(cell, *sizes, **options):
    return {"rnn": weft.nn.RNN, "lstm": weft.nn.LSTM, "gru": weft.nn.GRU}[cell](*sizes, **options)


def recurrent(cell, t, b, i, h):
    x, layer = tensor(t, b, i), layer_of(cell, i, h)
    return quietly(lambda: layer(x))


def both_ways(layer, x, g, **options):
    leaves = [x, *layer.parameters()]

    def run():
        for leaf in leaves:
            leaf.grad = None
        y, _ = layer(x, **options)
        y.backward(g)

    return run


def recurrent_step(cell, t, b, i, h):
    return both_ways(layer_of(cell, i, h), tensor(t, b, i, grad=True), tensor(t, b, h))


def recurrent_deep(cell, t, b, i, h):
    return both_ways(layer_of(cell, i, h, 2, bidirectional=True), tensor(t, b, i, grad=True), tensor(t, b, 2 * h))


def recurrent_lengths(cell, t, b, i, h):
    lengths = np.random.default_rng(0).integers(t // 4, t + 1, b)
    lengths[0] = t
    return both_ways(layer_of(cell, i, h), tensor(t, b, i, grad=True), tensor(t, b, h), lengths=lengths)


def mnist_rows(cell, b, h):
    layer, head = layer_of(cell, 28, h, batch_first=True), weft.nn.Linear(h, 10)
    parameters = [*layer.parameters(), *head.parameters()]
    optimizer = weft.optim.Adam(parameters, lr=1e-3)
    x, target = tensor(b, 28, 28), np.arange(b) % 10

    def run():
        optimizer.zero_grad()
        _, state = layer(x)
        F.cross_entropy(head((state[0] if cell == "lstm" else state)[-1]), target).backward()
        optimizer.step()

    return run
