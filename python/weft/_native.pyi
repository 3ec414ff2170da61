"""The native module: kernels on arrays. Only `weft.autograd` and `weft.config` call it."""

from collections.abc import Sequence
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "Memory",
    "OptionalCache",
    "OptionalWeights",
    "PackedMatrix",
    "RecurrentCache",
    "RecurrentWeights",
    "TransformerLayers",
    "activation_backward",
    "activation_forward",
    "adam",
    "attention_backward",
    "attention_forward",
    "available_isas",
    "available_threads",
    "cached_bytes",
    "crf_backward",
    "crf_forward",
    "crf_viterbi",
    "cross_entropy_backward",
    "cross_entropy_forward",
    "draw",
    "dropout",
    "embedding_backward",
    "embedding_forward",
    "empty",
    "empty_cache",
    "global_norm",
    "heads_backward",
    "heads_forward",
    "heads_weights",
    "isa",
    "linear",
    "matmul",
    "norm_backward",
    "norm_forward",
    "num_threads",
    "optional_backward",
    "optional_forward",
    "pack",
    "pages_copy",
    "pages_write",
    "panic_in_a_worker",
    "permutation",
    "projected_cross_entropy",
    "random",
    "recurrent_backward",
    "recurrent_forward",
    "recurrent_infer",
    "recurrent_step",
    "recurrent_weight_gradients",
    "second_level_cache",
    "set_flush_denormal",
    "set_num_threads",
    "sgd",
    "sum",
    "top_k",
    "transformer_step",
    "unary",
    "weight_gradient",
]

_Array = NDArray[Any]
_Indices = NDArray[np.int64]

@final
class Memory: ...

@final
class PackedMatrix: ...

@final
class RecurrentCache: ...

@final
class RecurrentWeights:
    def __new__(
        cls,
        cell: str,
        weight_ih: _Array,
        weight_hh: _Array,
        bias_ih: _Array | None,
        bias_hh: _Array | None,
        backward: bool,
    ) -> RecurrentWeights: ...
    @property
    def has_backward(self) -> bool: ...

def empty(shape: Any, double: bool) -> _Array: ...
def isa() -> str: ...
def available_isas() -> list[str]: ...
def num_threads() -> int: ...
def set_num_threads(n: int) -> None: ...
def available_threads() -> int: ...
def empty_cache() -> int: ...
def second_level_cache() -> int: ...
def cached_bytes() -> int: ...
def set_flush_denormal(on: bool) -> bool: ...
def panic_in_a_worker() -> None: ...
def unary(name: str, x: _Array) -> _Array: ...
def activation_forward(name: str, x: _Array) -> _Array: ...
def activation_backward(name: str, saved: _Array, dy: _Array) -> _Array: ...
def top_k(x: _Array, k: int) -> tuple[_Array, _Indices]: ...
def draw(scores: _Array, uniforms: _Array, temperature: float) -> _Indices: ...
def sum(x: _Array, outer: int, n: int, inner: int) -> _Array: ...
def random(key: int, stream: int, normal: bool, a: float, b: float, shape: Any, double: bool) -> _Array: ...
def permutation(key: int, stream: int, n: int) -> _Indices: ...
def dropout(x: _Array, p: float, key: int, stream: int) -> _Array: ...
def embedding_forward(table: _Array, indices: _Indices) -> _Array: ...
def embedding_backward(dy: _Array, indices: _Indices, rows: int, padding: int | None) -> _Array: ...
def cross_entropy_forward(logits: _Array, targets: _Indices, ignore: int, smoothing: float) -> tuple[_Array, _Array]: ...
def cross_entropy_backward(
    logits: _Array, targets: _Indices, ignore: int, smoothing: float, normalizers: _Array, scales: _Array
) -> _Array: ...
def crf_forward(
    emissions: _Array, parameters: tuple[_Array, _Array, _Array], tags: _Indices, lengths: _Indices
) -> tuple[_Array, _Array]: ...
def crf_backward(
    emissions: _Array,
    parameters: tuple[_Array, _Array, _Array],
    tags: _Indices,
    lengths: _Indices,
    alphas: _Array,
    scales: _Array,
) -> tuple[_Array, _Array, _Array, _Array]: ...
def crf_viterbi(emissions: _Array, parameters: tuple[_Array, _Array, _Array], lengths: _Indices) -> tuple[_Indices, _Array]: ...
def projected_cross_entropy(
    x: _Array,
    weight: _Array,
    bias: _Array | None,
    targets: _Indices,
    ignore: int,
    smoothing: float,
    scale: float,
    needs: Any,
) -> tuple[_Array, list[_Array | None]]: ...
def norm_forward(
    rms: bool, x: _Array, residual: _Array | None, weight: _Array | None, bias: _Array | None, eps: float
) -> list[_Array]: ...
def norm_backward(
    rms: bool,
    x: _Array,
    weight: _Array | None,
    means: _Array,
    deviations: _Array,
    dy: _Array,
    more: _Array | None,
    wants_bias: bool,
) -> list[_Array]: ...
def matmul(a: _Array, b: _Array) -> _Array: ...
def pack(b: _Array) -> PackedMatrix: ...
def weight_gradient(g: _Array, x: _Array) -> _Array: ...
def linear(
    x: _Array,
    packed: PackedMatrix,
    bias: _Array | None,
    activation: str | None,
    dropout: tuple[float, int, int] | None,
    residual: _Array | None,
    keep: bool,
) -> tuple[_Array, _Array | None]: ...
def global_norm(gradients: Any) -> float: ...
def adam(
    parameters: Any,
    gradients: Any,
    firsts: Any,
    seconds: Any,
    rate: float,
    beta1: float,
    beta2: float,
    epsilon: float,
    decay: float,
    decoupled: bool,
    step: int,
    scale: float,
) -> None: ...
def sgd(
    parameters: Any,
    gradients: Any,
    momenta: Any,
    rate: float,
    momentum: float,
    dampening: float,
    decay: float,
    nesterov: bool,
    first_step: bool,
    scale: float,
) -> None: ...
def attention_forward(
    query: _Array, key: _Array, value: _Array, energy: _Array | None, scale: float, lengths: _Indices | None
) -> tuple[_Array, _Array]: ...
def attention_backward(
    query: _Array,
    key: _Array,
    value: _Array,
    energy: _Array | None,
    scale: float,
    lengths: _Indices | None,
    weights: _Array,
    d_context: _Array,
    d_weights: _Array | None,
    wants_values: bool,
    key_sum: _Array | None,
) -> list[_Array]: ...
def recurrent_step(weights: RecurrentWeights, x: _Array, h: _Array, c: _Array) -> None: ...

