"""Integer division that rounds up, of which every grid of tiles, cells and tokens is made."""


def ceil_div(length: int, step: int) -> int:
    """Steps that cover a length: the quotient rounded up, exact for integers of any size.

    Raises:
        ZeroDivisionError: the step is 0.
    """
    return -(-length // step)


def round_up(length: int, step: int) -> int:
    """The smallest multiple of `step` that is not below `length`.

    Raises:
        ZeroDivisionError: the step is 0.
    """
    return ceil_div(length, step) * step
