"""Sizes and times as text."""


def bytes_text(number: float) -> str:
    """Return a size as text in kB, MB or GB, at least 0.1 kB unless it is 0."""
    if number >= 1e9:
        return f"{number / 1e9:.1f} GB"
    if number == 0:
        return "0 bytes"
    return f"{number / 1e6:.1f} MB" if number >= 1e5 else f"{max(number / 1e3, 0.1):.1f} kB"


def time_text(seconds: float) -> str:
    """Return a time as text in seconds, minutes or hours, at least 0.1 s."""
    if seconds < 90:
        return f"{max(seconds, 0.1):.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
