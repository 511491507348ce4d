"""The one error that a user can cause and correct."""


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
        text = f"{where}: {problem}"
        if details:
            text += f" ({'; '.join(details)})"
        if advice:
            text += f"; {advice}"
        super().__init__(" ".join(text.split()))


class SeveralErrors(HolohistoError):
    """All mistakes of one file at once, one line each."""

    def __init__(self, lines: list[str]) -> None:
        """Keep the lines unchanged, one per mistake."""
        Exception.__init__(self, "\n".join(lines))
