"""PyTorch, eager."""

import torch
from torch.nn import functional as F


def version():
    return torch.__version__


def threads(n):
    torch.set_num_threads(n)


def tensor(*shape, grad=False):
    torch.manual_seed(0)
    return torch.randn(*shape, requires_grad=grad)


def quietly(f):
    def run():
        with torch.no_grad():
            f()

    return run


def matmul(m, k, n):
    a, b, out = tensor(m, k), tensor(k, n), torch.empty(m, n)
    return lambda: torch.mm(a, b, out=out)


def linear(n, i, o):
    x, layer = tensor(n, i), torch.nn.Linear(i, o)
    return quietly(lambda: layer(x))


def linear_step(n, i, o):
    x, layer, g = tensor(n, i, grad=True), torch.nn.Linear(i, o), tensor(n, o)

    def run():
        x.grad = layer.weight.grad = layer.bias.grad = None
        layer(x).backward(g)

    return run


def projection(n, d, v):
    x, layer, target = tensor(n, d, grad=True), torch.nn.Linear(d, v), torch.arange(n) * 7 % v

    def run():
        x.grad = layer.weight.grad = layer.bias.grad = None
        F.cross_entropy(layer(x), target).backward()

    return run


def layer_norm(n, d):
    x, layer, g = tensor(n, d, grad=True), torch.nn.LayerNorm(d), tensor(n, d)

    def run():
        x.grad = layer.weight.grad = layer.bias.grad = None
        layer(x).backward(g)

    return run


def softmax(n, d):
    x = tensor(n, d)
    return quietly(lambda: torch.softmax(x, -1))


def gelu(n):
    x = tensor(n)
    return quietly(lambda: F.gelu(x))


def dropout(n):
    x = tensor(n)
    return quietly(lambda: F.dropout(x, 0.1))


def embedding(n, v, d):
    table, index, g = tensor(v, d, grad=True), torch.arange(n) * 31 % v, tensor(n, d)

    def run():
        table.grad = None
        F.embedding(index, table).backward(g)

    return run


def adamw(n):
    parameter = torch.nn.Parameter(tensor(n))
    parameter.grad = tensor(n)
    optimizer = torch.optim.AdamW([parameter], lr=1e-3, fused=True)
    return optimizer.step


def add(n):
    a, b = tensor(n, grad=True), tensor(n)
    return lambda: a + b


def layer_of(cell, *sizes, **options):
    return {"rnn": torch.nn.RNN, "lstm": torch.nn.LSTM, "gru": torch.nn.GRU}[cell](*sizes, **options)


def recurrent(cell, t, b, i, h):
    x, layer = tensor(t, b, i), layer_of(cell, i, h)
    return quietly(lambda: layer(x))


def both_ways(layer, x, g):
    leaves = [x, *layer.parameters()]

    def run():
        for leaf in leaves:
            leaf.grad = None
        y, _ = layer(x)
        y.backward(g)

    return run


def recurrent_step(cell, t, b, i, h):
    return both_ways(layer_of(cell, i, h), tensor(t, b, i, grad=True), tensor(t, b, h))


def recurrent_deep(cell, t, b, i, h):
    return both_ways(layer_of(cell, i, h, 2, bidirectional=True), tensor(t, b, i, grad=True), tensor(t, b, 2 * h))


def recurrent_lengths(cell, t, b, i, h):
    import numpy as np

    lengths = np.random.default_rng(0).integers(t // 4, t + 1, b)
    lengths[0] = t
    x, layer, g = tensor(t, b, i, grad=True), layer_of(cell, i, h), tensor(t, b, h)
    leaves = [x, *layer.parameters()]
    rnn = torch.nn.utils.rnn

    def run():
        for leaf in leaves:
            leaf.grad = None
        y, _ = layer(rnn.pack_padded_sequence(x, torch.as_tensor(lengths), enforce_sorted=False))
        rnn.pad_packed_sequence(y, total_length=t)[0].backward(g)

    return run


def mnist_rows(cell, b, h):
    layer, head = layer_of(cell, 28, h, batch_first=True), torch.nn.Linear(h, 10)
    optimizer = torch.optim.Adam([*layer.parameters(), *head.parameters()], lr=1e-3, fused=True)
    x, target = tensor(b, 28, 28), torch.arange(b) % 10

    def run():
        optimizer.zero_grad()
        _, state = layer(x)
        F.cross_entropy(head((state[0] if cell == "lstm" else state)[-1]), target).backward()
        optimizer.step()

    return run
