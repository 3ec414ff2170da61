"""PyTorch, eager; compiled_.py takes its training steps from here."""

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


def recurrent_stream(cell, b, i, h):
    x, layer, state = tensor(1, b, i), layer_of(cell, i, h), None

    def run():
        nonlocal state
        _, state = layer(x, state)

    return quietly(run)


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


def attention(b, t, d, n, weights=False):
    x, layer = tensor(b, t, d), torch.nn.MultiheadAttention(d, n, batch_first=True)
    return quietly(lambda: layer(x, x, x, need_weights=weights))


def attention_step(b, t, d, n, causal=False, half=False, dropout=0.0):
    import numpy as np

    x, g, layer = tensor(b, t, d, grad=True), tensor(b, t, d), torch.nn.MultiheadAttention(d, n, dropout, batch_first=True)
    mask = torch.nn.Transformer.generate_square_subsequent_mask(t) if causal else None
    padding = None
    if half:
        lengths = torch.as_tensor(np.random.default_rng(0).integers(1, t + 1, b))
        padding = torch.arange(t) >= lengths[:, None]
    leaves = [x, *layer.parameters()]

    def run():
        for leaf in leaves:
            leaf.grad = None
        layer(x, x, x, need_weights=False, attn_mask=mask, is_causal=causal, key_padding_mask=padding)[0].backward(g)

    return run


def prepared(loss):
    """As it is: eager."""
    return loss


def training(model, loss):
    optimizer, loss = torch.optim.Adam(model.parameters(), lr=1e-4, fused=True), prepared(loss)

    def run():
        optimizer.zero_grad()
        loss().backward()
        optimizer.step()

    return run


def encoder(d, n, layers):
    layer = torch.nn.TransformerEncoderLayer(d, n, 4 * d, 0.1, "gelu", batch_first=True, norm_first=True)
    return torch.nn.TransformerEncoder(layer, layers, torch.nn.LayerNorm(d), enable_nested_tensor=False)


def vit_step(patch, d, layers, n, b):
    side = 28 // patch
    parts = torch.nn.ModuleDict(
        {"patch": torch.nn.Linear(patch * patch, d), "body": encoder(d, n, layers), "head": torch.nn.Linear(d, 10)}
    )
    parts.register_parameter("token", torch.nn.Parameter(torch.zeros(1, 1, d)))
    parts.register_parameter("positions", torch.nn.Parameter(torch.zeros(1, side * side + 1, d)))
    x, y = tensor(b, 28, 28), torch.arange(b) % 10

    def loss():
        z = x.reshape(b, side, patch, side, patch).transpose(2, 3).reshape(b, side * side, -1)
        z = torch.cat([parts.token.expand(b, 1, d), parts["patch"](z)], 1) + parts.positions
        return F.cross_entropy(parts["head"](parts["body"](F.dropout(z, 0.1))[:, 0]), y)

    return training(parts, loss)


def transformer(d, layers, v, dropout=0.1):
    parts = {"source": torch.nn.Embedding(v, d), "target": torch.nn.Embedding(v, d), "output": torch.nn.Linear(d, v)}
    body = torch.nn.Transformer(d, 4, layers, layers, 4 * d, dropout, batch_first=True)
    return torch.nn.ModuleDict({**parts, "body": body}), torch.randn(1024, d)


def transformer_step(d, layers, v, b, s):
    parts, positions = transformer(d, layers, v)
    numbers = torch.arange(b * s).reshape(b, s) * 31 % v
    mask = torch.nn.Transformer.generate_square_subsequent_mask(s)

    def loss():
        x, y = (F.dropout(parts[k](numbers) * d**0.5 + positions[:s], 0.1) for k in ("source", "target"))
        z = parts["output"](parts["body"](x, y, tgt_mask=mask, tgt_is_causal=True))
        return F.cross_entropy(z.reshape(-1, v), numbers.reshape(-1))

    return training(parts, loss)


def gpt_step(d, layers, v, b, t):
    parts = torch.nn.ModuleDict(
        {"table": torch.nn.Embedding(v, d), "body": encoder(d, 4, layers), "output": torch.nn.Linear(d, v)}
    )
    parts.register_parameter("positions", torch.nn.Parameter(torch.zeros(t, d)))
    numbers = torch.arange(b * (t + 1)).reshape(b, t + 1) * 31 % v
    mask = torch.nn.Transformer.generate_square_subsequent_mask(t)

    def loss():
        x = F.dropout(parts["table"](numbers[:, :-1]) + parts.positions, 0.1)
        z = parts["output"](parts["body"](x, mask=mask, is_causal=True))
        return F.cross_entropy(z.reshape(-1, v), numbers[:, 1:].reshape(-1))

    return training(parts, loss)


