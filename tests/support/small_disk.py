"""Run verbs on disks that are too small or read-only, in a mount namespace of its own.

A script: unshare -m python tests/support/small_disk.py FOLDER LEVELS GROUP prints, as JSON, one
outcome for each verb of a group and level. FOLDER holds the inputs, outside the disk. Outputs and
the log are on it.
"""

import contextlib
import hashlib
import io
import json
import subprocess
import sys
from pathlib import Path

import cohort_verbs
import infer_verb
import numpy as np
from encoded_picture import tokenizer
from labelled_slide import LabelledSlide

from holohisto import cli
from holohisto.config.models import ColourThresholdModel
from holohisto.pyramid.write import write_slide_pyramid
from holohisto.runtime.results import Results
from holohisto.runtime.tensor_file import read_metadata
from holohisto.segmenter.card import ModelCard
from holohisto.segmenter.file import build_segmenter, save_segmenter
from holohisto.tokenizer.file import save_tokenizer

CLASSES = json.dumps({"a": {}})
TRAINING_TABLES = ("m.tsv", "t.tsv")
"""Tables that grow by epochs and hold times."""
KEPT_FOR_THE_NEXT_RUN = {".log", ".journal", ".checkpoint", ".work"}
"""Endings of files and folders from which a next run resumes, and of logs."""
SMALL = 4096
"""Bytes; a disk of one page takes folders, but no file."""


def verbs(folder: Path, disk: Path) -> dict[str, list[str]]:
    """Command lines that read from `folder` and write to `disk`."""
    slide = LabelledSlide(folder, (1300, 900), 1, 0.5)
    y, x = np.mgrid[:900, :1300]
    tissue = (y - 450) ** 2 + (x - 650) ** 2 < 380**2
    rgb = np.where(tissue[..., None], np.uint8((214, 150, 190)), np.uint8(244))
    rgb = rgb - np.random.default_rng(0).integers(0, 12, rgb.shape).astype(np.uint8)
    write_slide_pyramid(slide.image, rgb, 0.5)
    check = [str(slide.image), "--slide", "s1", "--output"]
    assert cli.main(["check", *check, str(slide.check)]) == 0
    labels = np.random.default_rng(1).integers(0, 2, (90, 130)).repeat(10, 0).repeat(10, 1)
    slide.write_labels(labels.astype(np.uint8), ["a"])
    slide.write_foreground(np.ones((57, 82), bool))
    slide.write_annotation(labels.astype(np.uint8) * 255)
    record = ["--record", str(slide.check)]
    own = [*record, "--probability", str(slide.probability), "--classes", CLASSES]
    given = [*record, "--model", "m", "--classes", CLASSES]
    picture = ["--picture", f"{disk}/f.jpg"]
    annotation = ["--annotation", str(slide.annotation), "--foreground", str(slide.foreground)]
    annotation += ["--mask-options", "{}"]
    outlines = ["--geojson", f"{disk}/m.geojson", "--overlay", f"{disk}/m.jpg"]
    made = ["--labels", f"{disk}/l.tif", "--probability", f"{disk}/p.tif"]
    image = ["--image", str(slide.image), "--masks", f"{disk}/m_{{class}}.tif"]
    return {
        "check": ["check", *check, f"{disk}/c.json"],
        "foreground": [
            *("foreground", str(slide.image), *record, "--foreground", f"{disk}/f.tif", *picture)
        ],
        "mask": ["mask", str(slide.labels), *own, *image, *outlines, "--facts", f"{disk}/m.json"],
        "adopt": ["adopt", str(slide.annotation), *given, *made],
        "metrics": ["metrics", str(slide.labels), *own, *annotation, "--output", f"{disk}/s.json"],
        **of_networks(folder / "networks", disk),
        "segment": segment(folder / "colour", disk, slide.image),
        **of_cohort(folder / "cohort", disk, own, annotation, slide),
    }


def segment(folder: Path, disk: Path, image: Path) -> list[str]:
    """The verb that runs all steps on one image, with a threshold on a colour."""
    folder.mkdir()
    state = build_segmenter(ColourThresholdModel(), None, 1, 1).state_dict()
    facts = ("m", ColourThresholdModel(), ("a",), 0.5, (256, 192), None, 1, "frozen", None, {})
    save_segmenter(state, ModelCard(*facts), folder / "m.safetensors")
    return ["segment", str(image), "--model", f"{folder}/m.safetensors", "--output", f"{disk}/out"]


def of_networks(folder: Path, disk: Path) -> dict[str, list[str]]:
    """The verbs that keep a journal, from which a next run resumes."""
    folder.mkdir()
    infer_verb.prepared(folder)
    model = tokenizer(codebook=64, dimension=3, levels=(4, 4, 4))
    save_tokenizer(model, folder / "t.safetensors", {})
    read = ["--record", f"{folder}/check.json", "--foreground", f"{folder}/foreground.tif"]
    options = {"orientations": 1, "appearances": 0, "block": 256, "calibration_tiles": 2}
    more = ["--tokenizer", f"{folder}/t.safetensors", "--options", json.dumps(options)]
    made = ["--tokens", f"{disk}/t.safetensors", "--quality", f"{disk}/t.json"]
    image = f"{folder}/slide.tif"
    return {
        "tokens": ["tokens", image, *read, *more, *made, "--picture", f"{disk}/t.jpg"],
        "infer": infer_verb.command(folder, disk),
    }


