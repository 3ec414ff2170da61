"""Layers with torch's names, arguments, defaults and state dicts; what torch lacks is keyword-only."""

from . import functional, init
from .attention import Attention
from .container import ModuleList, Sequential
from .layers import GELU, CrossEntropyLoss, Dropout, Embedding, LayerNorm, Linear, ReLU, RMSNorm, Sigmoid, Tanh
from .module import Module
from .parameter import Parameter
from .recurrent import GRU, LSTM, RNN

__all__ = [
    "GELU", "GRU", "LSTM", "RNN", "Attention", "CrossEntropyLoss", "Dropout", "Embedding", "LayerNorm", "Linear", "Module",
    "ModuleList", "Parameter", "RMSNorm", "ReLU", "Sequential", "Sigmoid", "Tanh", "functional", "init",
]  # fmt: skip
