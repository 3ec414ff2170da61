"""CTranslate2: searches only, over the weights of Weft's Transformer, converted here, float32."""

import tempfile

import ctranslate2
import numpy as np
from contestants import weft_
from ctranslate2.specs import transformer_spec

import weft

_threads = 1


def threads(n):
    global _threads
    _threads = n


def version():
    return ctranslate2.__version__


def _linear(spec, weight, bias):
    spec.weight, spec.bias = weight.numpy(), bias.numpy()


def _norm(spec, norm):
    spec.gamma, spec.beta = norm.weight.numpy(), norm.bias.numpy()


def _own(spec, attention, norm):
    _linear(spec.linear[0], attention.in_proj_weight, attention.in_proj_bias)
    _linear(spec.linear[1], attention.out_proj.weight, attention.out_proj.bias)
    _norm(spec.layer_norm, norm)


def _fed(spec, layer, norm):
    _linear(spec.linear_0, layer.linear1.weight, layer.linear1.bias)
    _linear(spec.linear_1, layer.linear2.weight, layer.linear2.bias)
    _norm(spec.layer_norm, norm)


def converted(model, folder):
    """Writes the model in CTranslate2's form."""
    heads, d = model.heads, model.hidden
    spec = transformer_spec.TransformerSpec.from_config(len(model.decoder.layers), heads, pre_norm=False)
    for part, table, layers in (
        (spec.encoder, model.source_embedding, model.encoder.layers),
        (spec.decoder, model.target_embedding, model.decoder.layers),
    ):
        embeddings = part.embeddings[0] if isinstance(part.embeddings, list) else part.embeddings
        embeddings.weight = table.weight.numpy()
        part.scale_embeddings = True
        part.position_encodings.encodings = model.positions.positions.numpy()[:256]
        for own, layer in zip(part.layer, layers, strict=True):
            _own(own.self_attention, layer.self_attn, layer.norm1)
            if part is spec.encoder:
                _fed(own.ffn, layer, layer.norm2)
                continue
            attention = layer.multihead_attn
            weight, bias = attention.in_proj_weight, attention.in_proj_bias
            _linear(own.attention.linear[0], weight[:d], bias[:d])
            _linear(own.attention.linear[1], weight[d:], bias[d:])
            _linear(own.attention.linear[2], attention.out_proj.weight, attention.out_proj.bias)
            _norm(own.attention.layer_norm, layer.norm2)
            _fed(own.ffn, layer, layer.norm3)
    _linear(spec.decoder.projection, model.output.weight, model.output.bias)
    tokens = model.source_vocabulary.tokens
    spec.register_source_vocabulary(tokens)
    spec.register_target_vocabulary(tokens)
    spec.config.bos_token, spec.config.eos_token, spec.config.unk_token = tokens[1], tokens[2], tokens[3]
    spec.config.decoder_start_token = tokens[1]
    spec.config.add_source_bos = spec.config.add_source_eos = False
    spec.validate()
    spec.save(folder)


def transformer_beam(d, layers, v, b, s, steps, beam):
    model = weft_.transformer(d, layers, v).eval()
    with weft.no_grad():
        for special in range(4):
            model.output.bias[special] = -1e4
    sources = [[(i * 31 + j) % (v - 4) + 4 for j in range(s)] for i in range(b)]
    tokens = model.source_vocabulary.tokens
    texts = [[tokens[n] for n in source] for source in sources]
    with tempfile.TemporaryDirectory() as folder:
        converted(model, folder)
        translator = ctranslate2.Translator(folder, device="cpu", compute_type="float32", intra_threads=_threads)
    options = {
        "beam_size": beam,
        "max_decoding_length": steps,
        "min_decoding_length": steps,
        "return_scores": True,
        "length_penalty": 0,
    }
    [first] = translator.translate_batch(texts[:1], **options)
    wished, state, last = 0.0, model.start(sources[:1]), 1
    for token in first.hypotheses[0]:
        scores, _, state = model.step(state, np.array([last]))
        last = tokens.index(token)
        wished += float(scores[0, last])
    assert abs(first.scores[0] - wished) < 1e-2, f"not the same model: log p {first.scores[0]} is {wished}"
    return lambda: translator.translate_batch(texts, **options)
