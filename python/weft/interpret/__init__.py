"""Looking inside: where models looked, what outputs depend on, what gates did, how far gradients reach."""

from .attention import attention_weights, draw_attention, hard_alignment, plot_attention, watch_attention
from .maps import draw_map, plot_images, plot_map
from .recurrent import gates, gradient_flow, plot_gates, plot_gradient_flow
from .saliency import saliency

__all__ = [
    "attention_weights", "draw_attention", "draw_map", "gates", "gradient_flow", "hard_alignment", "plot_attention", "plot_gates",
    "plot_gradient_flow", "plot_images", "plot_map", "saliency", "watch_attention",
]  # fmt: skip
