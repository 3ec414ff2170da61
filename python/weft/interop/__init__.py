"""Files and formats that Weft shares with others."""

from .safetensors import load_file, save_file, write_atomically

__all__ = ["load_file", "save_file", "write_atomically"]
