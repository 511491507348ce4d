"""Command lines of small programs."""

import sys


def program(text):
    return [sys.executable, "-c", text]
