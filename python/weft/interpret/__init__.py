"""Looking inside: attention maps."""

from .attention import draw_attention, plot_attention

__all__ = ["draw_attention", "plot_attention"]
