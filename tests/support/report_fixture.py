"""Fabricate a `results/` and `logs/` tree as the workflow leaves it, failures included.

Also a script, for looking: python tests/support/report_fixture.py FOLDER
"""

import json
import sys
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter
from safetensors.numpy import save_file

from holohisto import cli
from holohisto.report.results import Run
from holohisto.sheet.cells import Row

GROUPS = ("56Nx", "DN", "NEP25", "normal")
MODELS = {
    "holohisto": {"kind": "holohisto", "size": "S", "decoder": "rgb", "weights": None},
    "floor": {"kind": "colour_threshold", "weights": None},
}
COMPARED = {
    "holohisto": MODELS["holohisto"],
    "unet": {"kind": "unet", "weights": None},
    "segformer": {"kind": "segformer", "weights": None},
    "softmax": {**MODELS["holohisto"], "attention": "softmax"},
    "grid-half": {**MODELS["holohisto"], "sampler": "grid", "tile": [2048, 1080]},
    "floor": MODELS["floor"],
}
"""Rivals and variants beside those two."""
LEVELS = {"holohisto": 0.94, "softmax": 0.925, "grid-half": 0.93, "segformer": 0.93, "unet": 0.88}
"""About the Dice that a model reaches; of others 0.62."""
INITS = {"holohisto": "scratch", "floor": "pretrained: <mit>.pth"}
CLASSES = {"glomerulus": {"values": None, "colour": "#00c853"}}
OUT_OF_MEMORY = "CUDA out of memory in a tile of 3840 x 2160; lower infer.tile"
SCRIPT = "<script>alert('x')</script>"
MPP = 0.25
OFF_STAIN, FEW_CODES = "NEP25_02", "DN_09"
"""Slides whose tokens fall out of the cohort."""
READ_SLOWLY = "56Nx_08"
"""Slide that waited for its pixels, and whose tiles can be seen."""


def build(
    folder: Path, slides: int = 16, side: int = 1200, seed: int = 3, models: dict = MODELS
) -> Path:
    """A cohort of `slides` slides in four groups, of which some failed; returns `folder`.

    The first test slide fails in `infer` of holohisto, the second in `check`; the last slide is
    excluded. All others are whole.
    """
    random = np.random.default_rng(seed)
    rows = [_row(i, slides) for i in range(slides)]
    header = "slide\timage\tannotation\tgroup\tsubject\tsplit\texclude\tnote"
    folder.mkdir(parents=True, exist_ok=True)
    lines = [header, *("\t".join(row.values()) for row in rows)]
    (folder / "slides.tsv").write_text("\n".join(lines) + "\n")
    failing = [row["slide"] for row in rows if row["split"] == "test"][:2]
    for row in rows:
        if not row["exclude"]:
            _slide(folder, row, failing, side, random, models)
    _tokenizer(folder, random)
    for model in models:
        _model(folder, model, random)
    _examples(folder, [row for row in rows if row["split"] == "test"], failing, models, random)
    return folder


def arguments(folder: Path, models: dict = MODELS) -> dict[str, list[str]]:
    """Command lines of `cohort` and `report` over the fabricated tree."""
    sheet = ["--sheet", str(folder / "slides.tsv"), "--classes", json.dumps(CLASSES)]
    parameters = {
        "infer": {"tile": [3840, 2160], "overlap": 0.25},
        "seed": 0,
        "cohort": {"alpha": 0.05},
    }
    return {
        "cohort": [
            "cohort",
            *sheet,
            "--results",
            str(folder / "results"),
            "--models",
            ",".join(models),
            "--reference",
            "holohisto",
            "--splits",
            "test",
            "--options",
            '{"alpha": 0.05}',
            "--output",
            str(folder / "results/cohort"),
        ],
        "report": [
            "report",
            *sheet,
            "--results",
            str(folder / "results"),
            "--logs",
            str(folder / "logs"),
            "--models",
            json.dumps(models),
            "--options",
            "{}",
            "--parameters",
            json.dumps(parameters),
            "--tables",
            str(folder / "results/tables"),
            "--output",
            str(folder / "report.html"),
        ],
    }


def _row(i: int, slides: int) -> dict[str, str]:
    split = "train" if i % 16 < 5 else "val" if i % 16 == 5 else "test"
    return {
        "slide": f"{GROUPS[i % 4]}_{i:02d}",
        "image": f"slides/{i:02d}.tiff",
        "annotation": f"slides/{i:02d}_mask.tiff",
        "group": GROUPS[i % 4],
        "subject": f"{split}{i // 2}",
        "split": split,
        "exclude": "yes" if i == slides - 1 else "",
        "note": SCRIPT if i == slides - 1 else "",
    }


