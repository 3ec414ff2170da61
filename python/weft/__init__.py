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
from .config import empty_cache, get_isa, get_num_threads, set_flush_denormal, set_num_threads, show_config
from .errors import CheckpointError, ConfigError, DataError, DtypeError, ShapeError, WeftError
from .random import get_rng_state, manual_seed, set_rng_state

__version__ = "0.1.0"

__all__ = [
    "CheckpointError", "ConfigError", "DataError", "DtypeError", "ShapeError", "Tensor", "WeftError", "__version__", "cat", "chunk",
    "data", "decoding", "empty_cache", "enable_grad", "erf", "exp", "get_isa", "get_num_threads", "get_rng_state", "interop",
    "interpret", "is_grad_enabled", "log", "log_softmax", "manual_seed", "masked_fill", "matmul", "maximum", "mean", "minimum",
    "models", "nn", "no_grad", "optim", "permute", "relu", "reshape", "set_flush_denormal", "set_num_threads", "set_rng_state",
    "show_config", "sigmoid", "softmax", "split", "sqrt", "stack", "sum", "tanh", "tensor", "train", "transpose", "where",
]  # fmt: skip
