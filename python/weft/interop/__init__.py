"""Files and formats that Weft shares with others."""

from .safetensors import load_file, save_file, write_atomically
from .thread_pools import register_threadpoolctl

__all__ = ["load_file", "register_threadpoolctl", "save_file", "write_atomically"]
