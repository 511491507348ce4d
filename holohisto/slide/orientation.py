"""Pictures that are stored turned or mirrored, and a tag that says so.

Viewers disagree on the tag, so an annotation may be of the picture as stored or as shown.
"""

from pathlib import Path

from holohisto.errors import HolohistoError

UPRIGHT = 1
TAG = 274
"""Number of the tag Orientation, in TIFF and in EXIF."""


def require_upright(path: Path, orientation: object) -> None:
    """Refuse a picture that is not stored as it is shown.

    Args:
        path: The file.
        orientation: Value of the tag Orientation; anything but 2 to 8 counts as upright.

    Raises:
        HolohistoError: the picture is turned or mirrored.
    """
    if isinstance(orientation, int) and UPRIGHT < orientation <= 8:
        raise HolohistoError(
            path,
            "is stored turned or mirrored, and viewers disagree on how to show it",
            found=f"orientation {orientation}",
            allowed=f"orientation {UPRIGHT}",
            advice="save it upright, for example by `vips autorot`, and its annotation alike",
        )