def of_cohort(
    folder: Path, disk: Path, own: list[str], annotation: list[str], slide: LabelledSlide
) -> dict[str, list[str]]:
    """The verbs of a cohort: of this slide alone, its labels those of the model m1."""
    results = Results(folder)
    metrics = ["metrics", str(slide.labels), *own, *annotation]
    masks = ["--image", str(slide.image), "--masks", str(results.mask("m1", "s1", "{class}"))]
    masks += ["--geojson", f"{folder}/o.geojson", "--overlay", f"{folder}/o.jpg"]
    assert cli.main([*metrics, "--output", str(results.metrics("m1", "s1"))]) == 0
    assert cli.main(["mask", str(slide.labels), *own, *masks]) == 0
    results.record("s1").parent.mkdir(parents=True)
    results.record("s1").write_bytes(slide.check.read_bytes())
    cells = ["s1", str(slide.image), str(slide.annotation), "g", "test"]
    header = "slide\timage\tannotation\tgroup\tsplit\n"
    (folder / "s.tsv").write_text(header + "\t".join(cells) + "\n")
    sheet = ["--sheet", f"{folder}/s.tsv", "--classes", CLASSES, "--results", str(folder)]
    sheet += ["--models", "m1"]
    assert cli.main(["cohort", *sheet, "--output", str(results.scores.parent)]) == 0
    return {
        "cohort": ["cohort", *sheet, "--output", f"{disk}/cohort"],
        "gallery": ["gallery", *sheet, "--output", f"{disk}/gallery"],
    }


def mounted(disk: Path, size: int, read_only: bool) -> None:
    subprocess.run(["umount", str(disk)], check=False, stderr=subprocess.DEVNULL)
    options = f"size={size},mode=0777" + (",ro" if read_only else "")
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(disk)], check=True)


def outcome(words: list[str], disk: Path) -> dict:
    """Exit code, what stderr holds, and the files on the disk afterwards, as digests."""
    text = io.StringIO()
    with contextlib.redirect_stderr(text), contextlib.redirect_stdout(io.StringIO()):
        code = cli.main(["--log", str(disk / "a.log"), *words])
    files = contents(disk)
    lines = text.getvalue().splitlines()
    errors = [line for line in lines if " ERROR " in line]
    clean = not any("Traceback" in line or "Logging error" in line for line in lines)
    longest = max(map(len, errors), default=0)
    return {"code": code, "errors": len(errors), "longest": longest, "clean": clean, "files": files}


def contents(folder: Path) -> dict[str, str]:
    """Digests of the files below a folder, without logs and files for a next run."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {
        str(path.relative_to(folder)): digest(path)
        for path in files
        if not {own.suffix for own in (path, path.parent)} & KEPT_FOR_THE_NEXT_RUN
    }


def digest(path: Path) -> str:
    """Digest of a file.

    Of safetensors, whose header has no order and may hold times, that of the content; of a training
    table and of times, whether they are whole.
    """
    if path.name.endswith("_inference.json"):
        return "whole" if isinstance(json.loads(path.read_text()), dict) else "half"
    if path.suffix == ".safetensors" and not path.name.startswith("."):
        header = read_metadata(path, "file")
        return header.get("digest") or header["seal"]
    if path.name in TRAINING_TABLES:
        text = path.read_text()
        widths = {line.count("\t") for line in text.splitlines()}
        return "whole" if text.endswith("\n") and len(widths) == 1 else "half"
    return hashlib.sha256(path.read_bytes()).hexdigest()


GROUPS = {"slide": verbs, "cohort": cohort_verbs.verbs}
"""Functions that write inputs and return the command lines."""


def main(folder: Path, levels: int, group: str) -> None:
    disk = folder / "disk"
    disk.mkdir()
    found = []
    mounted(disk, 2**27, False)
    for verb, words in GROUPS[group](folder, disk).items():
        mounted(disk, 2**27, False)
        whole = outcome(words, disk)
        assert whole["code"] == 0, (verb, whole)
        used = int(subprocess.check_output(["du", "-s", "--block-size=4096", disk]).split()[0])
        for level in range(levels):
            pages = max(1, round(used * (level + 0.5) / levels))
            mounted(disk, pages * SMALL, False)
            found.append({"verb": verb, "whole": whole["files"], **outcome(words, disk)})
        mounted(disk, 2**20, True)
        found.append({"verb": verb, "whole": whole["files"], **outcome(words, disk)})
    print(json.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3])
