"""Pictures of what a run measured, as PNG beside the numbers. Draws only."""

from collections.abc import Sequence
from pathlib import Path

Sample = dict[str, int]

_PANELS = (
    ("rss_kb", "memory of the worker, MB", 1024),
    ("fds", "open descriptors", 1),
    ("processes", "processes besides worker, engine and dispatcher", 1),
    ("other_kb", "disk without git's objects, KB", 1),
    ("git_kb", "git's objects (the history of the work), KB", 1),
)


def plot_soak(samples: Sequence[Sample], path: Path) -> None:
    """One panel a measure over the turns, from zero, so that growth is seen for what it is."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    figure, panels = pyplot.subplots(len(_PANELS), 1, sharex=True, figsize=(8, 10), layout="constrained")
    turns = [s["turns"] for s in samples]
    for panel, (name, title, unit) in zip(panels, _PANELS, strict=True):
        panel.plot(turns, [s[name] / unit for s in samples], color="#b4532a")
        panel.axvline(100, color="grey", linewidth=0.7, linestyle=":")
        panel.set_title(title, loc="left", fontsize=9)
        panel.set_ylim(bottom=0)
    panels[-1].set_xlabel("turns")
    figure.savefig(path, dpi=110)
    pyplot.close(figure)
