"""Weft trains and runs sequence models on the CPU, from NumPy arrays, with a Rust core.

The public interface on one page. `weft.nn` and `weft.optim` have torch's names, arguments and defaults; `weft.models` are complete
models that train, decode and are saved. `weft --help` is the command line.
"""

from . import data, decoding, interop, interpret, models, nn, optim, train
from .autograd import (
    Tensor,
    cat,
    chunk,
    enable_grad,
    erf,
    exp,
    is_grad_enabled,
    log,
    masked_fill,
    matmul,
    maximum,
    mean,
    minimum,
    no_grad,
    permute,
    reshape,
    split,
    sqrt,
    stack,
    sum,
    tensor,
    transpose,
    where,
)
from .autograd.activation import log_softmax, relu, sigmoid, softmax, tanh
from .autograd.creation import arange, full, ones, ones_like, zeros, zeros_like
from .config import empty_cache, get_isa, get_num_threads, set_flush_denormal, set_num_threads, show_config
from .errors import AxisError, CheckpointError, ConfigError, DataError, DtypeError, ShapeError, WeftError
from .random import get_rng_state, manual_seed, rand, randn, set_rng_state

__version__ = "0.1.0"

__all__ = [
    "AxisError", "CheckpointError", "ConfigError", "DataError", "DtypeError", "ShapeError", "Tensor", "WeftError", "__version__",
    "arange", "cat", "chunk", "data", "decoding", "empty_cache", "enable_grad", "erf", "exp", "full", "get_isa", "get_num_threads",
    "get_rng_state", "interop", "interpret", "is_grad_enabled", "log", "log_softmax", "manual_seed", "masked_fill", "matmul", "maximum",
    "mean", "minimum", "models", "nn", "no_grad", "ones", "ones_like", "optim", "permute", "rand", "randn", "relu", "reshape",
    "set_flush_denormal", "set_num_threads", "set_rng_state", "show_config", "sigmoid", "softmax", "split", "sqrt", "stack", "sum",
    "tanh", "tensor", "train", "transpose", "where", "zeros", "zeros_like",
]  # fmt: skip
