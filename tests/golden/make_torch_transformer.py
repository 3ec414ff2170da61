"""Writes tests/golden/torch_transformer.npz: outputs, weights and gradients of torch's attention and Transformer layers.

Run: python tests/golden/make_torch_transformer.py   (needs torch; written with torch 2.15)
"""

import pathlib

import numpy as np
import torch
from torch import nn

L, S, B, E, N = 4, 5, 3, 8, 2

#: name: arguments of MultiheadAttention, arguments of the call (masks by name)
ATTENTION = {
    "plain": ({}, {}),
    "widths": ({"kdim": 6, "vdim": 7}, {"average_attn_weights": False}),
    "bias_kv": ({"add_bias_kv": True, "add_zero_attn": True}, {"key_padding_mask": "padding"}),
    "no_bias_first": ({"bias": False, "batch_first": True}, {"attn_mask": "bool2"}),
    "masks": ({}, {"attn_mask": "float3", "key_padding_mask": "padding_float"}),
    "masks_bool": ({}, {"attn_mask": "bool3", "key_padding_mask": "padding", "average_attn_weights": False}),
}
LAYERS = {
    "encoder": {},
    "encoder_first": {"norm_first": True, "activation": "gelu", "batch_first": True},
    "decoder": {},
    "decoder_first": {"norm_first": True, "activation": "gelu", "bias": False},
}


def masks(rng):
    padding = np.zeros((B, S), bool)
    padding[0, 3:], padding[2, 1:] = True, True
    bool2 = rng.random((L, S)) < 0.3
    bool2[:, 0] = False
    bool3 = rng.random((B * N, L, S)) < 0.3
    bool3[:, :, 0] = False
    return {
        "padding": padding, "padding_float": np.where(padding, -np.inf, rng.standard_normal((B, S))).astype(np.float32),
        "bool2": bool2, "bool3": bool3, "float3": rng.standard_normal((B * N, L, S)).astype(np.float32),
    }  # fmt: skip


def main():
    torch.manual_seed(0)
    given = masks(np.random.default_rng(0))
    out = {f"mask/{k}": v for k, v in given.items()}

    def randomized(module):
        for p in module.parameters():
            nn.init.normal_(p, std=0.4)
        return module

    def keep(name, module, inputs, outputs):
        seeds = [torch.randn_like(o) for o in outputs]
        sum((o * s).sum() for o, s in zip(outputs, seeds, strict=True)).backward()
        for kind, values in (("in", inputs), ("out", outputs), ("seed", seeds), ("grad", [x.grad for x in inputs])):
            out.update({f"{name}/{kind}{i}": v.detach().numpy() for i, v in enumerate(values)})
        for n, p in module.named_parameters():
            out[f"{name}/param/{n}"], out[f"{name}/pgrad/{n}"] = p.detach().numpy(), p.grad.numpy()

    for name, (arguments, call) in ATTENTION.items():
        module = randomized(nn.MultiheadAttention(E, N, **arguments))
        first = arguments.get("batch_first", False)
        shapes = [(L, E), (S, arguments.get("kdim", E)), (S, arguments.get("vdim", E))]
        inputs = [torch.randn(*((B, t, w) if first else (t, B, w)), requires_grad=True) for t, w in shapes]
        call = {k: torch.tensor(given[v]) if isinstance(v, str) else v for k, v in call.items()}
        keep(f"mha_{name}", module, inputs, module(*inputs, **call))
    for name, arguments in LAYERS.items():
        first = arguments.get("batch_first", False)
        make = nn.TransformerEncoderLayer if name.startswith("encoder") else nn.TransformerDecoderLayer
        module = randomized(make(E, N, 12, dropout=0.0, **arguments))
        shapes = [(S, E)] if name.startswith("encoder") else [(L, E), (S, E)]
        inputs = [torch.randn(*((B, t, w) if first else (t, B, w)), requires_grad=True) for t, w in shapes]
        padding = torch.tensor(given["padding"])
        if name.startswith("encoder"):
            result = module(inputs[0], src_key_padding_mask=padding)
        else:
            causal = nn.Transformer.generate_square_subsequent_mask(L)
            result = module(*inputs, tgt_mask=causal, memory_key_padding_mask=padding.float().masked_fill(padding, -np.inf))
        keep(name, module, inputs, [result])
    module = randomized(nn.Transformer(E, N, 2, 2, 12, dropout=0.0, batch_first=True))
    inputs = [torch.randn(B, S, E, requires_grad=True), torch.randn(B, L, E, requires_grad=True)]
    causal = nn.Transformer.generate_square_subsequent_mask(L)
    keep("transformer", module, inputs, [module(*inputs, tgt_mask=causal)])
    np.savez_compressed(pathlib.Path(__file__).parent / "torch_transformer.npz", **out)


if __name__ == "__main__":
    main()
