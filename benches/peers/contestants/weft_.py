"""Weft, as installed in this environment."""

import numpy as np

import weft
from weft.nn import functional as F


def version():
    return weft.__version__


def threads(n):
    weft.set_num_threads(n)


def tensor(*shape, grad=False):
    # No passing arrays of twice the size: they would count as memory.
    return weft.randn(*shape, requires_grad=grad)


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


def recurrent_stream(cell, b, i, h):
    x, stream = tensor(b, i).numpy(), layer_of(cell, i, h).stream(b)
    return lambda: stream(x)


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


def attention(b, t, d, n, weights=False):
    x, layer = tensor(b, t, d), weft.nn.MultiheadAttention(d, n, batch_first=True)
    return quietly(lambda: layer(x, x, x, need_weights=weights))


def attention_step(b, t, d, n, causal=False, half=False, dropout=0.0):
    x, g, layer = tensor(b, t, d, grad=True), tensor(b, t, d), weft.nn.MultiheadAttention(d, n, dropout, batch_first=True)
    lengths = np.random.default_rng(0).integers(1, t + 1, b) if half else None
    leaves = [x, *layer.parameters()]

    def run():
        for leaf in leaves:
            leaf.grad = None
        layer(x, x, x, need_weights=False, is_causal=causal, lengths=lengths)[0].backward(g)

    return run


def training(model, loss):
    optimizer = weft.optim.Adam(model.parameters(), lr=1e-4)

    def run():
        optimizer.zero_grad()
        loss().backward()
        optimizer.step()

    return run


def vit_step(patch, d, layers, n, b):
    model = weft.models.VisionTransformer(28, patch, classes=10, hidden=d, layers=layers, heads=n, dropout=0.1)
    x, y = tensor(b, 28, 28), np.arange(b) % 10
    return training(model, lambda: model.loss(x, y))


def transformer(d, layers, v, dropout=0.1):
    words = weft.data.Vocabulary([f"w{i}" for i in range(v - 4)], "word")
    return weft.models.Transformer(words, words, hidden=d, heads=4, layers=layers, dropout=dropout, tie="none")


def transformer_step(d, layers, v, b, s):
    model = transformer(d, layers, v)
    numbers, lengths = np.arange(b * s).reshape(b, s) * 31 % (v - 4) + 4, np.full(b, s)
    batch = weft.data.Batch(numbers, lengths, numbers, numbers, lengths)
    return training(model, lambda: model.loss(batch))


def gpt_step(d, layers, v, b, t):
    words = weft.data.Vocabulary([f"w{i}" for i in range(v - 4)], "word")
    model = weft.models.LanguageModel(words, cell="transformer", hidden=d, layers=layers, heads=4, dropout=0.1)
    numbers = np.arange(b * (t + 1)).reshape(b, t + 1) * 31 % (v - 4) + 4
    return training(model, lambda: model.loss(numbers))


def decode(d, layers, v, b, s, steps):
    model = transformer(d, layers, v).eval()
    sources = [[(i * 31 + j) % (v - 4) + 4 for j in range(s)] for i in range(b)]

    def run():
        state, tokens = model.start(sources), np.full(b, 2)
        for _ in range(steps):
            scores, _, state = model.step(state, tokens)
            tokens = scores.argmax(1)

    return run


decode_again = decode


def vocabulary(v):
    return weft.data.Vocabulary([f"w{i}" for i in range(v - 4)], "word")


def seq2seq(cell, h, v, **options):
    words = vocabulary(v)
    return weft.models.Seq2Seq(words, words, cell=cell, hidden=h, embedding=h, bidirectional=False, **options)


def seq2seq_step(cell, h, v, b, s):
    model = seq2seq(cell, h, v, attention="dot")
    numbers, lengths = np.arange(b * s).reshape(b, s) * 31 % (v - 4) + 4, np.full(b, s)
    batch = weft.data.Batch(numbers, lengths, numbers, numbers, lengths)
    return training(model, lambda: model.loss(batch))


def seq2seq_fed_step(cell, h, v, b, s):
    model = seq2seq(cell, h, v, attention="additive", input_feeding=True)
    numbers, lengths = np.arange(b * s).reshape(b, s) * 31 % (v - 4) + 4, np.full(b, s)
    batch = weft.data.Batch(numbers, lengths, numbers, numbers, lengths)
    return training(model, lambda: model.loss(batch))


def seq2seq_decode(cell, h, v, b, s, steps, beam):
    return searched(seq2seq(cell, h, v, attention="dot").eval(), v, b, s, steps, beam)


def generation(h, v, steps):
    model = weft.models.LanguageModel(vocabulary(v), cell="lstm", hidden=h).eval()
    with weft.no_grad():
        model.output.bias[2] = -1e4
    return lambda: weft.decoding.greedy(model, [[]], [steps])


def transformer_beam(d, layers, v, b, s, steps, beam):
    return searched(transformer(d, layers, v).eval(), v, b, s, steps, beam)


def searched(model, v, b, s, steps, beam):
    """Whole searches of `steps` tokens: the end is never said by itself."""
    with weft.no_grad():
        model.output.bias[2] = -1e4
    sources = [[(i * 31 + j) % (v - 4) + 4 for j in range(s)] for i in range(b)]
    if beam == 1:
        return lambda: weft.decoding.greedy(model, sources, [steps] * b)
    return lambda: weft.decoding.beam(model, sources, [steps] * b, beam=beam)


def crf(b, t, k):
    layer = weft.nn.CRF(k)
    x, tags = tensor(b, t, k, grad=True), np.arange(b * t).reshape(b, t) % k

    def run():
        x.grad = None
        layer.zero_grad()
        layer(x, tags).backward()

    return run


def classifier_step(b, t, f, h, classes):
    lengths = np.random.default_rng(0).integers(t // 4, t + 1, b)
    lengths[0] = t
    labels = weft.data.Labels(list(range(classes)))
    model = weft.models.SequenceClassifier(weft.data.Features(f), labels, cell="lstm", hidden=h, bidirectional=False)
    batch = weft.models.labelled.LabelledBatch(tensor(b, t, f).numpy(), lengths, np.arange(b) % classes)
    return training(model, lambda: model.loss(batch))


def drawing(d, layers, tokens, caption):
    side = 4 * int(tokens**0.5)
    image = {"height": side, "width": side, "channels": 1, "patch": 4, "codes": 256}
    return weft.models.TextToImage(vocabulary(40), image=image, caption=caption, hidden=d, layers=layers, heads=4)


def drawing_step(d, layers, tokens, caption, b):
    model = drawing(d, layers, tokens, caption)
    captions, codes = np.arange(b * caption).reshape(b, caption) % 36 + 4, np.arange(b * tokens).reshape(b, tokens) % 256
    batch = weft.models.text_to_image.CaptionBatch(captions, codes)
    return training(model, lambda: model.loss(batch))


def drawing_sample(d, layers, tokens, caption, b):
    model = drawing(d, layers, tokens, caption).eval()
    texts = [" ".join(f"w{(i + j) % 36}" for j in range(caption)) for i in range(b)]
    return lambda: model.write(texts, temperature=1.0)
