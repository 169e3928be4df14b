"""A cost per unit at growing sizes, its slope, and its picture."""

import io
import math
import statistics
from collections.abc import Sequence
from typing import NamedTuple


class Curve(NamedTuple):
    """What a unit of work costs at each size. `points` are (size, cost), in growing order of sizes."""

    name: str
    unit: str  # of the cost
    points: Sequence[tuple[int, float]]

    @property
    def slope(self) -> float:
        """Exponent s of the power law cost ~ size^s that fits best, by least squares of the logarithms.

        0: a unit costs the same at each size. 1: it costs twice as much at twice the size.
        """
        logarithms = [[math.log(value) for value in column] for column in zip(*self.points, strict=True)]
        return statistics.linear_regression(*logarithms).slope


class Growth(NamedTuple):
    """Curves over the same sizes."""

    of: str  # what grows
    curves: Sequence[Curve]


def draw(growths: Sequence[Growth]) -> str:
    """Returns an SVG with a plot of each growth, both axes logarithmic. Needs matplotlib."""
    from matplotlib import pyplot, rcParams, ticker

    rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "growth", "font.size": 9})
    figure, plots = pyplot.subplots(
        len(growths), figsize=(7, 2.6 * len(growths)), squeeze=False, layout="constrained"
    )
    for plot, growth in zip(plots.flat, growths, strict=True):
        for curve in growth.curves:
            plot.plot(*zip(*curve.points, strict=True), marker="o", label=f"{curve.name}, {curve.unit}")
        plot.set(xscale="log", yscale="log", xlabel=growth.of)
        plot.set_xticks([size for size, _ in growth.curves[0].points])
        plot.set_xticks([], minor=True)
        plot.xaxis.set_major_formatter(ticker.EngFormatter(sep=""))
        plot.margins(y=0.3)
        plot.grid(visible=True, which="major", alpha=0.3)
        plot.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False)
    text = io.StringIO()
    figure.savefig(text, format="svg", bbox_inches="tight", metadata={"Date": None})
    return text.getvalue()
