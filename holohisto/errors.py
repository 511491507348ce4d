"""The one error that a user can cause and correct."""

LONGEST = 300
"""Characters of an error's line; of a longer one the middle is left out."""
MOST_LINES = 100
"""Mistakes of one file that are listed."""


def one_line(text: str) -> str:
    """Return text from a file or library as one printable line of at most LONGEST characters.

    Control characters, such as a terminal's escapes, become their codes.
    """
    line = printable(" ".join(text[: 100 * LONGEST].split()))
    if len(line) <= LONGEST:
        return line
    half = (LONGEST - 5) // 2
    return f"{line[: LONGEST - 5 - half]} ... {line[-half:]}"


def printable(text: str) -> str:
    """Return text with the codes of unprintable characters in place of them."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


class HolohistoError(Exception):
    """A mistake in the input, reported in one line: where, what, found, allowed, what to do.

    The command line prints it without a traceback and ends with exit code 2.
    """

    def __init__(
        self,
        where: object,
        problem: str,
        *,
        found: object = None,
        allowed: object = None,
        advice: str | None = None,
    ) -> None:
        """Compose the line `where: problem (found X; allowed Y); advice`."""
        details = [
            f"{name} {value}"
            for name, value in (("found", found), ("allowed", allowed))
            if value is not None
        ]
        text = f": {problem}"
        if details:
            text += f" ({'; '.join(details)})"
        if advice:
            text += f"; {advice}"
        super().__init__(one_line(_short(str(where), LONGEST - len(text)) + text))


def _short(where: str, room: int) -> str:
    """Leave out folders of a path, the first ones first, where there is no room for all of them."""
    parts = where.split("/")
    shown = where
    for first in range(2, len(parts)):
        if len(shown) > room:
            shown = ".../" + "/".join(parts[first:])
    return shown


class SeveralErrors(HolohistoError):
    """All mistakes of one file at once, one line each."""

    def __init__(self, lines: list[str]) -> None:
        """Keep the lines, one per mistake; of very many the first ones."""
        shown = [one_line(line) for line in lines[:MOST_LINES]]
        if len(lines) > MOST_LINES:
            shown.append(f"and {len(lines) - MOST_LINES} more mistakes")
        Exception.__init__(self, "\n".join(shown))
