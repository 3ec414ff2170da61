"""Layers with torch's names, arguments, defaults and state dicts; what torch lacks is keyword-only."""

from . import functional, init, utils
from .attention import Attention
from .batch_norm import BatchNorm1d
from .cache import KeyValueCache
from .cells import GRUCell, LSTMCell, RNNCell
from .container import ModuleDict, ModuleList, Sequential
from .crf import CRF
from .layers import GELU, CrossEntropyLoss, Dropout, Embedding, LayerNorm, Linear, ReLU, RMSNorm, Sigmoid, Tanh
from .mode import evaluating
from .module import Module
from .multihead import MultiheadAttention
from .parameter import Parameter
from .pooling import Pool
from .recurrent import GRU, LSTM, RNN, detached
from .stream import Stream
from .transformer import (
    PositionalEncoding,
    Transformer,
    TransformerDecoder,
    TransformerDecoderLayer,
    TransformerEncoder,
    TransformerEncoderLayer,
)
from .unroll import Unroll

__all__ = [
    "CRF",
    "GELU",
    "GRU",
    "LSTM",
    "RNN",
    "Attention",
    "BatchNorm1d",
    "CrossEntropyLoss",
    "Dropout",
    "Embedding",
    "GRUCell",
    "KeyValueCache",
    "LSTMCell",
    "LayerNorm",
    "Linear",
    "Module",
    "ModuleDict",
    "ModuleList",
    "MultiheadAttention",
    "Parameter",
    "Pool",
    "PositionalEncoding",
    "RMSNorm",
    "RNNCell",
    "ReLU",
    "Sequential",
    "Sigmoid",
    "Stream",
    "Tanh",
    "Transformer",
    "TransformerDecoder",
    "TransformerDecoderLayer",
    "TransformerEncoder",
    "TransformerEncoderLayer",
    "Unroll",
    "detached",
    "evaluating",
    "functional",
    "init",
    "utils",
]  # fmt: skip
