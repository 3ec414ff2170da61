"""The rows of the race: a name, what is computed, and its sizes. `contestants/` says how each peer computes it."""

from __future__ import annotations

from typing import Any

ROWS: dict[str, tuple[str, dict[str, Any]]] = {}

for n in (512, 1024, 2048):
    ROWS[f"matmul {n}^3"] = "matmul", {"m": n, "k": n, "n": n}
for rows, inputs, outputs in ((2048, 512, 512), (4096, 256, 1024), (1536, 256, 8000)):
    ROWS[f"linear [{rows}, {inputs}] -> {outputs} forward+backward"] = "linear_step", {"n": rows, "i": inputs, "o": outputs}
for rows in (1, 4, 8):
    for size in (512, 1024):
        ROWS[f"linear [{rows}, {size}] -> {size}"] = "linear", {"n": rows, "i": size, "o": size}
for rows, inputs, outputs in ((32, 256, 256), (64, 128, 512)):
    ROWS[f"linear [{rows}, {inputs}] -> {outputs}"] = "linear", {"n": rows, "i": inputs, "o": outputs}
ROWS["projection + cross-entropy N1536 D256 V8000 forward+backward"] = "projection", {"n": 1536, "d": 256, "v": 8000}
ROWS["layer norm [8192, 512] forward+backward"] = "layer_norm", {"n": 8192, "d": 512}
ROWS["softmax [8192, 512]"] = "softmax", {"n": 8192, "d": 512}
ROWS["gelu 4 Mi"] = "gelu", {"n": 4 << 20}
ROWS["dropout 4 Mi, training"] = "dropout", {"n": 4 << 20}
ROWS["embedding [16384] of 8000 x 256 forward+backward"] = "embedding", {"n": 16384, "v": 8000, "d": 256}
ROWS["adamw of 10 M parameters"] = "adamw", {"n": 10_000_000}
ROWS["add of 1,000 numbers, recorded"] = "add", {"n": 1000}

SHAPES = ((28, 128, 28, 128), (100, 32, 256, 256), (50, 64, 512, 512), (35, 20, 650, 650), (128, 1, 256, 256))
for cell in ("rnn", "lstm", "gru"):
    for t, b, i, h in SHAPES:
        sizes = {"cell": cell, "t": t, "b": b, "i": i, "h": h}
        ROWS[f"{cell} T{t} B{b} I{i} H{h} forward"] = "recurrent", sizes
        ROWS[f"{cell} T{t} B{b} I{i} H{h} forward+backward"] = "recurrent_step", sizes
    ROWS[f"{cell} one step B1 H256"] = "recurrent", {"cell": cell, "t": 1, "b": 1, "i": 256, "h": 256}
    ROWS[f"{cell} one step B1 H256, streaming on arrays"] = "recurrent_stream", {"cell": cell, "b": 1, "i": 256, "h": 256}
    plain = {"cell": cell, "t": 100, "b": 32, "i": 256, "h": 256}
    ROWS[f"{cell} lengths T/4..T of T100 B32 I256 H256 forward+backward"] = "recurrent_lengths", plain
    ROWS[f"{cell} MNIST rows B128 H128, training step with Adam"] = "mnist_rows", {"cell": cell, "b": 128, "h": 128}
    if cell != "rnn":
        ROWS[f"{cell} two layers, bidirectional, T100 B32 I256 H256 forward+backward"] = "recurrent_deep", plain

for b, t, d, n in ((32, 64, 256, 4), (32, 128, 512, 8), (8, 512, 512, 8), (1, 4096, 256, 4)):
    sizes = {"b": b, "t": t, "d": d, "n": n}
    ROWS[f"attention B{b} T{t} D{d} N{n} forward"] = "attention", sizes
    ROWS[f"attention B{b} T{t} D{d} N{n} forward+backward"] = "attention_step", sizes
wide, long = {"b": 32, "t": 128, "d": 512, "n": 8}, {"b": 8, "t": 512, "d": 512, "n": 8}
ROWS["attention B8 T512 D512 N8 causal, forward+backward"] = "attention_step", {**long, "causal": True}
ROWS["attention B32 T128 D512 N8, half of it padding, forward+backward"] = "attention_step", {**wide, "half": True}
ROWS["attention B32 T128 D512 N8, dropout 0.1, forward+backward"] = "attention_step", {**wide, "dropout": 0.1}
ROWS["attention B8 T512 D512 N8, weights wanted, forward"] = "attention", {**long, "weights": True}
ROWS["training step ViT: 17 tokens, D64, 4 layers, B128"] = "vit_step", {"patch": 7, "d": 64, "layers": 4, "n": 4, "b": 128}
ROWS["training step ViT: 50 tokens, D128, 6 layers, B128"] = "vit_step", {"patch": 4, "d": 128, "layers": 6, "n": 4, "b": 128}
ROWS["training step Transformer: D256, 3+3 layers, V8000, B64, S24"] = (
    "transformer_step",
    {"d": 256, "layers": 3, "v": 8000, "b": 64, "s": 24},
)
ROWS["training step GPT: D256, 6 layers, T256, B16"] = "gpt_step", {"d": 256, "layers": 6, "v": 256, "b": 16, "t": 256}
for b in (1, 32):
    sizes = {"d": 256, "layers": 3, "v": 8000, "b": b, "s": 24, "steps": 32}
    ROWS[f"greedy decode Transformer D256 3+3 V8000 B{b}, 32 steps"] = "decode", sizes
    ROWS[f"greedy decode Transformer D256 3+3 V8000 B{b}, 32 steps, PyTorch as nn.Transformer comes"] = "decode_again", sizes
words = {"h": 256, "v": 8000, "b": 64, "s": 24}
for cell in ("lstm", "gru"):
    ROWS[f"training step seq2seq {cell}, dot attention, H256 V8000 B64 S24"] = "seq2seq_step", {"cell": cell, **words}
ROWS["training step seq2seq gru, additive attention, input feeding, H256 V8000 B64 S24"] = (
    "seq2seq_fed_step",
    {"cell": "gru", **words},
)
for b, beam in ((1, 1), (32, 1), (1, 5), (32, 5)):
    sizes = {"cell": "gru", "h": 256, "v": 8000, "b": b, "s": 24, "steps": 32, "beam": beam}
    ROWS[f"decode seq2seq gru H256 V8000 B{b}, beam {beam}, 32 steps"] = "seq2seq_decode", sizes
sizes = {"d": 256, "layers": 3, "v": 8000, "b": 32, "s": 24, "steps": 32, "beam": 5}
ROWS["decode Transformer D256 3+3 V8000 B32, beam 5, 32 steps"] = "transformer_beam", sizes
ROWS["generation LSTM H512 B1, 100 characters; NumPy: its weights read 100 times"] = (
    "generation",
    {"h": 512, "v": 65, "steps": 100},
)
ROWS["crf forward+backward B64 T50, 20 tags"] = "crf", {"b": 64, "t": 50, "k": 20}
ROWS["training step classifier: lstm 128, lengths 25..100 of T100, F12, B64"] = (
    "classifier_step",
    {"b": 64, "t": 100, "f": 12, "h": 128, "classes": 9},
)
picture = {"d": 128, "layers": 4, "tokens": 64, "caption": 8, "b": 64}
ROWS["training step text to image: D128, 4 layers, 64 tokens, B64"] = "drawing_step", picture
ROWS["64 images of 64 tokens sampled, D128, 4 layers"] = "drawing_sample", picture
