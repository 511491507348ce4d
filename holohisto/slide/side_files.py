"""Slides that consist of several files: what they name must lie in their own folder."""

import re
from pathlib import Path

from holohisto.errors import HolohistoError

SETTINGS_BYTES = 2**20
"""Bytes of a settings file that are read; OpenSlide itself refuses longer ones."""
ELSEWHERE = re.compile(r"[/\\]|^\.\.$|^[A-Za-z]:")
NAMES_FILES = re.compile(
    r"INDEXFILE|FILE_\d+|(Image|Map|Optimisation)File.*|MacroImage", re.IGNORECASE
)
"""Keys whose values are names of files that OpenSlide opens, in MIRAX, VMS and VMU."""


def require_own_folder(path: Path) -> None:
    """Check the files that a Hamamatsu VMS or VMU slide or a MIRAX slide names.

    Raises:
        HolohistoError: a name leads out of the slide's folder.
    """
    suffix = path.suffix.lower()
    if suffix in (".vms", ".vmu"):
        settings = path
    elif suffix == ".mrxs":
        settings = path.with_suffix("") / "Slidedat.ini"
    else:
        return
    try:
        with settings.open("rb") as file:
            text = file.read(SETTINGS_BYTES).decode("utf-8", errors="replace")
    except OSError:
        return  # OpenSlide reports what is missing
    for line in text.splitlines():
        key, _, name = (part.strip() for part in line.partition("="))
        if NAMES_FILES.fullmatch(key) and ELSEWHERE.search(name):
            raise HolohistoError(
                settings,
                "the slide names a file outside its folder",
                found=f"{key} = {name}",
                allowed="names of files beside it",
            )
