"""Which resolution of a slide an annotation has."""

LEVEL_0, WORKING = "level 0", "working"

Size = tuple[int, int]


def resolution_of(own: Size, size: Size, working: Size) -> str | None:
    """Return the resolution of an annotation by its size; None where it fits neither.

    Args:
        own: Width and height of the annotation.
        size: Width and height of the slide's level 0.
        working: Width and height of the slide at working resolution, rounded up; annotations may
            also be rounded down, as other tools do.
    """
    if own == size:
        return LEVEL_0
    sides = zip(own, working, size, strict=True)
    fits = all(one == up or (one == up - 1 and up != full) for one, up, full in sides)
    return WORKING if fits else None
