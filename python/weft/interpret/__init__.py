"""Looking inside: attention maps, gates, how far gradients reach."""

from .attention import draw_attention, plot_attention
from .recurrent import gates, gradient_flow, plot_gates, plot_gradient_flow

__all__ = ["draw_attention", "gates", "gradient_flow", "plot_attention", "plot_gates", "plot_gradient_flow"]