def _slide(
    folder: Path, row: dict[str, str], failing: list[str], side: int, random, models: dict
) -> None:
    slide, results = row["slide"], folder / "results"
    if slide in failing[1:]:
        return _log(folder, f"check/{slide}", f"slides/{slide}.tiff: no resolution in the header")
    check = {
        "size": [44896, 46410],
        "working_size": [22448, 23205],
        "mpp": MPP,
        "warnings": [],
    }
    _write(results / f"check/{slide}.json", json.dumps(check))
    _write(results / f"foreground/{slide}.tif", "")
    _write(results / f"tokens/{slide}.safetensors", "")
    tissue, picture = pictures(side, random)
    _save(tissue, results / f"foreground/{slide}.jpg")
    _write(results / f"tokens/{slide}.json", json.dumps(_token_quality(row)))
    _save(_rebuilt(tissue, 9 if slide == OFF_STAIN else 4), results / f"tokens/{slide}.jpg")
    for stage, seconds in (("check", 2), ("foreground", 9), ("tokens", 240)):
        _benchmark(folder, f"{stage}/{slide}", seconds * random.uniform(0.7, 1.4), 900)
        _log(folder, f"{stage}/{slide}")
    if row["split"] == "train":
        return None
    for model in models:
        if slide == failing[0] and model == "holohisto":
            _log(folder, f"infer/{model}/{slide}", OUT_OF_MEMORY)
            continue
        own = results / "models" / model
        for name in (
            f"labels/{slide}.tif",
            f"masks/{slide}_glomerulus.tif",
            f"geojson/{slide}.geojson",
        ):
            _write(own / name, "")
        _save(picture, own / f"overlays/{slide}.jpg")
        _write(own / f"labels/{slide}.json", json.dumps(_inference(slide, model)))
        objects = {"glomerulus": {"objects": 40, "at_borders": 10}}
        _write(own / f"masks/{slide}.json", json.dumps(objects))
        _write(own / f"metrics/{slide}.json", json.dumps(_metrics(slide, model, random)))
        for stage, seconds in (("infer", 95), ("mask", 60), ("metrics", 14)):
            factor = random.uniform(0.6, 1.6) * (0.2 if model == "floor" else 1)
            _benchmark(folder, f"{stage}/{model}/{slide}", seconds * factor, 3400)
            _log(folder, f"{stage}/{model}/{slide}")
    return None


def _token_quality(row: dict[str, str]) -> dict:
    slide, number = row["slide"], int(row["slide"][-2:])
    variants = 8 if row["split"] == "train" else 1
    told = {
        "slide": slide,
        "mode": "frozen",
        "precision": "bf16",
        "variants": variants,
        "tokens": 900_000 + 20_000 * number,
        "size_tokens": [1403, 1451],
        "codebook": 1024,
        "codes_used": 900 + number,
        "perplexity": 410.0 + number,
        "psnr": 26.0 + 0.1 * number,
        "ssim": 0.71,
        "native_agreement": 0.62,
        "precision_agreement": 0.971,
        "seconds": 30.0 * variants,
        "reading_seconds": 12.5,
        "bytes": 2 * variants * 1403 * 1451,
    }
    if slide == OFF_STAIN:
        told |= {"psnr": 21.4, "ssim": 0.44, "native_agreement": 0.12}
    if slide == FEW_CODES:
        told |= {"codes_used": 300, "perplexity": 55.4}
    return told


def _inference(slide: str, model: str) -> dict:
    stages = {"read": 210.0, "tokenise": 0.0, "model": 90.0, "stitch": 4.0, "write": 31.0}
    if slide == READ_SLOWLY:
        stages |= {"read": 900.0}
    return {
        "slide": slide,
        "model": model,
        "device": "x86_64 CPU",
        "tiles": 40,
        "all_tiles": 90,
        "bands": 9,
        "taken_up": 3 if slide == READ_SLOWLY else 0,
        "seconds": 98.0,
        "stages": stages,
        "readers": 4,
        "busy": 0.9,
        "bottleneck": "read" if slide == READ_SLOWLY else "model",
        "seam": {
            "glomerulus": {
                "differing": 90 if slide == READ_SLOWLY else 12,
                "either": 1000,
                "disagreement": 0.012,
            }
        },
    }


