# SPDX-License-Identifier: Apache-2.0
"""Cost against the number of ports, as a picture."""

from pathlib import Path
from typing import Any

from benchmarks import results
from benchmarks.client import FLOOR, OURS, PEER
from benchmarks.results import Results

_STYLES = {PEER: "o--", OURS: "o-", FLOOR: "x:"}


def draw(found: Results, path: Path) -> None:
    """Draw one plot for each kind and verb that was measured in more than one size."""
    from matplotlib import pyplot  # of this environment only

    figure, axes = pyplot.subplots(3, 3, figsize=(12, 10), sharex=True, layout="constrained")
    for row, kind in zip(axes, results.KINDS, strict=True):
        for plot, verb in zip(row, results.VERBS, strict=True):
            _one(plot, found, verb, kind)
    axes[0][0].legend()
    figure.suptitle(f"ms by number of ports on the bridge ({found.facts['date']})")
    figure.savefig(path, dpi=100)
    pyplot.close(figure)


def _one(plot: Any, found: Results, verb: str, kind: str) -> None:
    plot.set_title(f"{verb} {kind}")
    plot.set_xscale("log")
    plot.set_yscale("log")
    for who, style in _STYLES.items():
        cases = [results.verb(verb, kind, ports) for ports in results.SIZES]
        points = [(c.ports, value) for c in cases if (value := found.median(c, who))]
        if points:
            plot.plot(*zip(*points, strict=True), style, label=who)
    plot.set_xticks(results.SIZES, [str(size) for size in results.SIZES], minor=False)
    plot.minorticks_off()
