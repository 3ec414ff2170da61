"""What attention costs as sequences grow: time and memory, beside the way that stores all N × N weights.

    python examples/attention_cost.py --lengths 256 512 1024 2048 4096

Forward and backward of one layer (256 wide, 4 heads, one sequence). Memory is what a fresh process needs above its inputs.
"""

import argparse
import json
import resource
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

import weft
from weft import nn


def stored(layer, x):
    """The layer's attention from operations of their own: [heads, N, N] scores and weights are kept for the backward pass."""
    heads, width = layer.num_heads, layer.head_dim
    joined = nn.functional.linear(x, layer.in_proj_weight, layer.in_proj_bias)
    q, k, v = (t.reshape(x.shape[1], heads, width).transpose(0, 1) for t in joined.chunk(3, -1))
    weights = nn.functional.softmax(q @ k.transpose(1, 2) * width**-0.5, -1)
    return layer.out_proj((weights @ v).transpose(0, 1).reshape(1, x.shape[1], heads * width))


def peak():
    """The process's largest resident size in KiB. Linux hands a parent's down in getrusage, so its own is read where there is one."""
    status = Path("/proc/self/status")
    if status.exists():
        return int(status.read_text().split("VmHWM:")[1].split()[0])
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def measure(way, length, hidden):
    """Seconds of the best of three, and MB above the start."""
    weft.manual_seed(0)
    layer = nn.MultiheadAttention(hidden, 4, batch_first=True)
    x = weft.tensor(np.random.default_rng(0).standard_normal((1, length, hidden)), dtype=np.float32, requires_grad=True)
    layer(x[:, :16], x[:, :16], x[:, :16])
    before = peak()
    times = []
    for _ in range(3):
        begin = time.perf_counter()
        y = stored(layer, x) if way == "stored" else layer(x, x, x, need_weights=False)[0]
        y.sum().backward()
        times.append(time.perf_counter() - begin)
        x.grad = None
    return min(times), (peak() - before) / 1024


def main(arguments=None):
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--lengths", type=int, nargs="+", default=[256, 512, 1024, 2048, 4096])
    parser.add_argument("--hidden", type=int, default=256)
    parser.add_argument(
        "--measure", choices=("tiles", "stored"), help="one way at the first length, as JSON: how the others are run"
    )
    options = parser.parse_args(arguments)
    if options.measure:
        return print(json.dumps(measure(options.measure, options.lengths[0], options.hidden)))
    found = {}
    print("  length      tiles: ms      MB     stored: ms      MB")
    for length in options.lengths:
        for way in ("tiles", "stored"):
            command = [sys.executable, __file__, "--measure", way, "--lengths", str(length), "--hidden", str(options.hidden)]
            found[way, length] = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        row = [n for way in ("tiles", "stored") for n in found[way, length]]
        print(f"{length:8} {1e3 * row[0]:14.1f} {row[1]:7.0f} {1e3 * row[2]:14.1f} {row[3]:7.0f}", flush=True)
    return found


if __name__ == "__main__":
    main()