def decode_again(d, layers, v, b, s, steps):
    parts, positions = transformer(d, layers, v)
    parts.eval()
    source = torch.arange(b)[:, None] * 31 + torch.arange(s)

    def run():
        memory = parts["body"].encoder(parts["source"](source) * d**0.5 + positions[:s])
        tokens = torch.full((b, 1), 2)
        for i in range(steps):
            x = parts["target"](tokens) * d**0.5 + positions[: i + 1]
            mask = torch.nn.Transformer.generate_square_subsequent_mask(i + 1)
            y = parts["body"].decoder(x, memory, tgt_mask=mask, tgt_is_causal=True)
            tokens = torch.cat([tokens, parts["output"](y[:, -1]).log_softmax(-1).argmax(-1, keepdim=True)], 1)

    return quietly(run)


def decode(d, layers, v, b, s, steps):
    """The layers by hand, with keys and values kept."""
    parts, positions = transformer(d, layers, v)
    parts.eval()
    source, heads = torch.arange(b)[:, None] * 31 + torch.arange(s), 4

    def split(x):
        return x.reshape(b, -1, heads, d // heads).transpose(1, 2)

    def attend(layer, q, k, v):
        y = F.scaled_dot_product_attention(q, k, v)
        return layer.out_proj(y.transpose(1, 2).reshape(b, -1, d))

    def run():
        memory = parts["body"].encoder(parts["source"](source) * d**0.5 + positions[:s])
        stack = parts["body"].decoder
        kept = []
        for layer in stack.layers:
            w, bias = layer.multihead_attn.in_proj_weight, layer.multihead_attn.in_proj_bias
            k, u = F.linear(memory, w[d:], bias[d:]).chunk(2, -1)
            kept.append([split(k), split(u), torch.empty(b, heads, 0, d // heads), torch.empty(b, heads, 0, d // heads)])
        tokens = torch.full((b,), 2)
        for i in range(steps):
            x = parts["target"](tokens)[:, None] * d**0.5 + positions[i]
            for layer, own in zip(stack.layers, kept, strict=True):
                a = layer.self_attn
                q, k, u = F.linear(x, a.in_proj_weight, a.in_proj_bias).chunk(3, -1)
                own[2], own[3] = torch.cat([own[2], split(k)], 2), torch.cat([own[3], split(u)], 2)
                x = layer.norm1(x + attend(a, split(q), own[2], own[3]))
                a = layer.multihead_attn
                q = F.linear(x, a.in_proj_weight[:d], a.in_proj_bias[:d])
                x = layer.norm2(x + attend(a, split(q), own[0], own[1]))
                x = layer.norm3(x + layer.linear2(F.relu(layer.linear1(x))))
            tokens = parts["output"](stack.norm(x)[:, 0]).log_softmax(-1).argmax(-1)

    return quietly(run)


class Seq2Seq(torch.nn.Module):
    """Luong's model as one writes it: one direction, one layer."""

    def __init__(self, cell, h, v, additive=False, fed=False):
        super().__init__()
        layer = {"lstm": torch.nn.LSTM, "gru": torch.nn.GRU}[cell]
        self.source, self.target = torch.nn.Embedding(v, h), torch.nn.Embedding(v, h)
        self.encoder, self.decoder = layer(h, h, batch_first=True), layer(h + h * fed, h, batch_first=True)
        self.bridge = torch.nn.ModuleList([torch.nn.Linear(h, h) for _ in range(1 + (cell == "lstm"))])
        self.combine, self.output = torch.nn.Linear(2 * h, h), torch.nn.Linear(h, v)
        self.lstm, self.fed, self.h = cell == "lstm", fed, h
        if additive:
            self.query, self.key, self.energy = torch.nn.Linear(h, h, False), torch.nn.Linear(h, h), torch.nn.Linear(h, 1, False)
        self.additive = additive

    def encode(self, numbers):
        memory, state = self.encoder(self.source(numbers))
        states = [torch.tanh(w(s)) for w, s in zip(self.bridge, state if self.lstm else (state,), strict=True)]
        return memory, self.key(memory) if self.additive else memory, tuple(states) if self.lstm else states[0]

    def attend(self, y, memory, keys):
        if self.additive:
            scores = self.energy(torch.tanh(self.query(y)[:, :, None] + keys[:, None])).squeeze(-1)
        else:
            scores = y @ keys.transpose(1, 2)
        return torch.tanh(self.combine(torch.cat([scores.softmax(-1) @ memory, y], -1)))

    def forward(self, source, target):
        memory, keys, state = self.encode(source)
        x = self.target(target)
        if not self.fed:
            y, _ = self.decoder(x, state)
            return self.output(self.attend(y, memory, keys))
        last, found = x.new_zeros(len(x), 1, self.h), []
        for t in range(x.shape[1]):
            y, state = self.decoder(torch.cat([x[:, t : t + 1], last], -1), state)
            last = self.attend(y, memory, keys)
            found.append(last)
        return self.output(torch.cat(found, 1))


def seq2seq_step(cell, h, v, b, s, **options):
    model, numbers = Seq2Seq(cell, h, v, **options), torch.arange(b * s).reshape(b, s) * 31 % v
    return training(model, lambda: F.cross_entropy(model(numbers, numbers).reshape(-1, v), numbers.reshape(-1)))


def seq2seq_fed_step(cell, h, v, b, s):
    return seq2seq_step(cell, h, v, b, s, additive=True, fed=True)


def chosen(scores, totals, beam):
    """The `beam` best continuations of every input: their rows, tokens and totals."""
    b, v = totals.shape[0], scores.shape[-1]
    flat = (totals[:, :, None] + scores.reshape(b, -1, v)).reshape(b, -1)
    totals, index = flat.topk(beam, -1)
    rows = (torch.arange(b)[:, None] * (flat.shape[1] // v) + index // v).reshape(-1)
    return rows, (index % v).reshape(-1), totals


def seq2seq_decode(cell, h, v, b, s, steps, beam):
    model, numbers = Seq2Seq(cell, h, v).eval(), torch.arange(b)[:, None] * 31 + torch.arange(s)

    def run():
        memory, keys, state = model.encode(numbers)
        tokens, totals = torch.full((b,), 2), torch.zeros(b, 1)
        for i in range(steps):
            y, state = model.decoder(model.target(tokens)[:, None], state)
            scores = model.output(model.attend(y, memory, keys))[:, 0].log_softmax(-1)
            if beam == 1:
                tokens = scores.argmax(-1)
                continue
            rows, tokens, totals = chosen(scores, totals, beam)
            state = tuple(x[:, rows] for x in state) if model.lstm else state[:, rows]
            if i == 0:
                memory = keys = memory.repeat_interleave(beam, 0)

    return quietly(run)


def transformer_beam(d, layers, v, b, s, steps, beam):
    """The layers by hand, with keys and values kept and carried along with their hypotheses."""
    parts, positions = transformer(d, layers, v)
    parts.eval()
    source, heads = torch.arange(b)[:, None] * 31 + torch.arange(s), 4

    def split(x):
        return x.reshape(len(x), -1, heads, d // heads).transpose(1, 2)

    def attend(layer, q, k, v):
        y = F.scaled_dot_product_attention(q, k, v)
        return layer.out_proj(y.transpose(1, 2).reshape(len(q), -1, d))

    def run():
        memory = parts["body"].encoder(parts["source"](source) * d**0.5 + positions[:s])
        stack, kept = parts["body"].decoder, []
        for layer in stack.layers:
            w, bias = layer.multihead_attn.in_proj_weight, layer.multihead_attn.in_proj_bias
            k, u = F.linear(memory, w[d:], bias[d:]).chunk(2, -1)
            kept.append([split(k), split(u), torch.empty(b, heads, 0, d // heads), torch.empty(b, heads, 0, d // heads)])
        tokens, totals = torch.full((b,), 2), torch.zeros(b, 1)
        for i in range(steps):
            x = parts["target"](tokens)[:, None] * d**0.5 + positions[i]
            for layer, own in zip(stack.layers, kept, strict=True):
                a = layer.self_attn
                q, k, u = F.linear(x, a.in_proj_weight, a.in_proj_bias).chunk(3, -1)
                own[2], own[3] = torch.cat([own[2], split(k)], 2), torch.cat([own[3], split(u)], 2)
                x = layer.norm1(x + attend(a, split(q), own[2], own[3]))
                a = layer.multihead_attn
                q = F.linear(x, a.in_proj_weight[:d], a.in_proj_bias[:d])
                x = layer.norm2(x + attend(a, split(q), own[0], own[1]))
                x = layer.norm3(x + layer.linear2(F.relu(layer.linear1(x))))
            rows, tokens, totals = chosen(parts["output"](stack.norm(x)[:, 0]).log_softmax(-1), totals, beam)
            for own in kept:
                own[2:] = [own[2][rows], own[3][rows]]
                if i == 0:
                    own[:2] = [m.repeat_interleave(beam, 0) for m in own[:2]]

    return quietly(run)


def crf(b, t, k):
    transitions, start, end = (torch.rand(s, requires_grad=True) for s in ((k, k), (k,), (k,)))
    x, tags = tensor(b, t, k, grad=True), torch.arange(b * t).reshape(b, t) % k
    rows = torch.arange(b)

    def run():
        for leaf in (transitions, start, end, x):
            leaf.grad = None
        alpha = start + x[:, 0]
        score = start[tags[:, 0]] + x[rows, 0, tags[:, 0]]
        for i in range(1, t):
            alpha = torch.logsumexp(alpha[:, :, None] + transitions, 1) + x[:, i]
            score = score + transitions[tags[:, i - 1], tags[:, i]] + x[rows, i, tags[:, i]]
        (torch.logsumexp(alpha + end, 1) - score - end[tags[:, -1]]).mean().backward()

    return run


def classifier_step(b, t, f, h, classes):
    import numpy as np

    lengths = np.random.default_rng(0).integers(t // 4, t + 1, b)
    lengths[0] = t
    parts = torch.nn.ModuleDict({"body": torch.nn.LSTM(f, h, batch_first=True), "head": torch.nn.Linear(h, classes)})
    x, y, sizes = tensor(b, t, f), torch.arange(b) % classes, torch.as_tensor(lengths)

    def loss():
        packed = torch.nn.utils.rnn.pack_padded_sequence(x, sizes, batch_first=True, enforce_sorted=False)
        _, (last, _) = parts["body"](packed)
        return F.cross_entropy(parts["head"](last[-1]), y)

    return training(parts, loss)


def drawing(d, layers, tokens, caption):
    parts = {"words": torch.nn.Embedding(40, d), "codes": torch.nn.Embedding(257, d), "output": torch.nn.Linear(d, 256)}
    model = torch.nn.ModuleDict({**parts, "body": encoder(d, 4, layers)})
    model.register_parameter("positions", torch.nn.Parameter(torch.zeros(caption + 1 + tokens, d)))
    return model


def drawing_step(d, layers, tokens, caption, b):
    model = drawing(d, layers, tokens, caption)
    captions, codes = torch.arange(b * caption).reshape(b, caption) % 36, torch.arange(b * tokens).reshape(b, tokens) % 256
    read = torch.cat([torch.full((b, 1), 256), codes[:, :-1]], 1)
    mask = torch.nn.Transformer.generate_square_subsequent_mask(caption + tokens)

    def loss():
        x = torch.cat([model["words"](captions), model["codes"](read)], 1) + model.positions[: caption + tokens]
        y = model["body"](F.dropout(x, 0.1), mask=mask, is_causal=True)[:, caption:]
        return F.cross_entropy(model["output"](y).reshape(-1, 256), codes.reshape(-1))

    return training(model, loss)


def drawing_sample(d, layers, tokens, caption, b):
    model = drawing(d, layers, tokens, caption).eval()
    captions, heads = torch.arange(b * caption).reshape(b, caption) % 36, 4

    def split(x):
        return x.reshape(b, -1, heads, d // heads).transpose(1, 2)

    def run():
        kept = [[torch.empty(b, heads, 0, d // heads)] * 2 for _ in range(layers)]
        x = torch.cat([model["words"](captions), model["codes"](torch.full((b, 1), 256))], 1) + model.positions[: caption + 1]
        for t in range(tokens):
            for layer, own in zip(model["body"].layers, kept, strict=True):
                a, h = layer.self_attn, layer.norm1(x)
                q, k, v = (split(z) for z in F.linear(h, a.in_proj_weight, a.in_proj_bias).chunk(3, -1))
                own[0], own[1] = torch.cat([own[0], k], 2), torch.cat([own[1], v], 2)
                y = F.scaled_dot_product_attention(q, own[0], own[1], is_causal=q.shape[2] > 1)
                x = x + a.out_proj(y.transpose(1, 2).reshape(b, -1, d))
                x = x + layer.linear2(F.gelu(layer.linear1(layer.norm2(x))))
            scores = model["output"](model["body"].norm(x[:, -1])).softmax(-1)
            x = (model["codes"](torch.multinomial(scores, 1)[:, 0]) + model.positions[caption + 1 + t])[:, None]

    return quietly(run)
