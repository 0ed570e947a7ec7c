"""Pictures of the swap benchmark. matplotlib (the extra `plot`) is imported when one is drawn."""

from __future__ import annotations

import os
from typing import Any

from ..errors import InputError, OutputError
from .swapbench import SwapBench, WayResult


def need_matplotlib() -> None:
    """Raises `InputError` with what to install where there is no matplotlib."""
    from importlib.util import find_spec

    if find_spec("matplotlib") is None:
        raise InputError(
            "a picture needs matplotlib, which is not installed", hint="pip install matplotlib"
        )


def _steps(way: WayResult) -> tuple[list[float], list[float]]:
    """Microseconds, and the share of updates that took longer."""
    total = sum(count for _, count in way.distribution)
    left, times, shares = total, [], []
    for edge, count in way.distribution:
        times.append(edge / 1000)
        shares.append(left / total)
        left -= count
    return times, shares


def plot(bench: SwapBench, path: str | os.PathLike[str]) -> None:
    """Update times of every way: which share of the updates took at least how long, both axes
    logarithmic. The format follows the name (.svg, .png, .pdf). Raises `OutputError`.
    """
    need_matplotlib()
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 5.5), layout="constrained")
    FigureCanvasAgg(figure)
    axes: Any = figure.add_subplot()
    for way in [*bench.ways, *([] if bench.kernel is None else [bench.kernel])]:
        if way.distribution:
            times, shares = _steps(way)
            axes.step(times, shares, where="post", label=f"{way.name}, {way.updates:,} updates")
    axes.set(
        xscale="log",
        yscale="log",
        xlabel="time of one update, until no packet runs the old program (µs)",
        ylabel="share of updates that took at least so long",
        title=f"Replacing a running program: {bench.lanes} worker(s), batches of {bench.batch} packets",
    )
    axes.grid(visible=True, which="major", alpha=0.3)
    axes.legend(loc="upper right", fontsize="small")
    try:
        figure.savefig(os.fspath(path))
    except (OSError, ValueError) as error:
        raise OutputError(f"the picture was not written: {error}", file=path) from error
