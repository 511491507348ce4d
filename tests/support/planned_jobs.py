"""The jobs of a dry run of the workflow, and those that are expected."""

import re
from pathlib import Path

from tiny_cohort import MODELS, row, snakemake, write_sheet

COHORT_STEPS = {"cohort", "gallery", "report"}
TOKEN_VALUE = "token_value holohisto"


def planned(folder: Path, *arguments: str) -> set[str]:
    """The jobs of a dry run, each as `rule model slide`."""
    text = snakemake(folder, "-n", *arguments).stdout
    if "Nothing to be done" in text:
        return set()
    jobs = set()
    for rule, block in re.findall(r"^rule (\w+):\n((?:    .*\n)+)", text, flags=re.M):
        words = re.findall(r"(?:model|slide)=([^,\s]+)", re.search("wildcards: .*|$", block)[0])
        jobs.add(" ".join([rule, *words]))
    return jobs - {"all"}


def per_model(rule: str, *slides: str) -> set[str]:
    return {f"{rule} {model} {slide}" for model in MODELS for slide in slides}


def jobs_of_slide(slide: str, scored: bool = True) -> set[str]:
    jobs = {f"{rule} {slide}" for rule in ("check", "foreground", "tokens")}
    jobs |= per_model("infer", slide) | per_model("mask", slide) | {"gallery", "report"}
    scores = per_model("metrics", slide) | {"cohort", TOKEN_VALUE}
    return jobs | scores if scored else jobs


def empty_slides(folder: Path, slides: dict[str, str]) -> None:
    """A sheet and files enough for planning."""
    (folder / "slides").mkdir()
    for slide in slides:
        for suffix in ("tif", "png"):
            (folder / "slides" / f"{slide}.{suffix}").touch()
    write_sheet(folder, [row(slide, split) for slide, split in slides.items()])


def edit(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"more")
