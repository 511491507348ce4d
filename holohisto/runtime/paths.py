"""Paths that every step of a run can pass on: to Snakemake, to a shell, to a library."""

import os
import re
import stat
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from holohisto.errors import HolohistoError

READ_BY_A_SHELL = re.compile(r"""[$`"\\]""")
"""Characters that keep their meaning within double quotes: a cluster's executor passes paths and
`--config` values to a shell within them."""
UNFIT = re.compile(READ_BY_A_SHELL.pattern + r"|[{}<]")
"""Characters that no path may have. Snakemake reads { } as wildcards, and its report puts paths
into a script, which `<` could end."""
LONGEST_NAME = 200
"""Bytes of a file's name; file systems allow 255, and temporary names are longer."""
ALLOWED = (
    'no $, `, ", \\, {, }, < or unprintable character, no - or quote at the start, no ] at the end'
)


def unfit(text: str) -> str | None:
    """Return why `text` cannot be a path of a run; None where it can.

    Refused are characters that a shell or Snakemake reads, a leading dash (an option of the
    command line), a leading quote (passed on as it is), a closing bracket at the end (options of
    libvips), and names that are too long.
    """
    if found := UNFIT.search(text) or _unprintable(text):
        return f"{found[0]!r} in it"
    if text[:1] in ("-", "'"):
        return f"{text[0]!r} at its start"
    if text.endswith("]"):
        return "']' at its end"
    longest = max((len(os.fsencode(name)) for name in text.split("/")), default=0)
    return f"a name of {longest} bytes in it" if longest > LONGEST_NAME else None


def fit_path(path: Path) -> Path:
    """Return a path of the configuration.

    Raises:
        ValueError: it cannot be a path of a run, see `unfit`.
    """
    if problem := unfit(str(path)):
        raise ValueError(f"has {problem}; allowed: {ALLOWED}")
    return path


def require_fit(path: Path, where: object) -> None:
    """Check a path of the command line.

    Raises:
        HolohistoError: it cannot be a path of a run, see `unfit`.
    """
    if problem := unfit(str(path)):
        raise HolohistoError(where, f"{str(path)!r} has {problem}", allowed=ALLOWED)


def require_plain(values: Mapping[Any, Any], where: str = "--config") -> None:
    """Check the values of `--config`, which an executor puts on the command lines of its jobs.

    Raises:
        HolohistoError: a key or value has a character that a shell reads.
    """
    for key, text in _texts(values):
        if READ_BY_A_SHELL.search(text) or _unprintable(text) or "'" in text or text[:1] == "-":
            raise HolohistoError(
                f"{where}: {key}",
                "would be read by a shell on the way to a cluster's jobs",
                found=repr(text),
                allowed="no $, `, quote, \\ or unprintable character, no - at the start",
                advice="rename it, or write it in the configuration file (`scratch`: env:NAME)",
            )


def is_readable_kind(path: Path) -> bool:
    """Return whether a path is a file or a folder; a pipe or device may never end when read."""
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError):
        return False
    return stat.S_ISREG(mode) or stat.S_ISDIR(mode)


def is_own_file(path: Path) -> bool:
    """Return whether a path is a file of this user, of root, or of the owner of its folder.

    In a folder that all users may write into, another one may have left it.
    """
    try:
        state, folder = path.stat(), path.parent.stat()
    except (OSError, ValueError):
        return False
    return stat.S_ISREG(state.st_mode) and state.st_uid in (os.getuid(), 0, folder.st_uid)


def expanded(folder: str) -> Path:
    """Return a folder with the variables of this process: `env:NAME` or `$NAME`.

    The form `env:NAME` reaches the jobs of a cluster as it is; `$NAME` on a command line would be
    replaced on the submitting host.
    """
    name = folder.removeprefix("env:")
    return Path(os.environ.get(name, folder) if name != folder else os.path.expandvars(folder))


def cache_folder() -> Path | None:
    """Return the user's folder of files that can be made again, existing or not.

    None for a user without a home, as in containers with a user id of their own: in a folder that
    all users share, another one could leave files.
    """
    given = os.environ.get("XDG_CACHE_HOME", "")
    caches = Path(given if os.path.isabs(given) else os.path.expanduser("~/.cache"))
    return caches / "holohisto" if caches.is_absolute() else None


def _unprintable(text: str) -> re.Match[str] | None:
    """The first unprintable character, such as a line break or a byte that is not UTF-8."""
    character = next((c for c in text if not c.isprintable()), None)
    return re.search(re.escape(character), text) if character is not None else None


def _texts(values: object, key: str = "") -> Iterator[tuple[str, str]]:
    """Yield every text of nested values, keys included, with the keys that lead to it."""
    if isinstance(values, Mapping):
        for name, value in cast(Mapping[Any, Any], values).items():
            path = f"{key}.{name}" if key else str(name)
            yield path, str(name)
            yield from _texts(value, path)
    elif isinstance(values, Sequence) and not isinstance(values, str | bytes):
        for value in cast(Sequence[Any], values):
            yield from _texts(value, key)
    else:
        yield key, str(values)
