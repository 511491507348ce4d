"""Rendering, parsing and running the report in tests."""

from html.parser import HTMLParser
from pathlib import Path

from report_fixture import arguments

from holohisto import cli
from holohisto.report.results import Run
from holohisto.runtime.results import Results
from holohisto.sheet.cells import Row


def render(folder: Path, **changes: str) -> str:
    """Write the report over a tree of `build` and return its text."""
    words = arguments(folder)["report"]
    for name, value in changes.items():
        words[words.index(f"--{name}") + 1] = value
    assert cli.main(words) == 0
    return (folder / "report.html").read_text()


VOID = {"meta", "link", "img", "br", "input", "hr"}


class Page(HTMLParser):
    """Checks nesting; collects text and addresses."""

    def __init__(self, text: str):
        super().__init__()
        self.open, self.addresses, self.words, self.ids = [], [], [], set()
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        for name, value in attrs:
            if name in ("src", "href", "srcset", "data", "action"):
                self.addresses.append(value)
            if name == "id":
                assert value not in self.ids
                self.ids.add(value)
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] != "style":
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


def run_of(tmp_path, **changes) -> Run:
    rows = {
        "a": Row("a", tmp_path / "a.tiff", "train", annotation=tmp_path / "a.png"),
        "b": Row("b", tmp_path / "b.tiff", "test", annotation=tmp_path / "b.png"),
        "c": Row("c", tmp_path / "c.tiff", "predict"),
        "d": Row("d", tmp_path / "d.tiff", "test", exclude=True),
    }
    defaults = {
        "rows": rows,
        "results": Results(tmp_path / "results"),
        "logs": tmp_path / "logs",
        "models": {"m": {"weights": None}},
        "classes": ("x", "y"),
        "reference": "m",
        "splits": ("val", "test", "predict"),
    }
    return Run(**(defaults | changes))


def make(tmp_path, *names):
    for name in names:
        path = tmp_path / "results" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("")


def shared(slide):
    return f"check/{slide}.json", f"foreground/{slide}.tif", f"tokens/{slide}.safetensors"
