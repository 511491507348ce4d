"""Command lines of the verbs."""


def command(verb: str, file: object, **options: object) -> list[str]:
    """The words of a verb on a file, without the program; an option's name has _ for -."""
    words = [verb, str(file)]
    for name, value in options.items():
        words += [f"--{name.replace('_', '-')}", str(value)]
    return words