@final
class OptionalWeights:
    def __new__(
        cls, cell: str, coupled: bool, reset_before: bool, hidden: int, parameters: Any, backward: bool
    ) -> OptionalWeights: ...

@final
class OptionalCache:
    def show(self, slot: int | None, out: _Array) -> None: ...

def optional_forward(
    weights: OptionalWeights,
    x: _Array,
    batch_first: bool,
    lengths: _Array | None,
    reverse: bool,
    h_0: _Array | None,
    c_0: _Array | None,
    mask: _Array | None,
    zoneout: tuple[float, float],
    streams: tuple[tuple[int, int], tuple[int, int], int] | None,
    output: _Array,
    offset: int,
) -> tuple[_Array, _Array, OptionalCache]: ...
def optional_backward(
    weights: OptionalWeights,
    cache: OptionalCache,
    x: _Array,
    y: _Array,
    dy: _Array | None,
    offset: int,
    dh_n: _Array | None,
    dc_n: _Array | None,
    batch: int,
    shapes: Any,
    wants_x: bool,
    x_sum: _Array | None,
    retain: bool,
) -> list[_Array]: ...
def recurrent_forward(
    weights: RecurrentWeights,
    x: _Array,
    batch_first: bool,
    lengths: _Indices | None,
    reverse: bool,
    h_0: _Array | None,
    c_0: _Array | None,
    output: _Array,
    offset: int,
    training: bool,
) -> tuple[_Array, _Array, RecurrentCache | None]: ...
def recurrent_infer(
    weights: Sequence[RecurrentWeights],
    x: _Array,
    batch_first: bool,
    reverse: bool,
    h_0: _Array | None,
    c_0: _Array | None,
) -> list[_Array]: ...
def recurrent_backward(
    weights: RecurrentWeights,
    cache: RecurrentCache,
    x: _Array,
    y: _Array,
    dy: _Array | None,
    offset: int,
    dh_n: _Array | None,
    dc_n: _Array | None,
    batch: int,
    with_bias: bool,
    wants_x: bool,
    wants_weights: bool,
    x_sum: _Array | None,
    retain: bool,
) -> list[_Array]: ...
def recurrent_weight_gradients(
    weights: RecurrentWeights, caches: Sequence[RecurrentCache], xs: Sequence[_Array], with_bias: bool
) -> list[_Array]: ...

_Request = tuple[
    Sequence[_Array],
    float,
    bool,
    int | None,
    _Indices | None,
    _Indices | None,
    Sequence[_Array],
    tuple[float, int, int] | None,
    _Indices | None,
]

def heads_forward(request: _Request, context: _Array, wants_statistics: bool) -> tuple[_Array, _Array] | None: ...
def heads_backward(
    request: _Request, context: _Array, maximum: _Array, inverse: _Array, d_context: _Array, gradients: Sequence[_Array]
) -> None: ...
def heads_weights(
    request: _Request, maximum: _Array, inverse: _Array, heads: Sequence[int], rows: Sequence[int], mean: bool
) -> _Array: ...

_Product = tuple[PackedMatrix, _Array | None]
_Norm = tuple[_Array | None, _Array | None, float]
_Layer = tuple[Sequence[_Product], Sequence[_Product] | None, Sequence[_Product], str | None, Sequence[_Norm]]

@final
class TransformerLayers:
    def __new__(
        cls, layers: Sequence[_Layer], last: _Norm | None, norm_first: bool, heads: int, scale: float
    ) -> TransformerLayers: ...

def transformer_step(
    layers: TransformerLayers,
    x: _Array,
    caches: Sequence[tuple[_Array, _Array]],
    places: tuple[_Indices, _Indices],
    sources: tuple[Sequence[tuple[_Array, _Array]], _Indices, _Indices, bool] | None,
) -> tuple[_Array, _Array | None]: ...
def pages_copy(keys: _Array, values: _Array, from_pages: _Indices, to_pages: _Indices, used: _Indices) -> None: ...
def pages_write(keys: _Array, values: _Array, pages: _Indices, slots: _Indices, k: _Array, v: _Array) -> None: ...