def _rebuilt(tissue: Image.Image, blur: float) -> Image.Image:
    """Four squares of tissue in a row, under them the same squares, blurred."""
    row = tissue.crop((150, 120, 550, 220)).resize((1536, 384))
    both = Image.new("RGB", (1536, 768))
    both.paste(row, (0, 0))
    both.paste(row.filter(ImageFilter.GaussianBlur(blur)), (0, 384))
    return both


def _metrics(slide: str, model: str, random) -> dict:
    base = LEVELS.get(model, 0.62)
    dice = float(np.clip(base + random.normal(0, 0.02 if base > 0.8 else 0.07), 0, 1))
    tiles = [
        {"xy": [3840 * i, 0], "tp": 10, "fp": 1, "fn": 1, "dice": min(1.0, dice + 0.01)}
        for i in range(random.integers(3, 9))
    ]
    objects = [
        {
            "area_um2": float(random.lognormal(9.1, 0.35)),
            "x": float(x),
            "y": float(x / 2),
            "probability": 0.9,
            "matched": bool(x % 7),
            "iou": 0.8 if x % 7 else 0.2,
        }
        for x in range(random.integers(6, 40))
    ]
    tp = sum(item["matched"] for item in objects)
    counts = {"tp": 9000, "fp": 800, "fn": 700, "dice": dice}
    scores = {
        "annotated": True,
        "foreground": counts,
        "everywhere": {**counts, "dice": dice - 0.001},
        "tiles": tiles,
        "tile_dice": float(np.mean([tile["dice"] for tile in tiles])),
        "tiles_empty": 1,
        "outside_foreground": 400 if slide.endswith("7") else 0,
        "objects": {
            "tp": tp,
            "fp": len(objects) - tp,
            "fn": 1,
            "precision": tp / len(objects),
            "recall": tp / (tp + 1),
            "f1": 2 * tp / (len(objects) + tp + 1),
        },
        "object_table": objects,
        "missed": [],
        "objects_annotated": tp + 1,
        "boundary": {"f1": dice - 0.03},
    }
    return {
        "slide": slide,
        "model": model,
        "pretrained": INITS.get(model, "scratch"),
        "mpp": MPP,
        "classes": {"glomerulus": scores},
    }


def _tokenizer(folder: Path, random) -> None:
    results = folder / "results/tokenizer"
    _write(results / "tokenizer.safetensors", "")
    lines = ["step\tloss\treconstruction\tperplexity\tcodes_used\tpsnr\tseconds"]
    for step in range(0, 20_001, 50):
        loss = 0.3 * np.exp(-step / 4000) + 0.06 + random.normal(0, 0.004)
        codes, psnr = 1000 * (1 - np.exp(-step / 2500)), 31 - 13 * np.exp(-step / 5000)
        lines.append(f"{step}\t{loss:.4f}\t{loss:.4f}\t{codes / 2:.1f}\t{codes:.0f}\t{psnr:.2f}\t1")
    _write(results / "training.tsv", "\n".join(lines))
    _save(pictures(900, random)[0].resize((1200, 400)), results / "reconstruction.jpg")
    _benchmark(folder, "tokenizer/tokenizer", 5400, 5200)


def _model(folder: Path, model: str, random) -> None:
    own = folder / "results/models" / model
    summary = {"pretrained": INITS.get(model, "scratch"), "parameters": 4_998_000}
    if model != "floor":
        summary |= {
            "steps": 12_000,
            "tile": [3840, 2160],
            "tiles": 96_000,
            "pixels": 96_000 * 3840 * 2160,
            "seconds": 33_000.0,
        }
    own.mkdir(parents=True, exist_ok=True)
    save_file({}, own / "segmenter.safetensors", {"summary": json.dumps(summary)})
    _benchmark(folder, f"train/{model}", 30_000 if model == "holohisto" else 40, 21_000)
    if model != "holohisto":
        return
    header = "epoch\tstep\tloss\tlearning_rate\tval_dice\tread_seconds\tstep_seconds\tmemory_mb"
    lines = [header]
    for epoch in range(1, 201):
        loss = 0.9 * np.exp(-epoch / 40) + 0.08 + random.normal(0, 0.01)
        dice = f"{0.94 - 0.6 * np.exp(-epoch / 25):.4f}" if epoch % 2 else ""
        lines.append(f"{epoch}\t{epoch * 60}\t{loss:.4f}\t1e-4\t{dice}\t1\t3\t17000")
    _write(own / "training.tsv", "\n".join(lines))


