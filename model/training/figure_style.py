"""The common style of figures: colours, names and plain axes.

The colours are Okabe and Ito's, which colour-blind people can distinguish; nothing depends on colour alone.
"""

from __future__ import annotations

from matplotlib.axes import Axes

BLUE, ORANGE, RED, GREY = "#0072B2", "#E69F00", "#D55E00", "0.55"
CLASS_COLOURS = (BLUE, ORANGE, "#009E73", "#CC79A7", RED, "#56B4E9", "#8C6D00")
"""The seven colours of the palette without black; its yellow is darker here, for white paper."""

WIDTH_IN = 10.0
"""Width of a figure that fills the report's page."""


def plain(name: str, most: int = 24) -> str:
    """A name on one line, at most `most` characters, that matplotlib does not take for a formula."""
    line = " ".join(name.split())
    fitted = line if len(line) <= most else f"{line[: most - 1]}…"
    return fitted.replace("$", r"\$")


def tidy(axes: Axes) -> None:
    """Remove the upper and right border, and use small tick labels."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=8)
