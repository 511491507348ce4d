"""Provenance of the results: software, configuration, data, weights, and why each job ran."""

import contextlib
import hashlib
import platform
import re
import subprocess
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

from holohisto import __version__
from holohisto.config.starter import located
from holohisto.errors import HolohistoError
from holohisto.report.results import Run, record
from holohisto.runtime.tensor_file import read_metadata

PACKAGES = (
    "torch",
    "openvino",
    "numpy",
    "scipy",
    "tifffile",
    "cucim-cu12",
    "openslide-bin",
    "snakemake",
)
RULE = re.compile(r"^(?P<indent> *)(?:local)?(?:rule|checkpoint) (?P<rule>\w+):$")
DETAIL = re.compile(r"^ +(?P<key>reason|wildcards): (?P<value>.*)$")


@dataclass(frozen=True)
class Reason:
    """Why Snakemake ran a job."""

    rule: str
    wildcards: str
    """As `slide=a, model=b`; empty for jobs of the cohort."""
    reason: str


def provenance(run: Run, sheet: Path, workflow_logs: Path) -> dict[str, Any]:
    """Gather everything that the results depend on, ready for JSON.

    Args:
        run: The run; missing files are left out.
        sheet: The sample sheet.
        workflow_logs: Folder of Snakemake's own logs; the latest one is read.
    """
    return {
        "holohisto": __version__,
        "revision": revision(),
        "versions": versions(),
        "configuration": run.parameters,
        "sheet": {"path": str(sheet), "sha256": hashlib.sha256(sheet.read_bytes()).hexdigest()},
        "slides": dict(_slides(run)),
        "tokenizer": _header(run.results.tokenizer).get("digest"),
        "segmenters": dict(_segmenters(run)),
        "devices": _devices(run),
        "jobs": [vars(reason) for reason in reasons(workflow_logs)],
    }


def counted(jobs: list[dict[str, str]]) -> list[tuple[str, str, int]]:
    """Rule, reason without file names, and number of jobs, the most frequent first."""
    kinds = Counter((job["rule"], job["reason"].partition(":")[0]) for job in jobs)
    return [(rule, kind, number) for (rule, kind), number in kinds.most_common()]


@cache
def versions() -> dict[str, str]:
    """Versions of Python and of the packages that affect results."""
    numbers = {"Python": platform.python_version()}
    for package in PACKAGES:
        try:
            numbers[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return numbers


@cache
def revision() -> str | None:
    """Git revision of this package, `+` appended if files are modified; None outside a checkout."""
    root = Path(__file__).resolve().parents[2]
    if not (root / ".git").exists():
        return None
    try:
        head = _git(root, "rev-parse", "HEAD")
        changed = _git(root, "status", "--porcelain", "--untracked-files=no")
    except (OSError, subprocess.SubprocessError):
        return None
    return head + ("+" if changed else "")


def reasons(folder: Path) -> list[Reason]:
    """Return the jobs of the latest of Snakemake's logs in a folder, in the order they began."""
    logs = sorted(folder.glob("*.snakemake.log"))
    return list(_jobs(logs[-1].read_text(errors="replace"))) if logs else []


def _jobs(text: str) -> Iterator[Reason]:
    """Read the block of details below each rule's name; jobs of a group are indented."""
    rule, indent, details = "", "", {}
    for line in [*text.splitlines(), ""]:
        if rule and not line.startswith(indent + " "):
            if "reason" in details:
                yield Reason(rule, details.get("wildcards", ""), details["reason"])
            rule = ""
        if match := RULE.match(line):
            rule, indent, details = match["rule"], match["indent"], {}
        elif rule and (match := DETAIL.match(line)):
            details[match["key"]] = match["value"]


def _slides(run: Run) -> Iterator[tuple[str, dict[str, Any]]]:
    """Fingerprint and reader of every slide that was checked."""
    for row in run.kept:
        checked = record(run.results.record(row.slide))
        if checked:
            keys = ("image", "fingerprint", "reader", "mpp", "mpp_y", "mpp_source")
            yield row.slide, {key: checked.get(key) for key in keys}


def _segmenters(run: Run) -> Iterator[tuple[str, dict[str, Any]]]:
    """Digests of every model's weights and of the tokenizer it was trained with."""
    for model, options in run.models.items():
        path = Path(options.get("weights") or run.results.segmenter(model))
        with contextlib.suppress(HolohistoError):
            path = located(path, "segmenter")
        header = _header(path)
        if "digest" in header:
            yield (
                model,
                {
                    "file": str(path),
                    "digest": header["digest"],
                    "tokenizer": header.get("tokenizer") or None,
                },
            )


def _devices(run: Run) -> list[str]:
    """Devices that inference ran on."""
    devices = {
        str(facts["device"])
        for model in run.models
        for path in sorted(run.results.inference(model, "*").parent.glob("*.json"))
        if (facts := record(path)) and facts.get("device")
    }
    return sorted(devices)


def _header(path: Path) -> dict[str, str]:
    """Header of a safetensors file; empty if absent or broken."""
    try:
        return read_metadata(path, "file")
    except HolohistoError:
        return {}


def _git(root: Path, *arguments: str) -> str:
    command = ["git", "-C", str(root), *arguments]
    return subprocess.run(
        command, capture_output=True, text=True, check=True, timeout=20
    ).stdout.strip()
