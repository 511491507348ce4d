"""Charts as inline SVG, coloured by the page's style sheet."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from markupsafe import Markup

WIDTH = 340
LEFT, RIGHT = 96, 12
ROW = 32
"""Height of a model's row in the dot plot."""
POINTS = 300
"""Number of points to which longer curves are thinned."""
NAME = 12
"""Longer model names are cut in the dot plot; the whole name is in the tooltip."""

Position = Callable[[float], float]
"""Maps a value to its x position in the drawing."""


@dataclass(frozen=True)
class Dots:
    """Slide Dice of one group: one row per model, one dot per slide."""

    models: Sequence[str]
    slides: dict[str, dict[str, float]]
    """Slide: model: Dice."""
    reference: str


def dot_plot(dots: Dots, low: float, label: str) -> Markup:
    """Dice of every slide, one row per model, dots of one slide joined, a bar at the mean.

    Args:
        dots: What to draw.
        low: Left end of the axis; the right end is 1.
        label: Spoken description.
    """
    top, bottom = 8, 22
    height = top + ROW * len(dots.models) + bottom
    rows = {model: top + ROW * (i + 0.5) for i, model in enumerate(dots.models)}

    def x(value: float) -> float:
        share = (max(value, low) - low) / (1 - low)
        return LEFT + share * (WIDTH - LEFT - RIGHT)

    elements = [_axis(low, x, top, height - bottom)]
    for scores in dots.slides.values():
        points = " ".join(f"{x(scores[m]):.1f},{rows[m]:.1f}" for m in dots.models if m in scores)
        elements.append(Markup('<polyline class="pair" points="{}"/>').format(points))
    for model, y in rows.items():
        elements.append(_row(dots, model, x, y))
    return _svg(height, label, elements)


def lower_end(values: Sequence[float]) -> float:
    """A round lower end for an axis of Dice that ends at 1."""
    finite = [value for value in values if math.isfinite(value)]
    return max(0.0, min(0.9, math.floor(min(finite, default=0.9) * 10 - 0.2) / 10))


def _axis(low: float, x: Position, top: float, base: float) -> Markup:
    step = 0.02 if low >= 0.9 else 0.05 if low >= 0.7 else 0.1 if low >= 0.5 else 0.2
    elements = []
    value = 1.0
    while value >= low - 1e-9:
        elements.append(
            Markup(
                '<line class="grid" x1="{0:.1f}" x2="{0:.1f}" y1="{1}" y2="{2}"/>'
                '<text class="tick" x="{0:.1f}" y="{3}" text-anchor="middle">{4:.0f}</text>'
            ).format(x(value), top, base, base + 15, 100 * value)
        )
        value -= step
    return Markup("").join(elements)


def _row(dots: Dots, model: str, x: Position, y: float) -> Markup:
    scores = {slide: values[model] for slide, values in dots.slides.items() if model in values}
    kind = "ours" if model == dots.reference else "other"
    short = model if len(model) <= NAME else model[: NAME - 1] + "…"
    elements = [
        Markup(
            '<text class="name {}" x="{}" y="{:.1f}" text-anchor="end">{}<title>{}</title></text>'
        ).format(kind, LEFT - 10, y + 4, short, model)
    ]
    for slide, score in scores.items():
        elements.append(
            Markup(
                '<circle class="{}" cx="{:.1f}" cy="{:.1f}" r="4">'
                "<title>{}: {:.2f} %</title></circle>"
            ).format(kind, x(score), y, slide, 100 * score)
        )
    if scores:
        mean = sum(scores.values()) / len(scores)
        elements.append(
            Markup(
                '<line class="mean {0}" x1="{1:.1f}" x2="{1:.1f}" y1="{2:.1f}" y2="{3:.1f}">'
                "<title>mean {4:.2f} %</title></line>"
            ).format(kind, x(mean), y - 10, y + 10, 100 * mean)
        )
    return Markup("").join(elements)


@dataclass(frozen=True)
class Box:
    """Spread of one group's values."""

    group: str
    count: int
    quantiles: Sequence[float]
    """5th, 25th, 50th, 75th and 95th percentile, all above 0."""


def box_plot(boxes: Sequence[Box], label: str) -> Markup:
    """One row per group: a box over the middle half, a bar at the median, a line from 5 to 95 %.

    The axis is logarithmic, with a tick at every 1, 2 and 5.
    """
    top, bottom = 8, 22
    height = top + ROW * len(boxes) + bottom
    low = min(box.quantiles[0] for box in boxes) / 1.1
    high = max(box.quantiles[-1] for box in boxes) * 1.1

    def x(value: float) -> float:
        share = math.log(value / low) / math.log(high / low)
        return LEFT + share * (WIDTH - LEFT - RIGHT)

    elements = []
    for value in _logarithmic_ticks(low, high):
        elements.append(
            Markup(
                '<line class="grid" x1="{0:.1f}" x2="{0:.1f}" y1="{1}" y2="{2}"/>'
                '<text class="tick" x="{0:.1f}" y="{3}" text-anchor="middle">{4}</text>'
            ).format(x(value), top, height - bottom, height - bottom + 15, _short(value))
        )
    for i, box in enumerate(boxes):
        elements.append(_box(box, x, top + ROW * (i + 0.5)))
    return _svg(height, label, elements)


