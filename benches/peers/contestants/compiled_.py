"""PyTorch with the losses of its training steps through torch.compile, which needs a C++ compiler."""

import torch
from contestants import torch_
from contestants.torch_ import (  # noqa: F401
    drawing_step,
    gpt_step,
    seq2seq_fed_step,
    seq2seq_step,
    threads,
    transformer_step,
    version,
    vit_step,
)

torch_.prepared = torch.compile
