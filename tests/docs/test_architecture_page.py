"""docs/architecture.md names the layers and folders that there are."""

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "architecture.md").read_text()


def layers_of_the_page() -> list[list[str]]:
    table = PAGE.split("<!-- layers, as in pyproject.toml -->")[1].split("<!-- end of layers -->")[
        0
    ]
    cells = re.findall(r"^\| (`.*?) \|", table, flags=re.M)
    return [re.findall(r"`(\w+)`", cell) for cell in cells]


def test_the_layers_are_those_that_import_linter_checks():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    contracts = project["tool"]["importlinter"]["contracts"]
    checked = next(contract["layers"] for contract in contracts if contract["type"] == "layers")
    assert layers_of_the_page() == [layer.split(" | ") for layer in checked]


def test_every_folder_and_module_of_the_package_is_named():
    package = ROOT / "holohisto"
    folders = {path.parent.name for path in package.glob("*/__init__.py")}
    modules = {path.stem for path in package.glob("*.py")} - {"__init__"}
    assert {name for layer in layers_of_the_page() for name in layer} == folders | modules


def test_every_rule_has_a_row():
    rules = {path.stem for path in (ROOT / "workflow" / "rules").glob("*.smk")}
    steps = PAGE.split("\n## Steps\n")[1].split("\n## ")[0]
    others = {"common", "onerror", "onstart"}
    assert set(re.findall(r"^\| `(\w+)` \|", steps, flags=re.M)) == rules - others