def _logarithmic_ticks(low: float, high: float) -> list[float]:
    """Values 1, 2 and 5 times powers of ten between the ends; over a long axis powers alone."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    factors = (1, 2, 5) if high / low < 200 else (1,)
    ticks = [factor * 10.0**power for power in powers for factor in factors]
    return [tick for tick in ticks if low <= tick <= high]


def _box(box: Box, x: Position, y: float) -> Markup:
    short = box.group if len(box.group) <= NAME else box.group[: NAME - 1] + "…"
    left, low, median, high, right = (x(value) for value in box.quantiles)
    return Markup(
        "<g><title>{}: {} objects, median {:.0f}, half between {:.0f} and {:.0f} µm²</title>"
        '<text class="name" x="{}" y="{:.1f}" text-anchor="end">{}</text>'
        '<line class="range" x1="{:.1f}" x2="{:.1f}" y1="{y:.1f}" y2="{y:.1f}"/>'
        '<rect class="half" x="{:.1f}" y="{:.1f}" width="{:.1f}" height="16"/>'
        '<line class="mean" x1="{m:.1f}" x2="{m:.1f}" y1="{:.1f}" y2="{:.1f}"/></g>'
    ).format(
        box.group,
        box.count,
        box.quantiles[2],
        box.quantiles[1],
        box.quantiles[3],
        LEFT - 10,
        y + 4,
        short,
        left,
        right,
        low,
        y - 8,
        high - low,
        y - 10,
        y + 10,
        y=y,
        m=median,
    )


def curve(xs: Sequence[float], ys: Sequence[float], title: str, along: str) -> Markup | None:
    """A line chart of `ys` over `xs`; None without two finite points.

    Args:
        xs: Steps.
        ys: Values; gaps (NaN) are left out.
        title: Name of the value, for the spoken description.
        along: Name of the x axis.
    """
    points = [(a, b) for a, b in zip(xs, ys, strict=True) if math.isfinite(a) and math.isfinite(b)]
    if len(points) < 2:
        return None
    points = _thinned(points)
    left, top, right, base, height = 46, 10, WIDTH - RIGHT, 132, 154
    x_low, x_high = xs_span = _span([point[0] for point in points])
    ticks = round_ticks(*_span([point[1] for point in points]))
    y_low, y_high = ticks[0], ticks[-1]

    def position(point: tuple[float, float]) -> str:
        a = left + (point[0] - x_low) / (x_high - x_low) * (right - left)
        b = base - (point[1] - y_low) / (y_high - y_low) * (base - top)
        return f"{a:.1f},{b:.1f}"

    elements = []
    for value in ticks:
        y = base - (value - y_low) / (y_high - y_low) * (base - top)
        elements.append(
            Markup(
                '<line class="grid" x1="{}" x2="{}" y1="{:.1f}" y2="{:.1f}"/>'
                '<text class="tick" x="{}" y="{:.1f}" text-anchor="end">{}</text>'
            ).format(left, right, y, y, left - 6, y + 4, _short(value))
        )
    for x, value, anchor in zip((left, right), xs_span, ("start", "end"), strict=True):
        elements.append(
            Markup('<text class="tick" x="{}" y="{}" text-anchor="{}">{}</text>').format(
                x, base + 16, anchor, _short(value)
            )
        )
    middle = (left + right) / 2
    elements.append(
        Markup('<text class="tick" x="{}" y="{}" text-anchor="middle">{}</text>').format(
            middle, base + 16, along
        )
    )
    line = " ".join(map(position, points))
    elements.append(Markup('<polyline class="curve" points="{}"/>').format(line))
    return _svg(height, f"{title} over {along}", elements)


def _thinned(points: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """Means of runs of points, so that spikes do not hide the trend; both ends are kept."""
    run = math.ceil(len(points) / POINTS)
    if run == 1:
        return points
    means = []
    for start in range(0, len(points), run):
        near = points[start : start + run]
        means.append((sum(p[0] for p in near) / len(near), sum(p[1] for p in near) / len(near)))
    return [points[0], *means, points[-1]]


def _span(values: Sequence[float]) -> tuple[float, float]:
    low, high = min(values), max(values)
    return (low, high) if high > low else (low - 0.5, high + 0.5)


def round_ticks(low: float, high: float) -> list[float]:
    """Three to six round values at even steps, the first and last outside `low` to `high`."""
    rough = (high - low) / 4
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= rough)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(step * i, 12) for i in range(first, last + 1)]


def _short(value: float) -> str:
    """A tick label: at most three digits, thousands as k."""
    if abs(value) >= 10_000:
        return f"{value / 1000:.0f}k"
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _svg(height: float, label: str, elements: Sequence[Markup]) -> Markup:
    return Markup('<svg viewBox="0 0 {} {:.0f}" role="img" aria-label="{}">{}</svg>').format(
        WIDTH, height, label, Markup("").join(elements)
    )