def pictures(side: int, random) -> tuple[Image.Image, Image.Image]:
    """Blobs of pink, grainy tissue, and the same with green outlines; (side, 0.7 side)."""
    size = (side, round(side * 0.7))
    tissue = Image.new("RGB", size, "#f4f2f3")
    draw = ImageDraw.Draw(tissue)
    w, h = size
    draw.ellipse((w * 0.08, h * 0.12, w * 0.92, h * 0.9), fill="#d9a3c0")
    circles = []
    for _ in range(25):
        x, y = random.uniform(0.22, 0.75) * w, random.uniform(0.25, 0.72) * h
        circles.append((x, y, x + w * 0.03, y + w * 0.03))
        draw.ellipse(circles[-1], fill="#a3558a")
    grain = random.normal(0, 22, (h // 3 + 1, w // 3 + 1, 1)).repeat(3, 2)
    grain = grain.repeat(3, 0).repeat(3, 1)[:h, :w]
    pixels = np.clip(np.asarray(tissue) + grain * (np.asarray(tissue)[..., 1:2] < 200), 0, 255)
    tissue = Image.fromarray(pixels.astype(np.uint8)).filter(ImageFilter.GaussianBlur(1))
    outlined = tissue.copy()
    for circle in circles:
        ImageDraw.Draw(outlined).ellipse(circle, outline="#00c853", width=max(1, side // 300))
    return tissue, outlined


def _examples(folder: Path, rows: list, failing: list[str], models: dict, random) -> None:
    """Typical fields of every group and errors of three slides, as `examples` leaves them."""
    own = folder / "results/gallery"
    whole = [row for row in rows if row["slide"] not in failing and not row["exclude"]]
    index: dict[str, list] = {"fields": [], "failures": []}
    for row in {row["group"]: row for row in whole}.values():
        kinds = [("input", ""), ("annotation", ""), *(("model", m) for m in models)]
        entries = []
        for i, (what, model) in enumerate([*kinds, ("whole slide", "holohisto")]):
            _save(
                pictures(230, random)[i > 0].crop((0, 0, 160, 160)), own / f"{row['slide']}.{i}.jpg"
            )
            entries.append({"what": what, "model": model, "file": f"{row['slide']}.{i}.jpg"})
        index["fields"].append(
            {key: row[key] for key in ("slide", "group")} | {"pictures": entries}
        )
    for row in whole[:3]:
        told = {key: row[key] for key in ("slide", "group")}
        for kind in ("extra", "missed"):
            told[kind] = []
            for i in range(3 if kind == "extra" else row is whole[0]):
                file = f"{row['slide']}.{kind}-{i}.jpg"
                _save(pictures(230, random)[1].crop((0, 0, 160, 160)), own / file)
                told[kind].append(
                    {
                        "file": file,
                        "class": "glomerulus",
                        "area_um2": 17_000 / (i + 1),
                        "iou": 0.31 * i,
                        "reduced": 1.0 + 1.3 * (i == 2),
                        "x": 1.0,
                        "y": 2.0,
                    }
                )
        index["failures"].append(told)
    _write(own / "gallery.json", json.dumps(index))


def _benchmark(folder: Path, name: str, seconds: float, megabytes: float) -> None:
    header = "s\th:m:s\tmax_rss\tmax_vms\tmax_uss\tmax_pss\tio_in\tio_out\tmean_load\tcpu_time"
    line = f"{seconds:.4f}\t0:00:01\t{megabytes:.2f}\t1\t1\t1\tNA\t-\t90\t1"
    _write(folder / f"results/benchmarks/{name}.tsv", f"{header}\n{line}\n")


def _log(folder: Path, name: str, error: str | None = None) -> None:
    lines = ["14:02:09 INFO started"]
    if error:
        lines += ["14:02:10 ERROR an earlier line", f"14:02:11 ERROR {error}"]
    else:
        lines.append(f"14:02:11 INFO {name.split('/')[0]}: done in 0.4 s, 113 MB")
    _write(folder / f"logs/{name}.log", "\n".join(lines) + "\n")


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def _save(image: Image.Image, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, quality=90)


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
        "results": tmp_path / "results",
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


if __name__ == "__main__":
    number = int(sys.argv[2]) if len(sys.argv) > 2 else 16
    target = build(Path(sys.argv[1]), slides=number, models=COMPARED)
    for line in arguments(target, COMPARED).values():
        assert cli.main(line) == 0
