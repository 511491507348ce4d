"""Numbers as text: percentages, counts, areas, durations and sizes."""

import math

ABSENT = "–"
THIN, TIED = "\u202f", "\u00a0"
"""Spaces at which no line is broken: a narrow one between thousands, and a plain one."""


def percent(value: float) -> str:
    """A share as a percentage with two decimals, as the paper prints them."""
    return ABSENT if value is None or math.isnan(value) else f"{100 * value:.2f}"


def count(value: float) -> str:
    """A whole number with a thin space between thousands."""
    return f"{value:,.0f}".replace(",", THIN)


def number_of(slides: float) -> str:
    """A number of slides: n = 7."""
    return f"n{TIED}={TIED}{slides:.0f}"


def large(value: float) -> str:
    """A count with at most three digits and a unit prefix: 5 M, 31 G."""
    if math.isnan(value):
        return ABSENT
    for step, letter in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= 0.9995 * step:
            return f"{value / step:.3g}{THIN}{letter}"
    return f"{value:.0f}"


def area(square_micrometres: float) -> str:
    """An area as text, in µm², or in mm² from 0.1 mm²."""
    if math.isnan(square_micrometres):
        return ABSENT
    if square_micrometres >= 1e5:
        return f"{square_micrometres / 1e6:.2g}{TIED}mm²"
    return f"{count(square_micrometres)}{TIED}µm²"


def probability(p: float) -> str:
    """A p value with two significant digits."""
    return "< 0.0001" if p < 0.0001 else f"{p:.2g}"


def duration(seconds: float) -> str:
    """Seconds as text, in seconds, minutes or hours."""
    if seconds != seconds:
        return ABSENT
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"


def memory(megabytes: float) -> str:
    """Megabytes as text, in megabytes or gigabytes."""
    if megabytes != megabytes or megabytes <= 0:
        return ABSENT
    if megabytes < 10:
        return f"{megabytes:.2g} MB"
    return f"{megabytes:.0f} MB" if megabytes < 1000 else f"{megabytes / 1000:.1f} GB"
