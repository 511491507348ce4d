"""A run whose slides have fabricated token quality."""

import json
from pathlib import Path

from report_page import run_of

from holohisto.report.results import Run
from holohisto.sheet.cells import Row

USUAL = {
    "mode": "frozen",
    "precision": "fp32",
    "variants": 1,
    "tokens": 10_000,
    "size_tokens": [45, 31],
    "codebook": 1024,
    "codes_used": 600,
    "perplexity": 300.4,
    "psnr": 25.04,
    "ssim": 0.706,
    "native_agreement": 0.6,
    "dimension": 5,
    "effective_rank": 4.31,
    "kept": 0.745,
    "precision_agreement": None,
    "seconds": 61.0,
    "reading_seconds": 4.25,
    "bytes": 40_000,
}


def run_with(tmp_path: Path, *slides: dict) -> Run:
    """A run over slides s0, s1 ..., with what differs from the usual."""
    rows = {f"s{n}": Row(f"s{n}", tmp_path / f"s{n}.tiff", "test") for n in range(len(slides))}
    tokens = tmp_path / "results/tokens"
    tokens.mkdir(parents=True, exist_ok=True)
    for slide, changes in zip(rows, slides, strict=True):
        (tokens / f"{slide}.json").write_text(json.dumps(USUAL | changes))
    return run_of(tmp_path, rows=rows)
