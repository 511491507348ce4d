"""Quality of each slide's tokens: reconstruction, use of the codebook, cost."""

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from holohisto.report.results import Run, column, record
from holohisto.report.tables.printed import Cell
from holohisto.report.words import ABSENT, count, duration, memory
from holohisto.statistics.files import read_table

PSNR_GAP = 3.0
"""dB below the cohort's median from which a slide is flagged: twice the squared error."""
SHARE = 0.5
"""Share of the cohort's median below which a slide's codes, perplexity or agreement is flagged."""
TOKENS_PER_CODE = 10
"""Tokens per code in use below which a slide is too small to show all codes it could use."""
LEAST_AGREEMENT = 0.1
"""Median native agreement below which it flags no slide: a tokenizer trained with frozen statistics
need not agree with native ones, and its agreement is then chance."""
LEAST_RANK, LEAST_KEPT = 0.5, 0.5
"""Effective rank as a share of a code's length, and share of tokens kept, below which a slide is
flagged."""
USED, PARTLY = 0.5, 0.1
"""Shares of the codebook from which it counts as used, or as used in part."""
COLUMNS = {
    "psnr": (
        "PSNR",
        "Similarity of reconstructed and original tissue, pixel by pixel, in dB, on four squares of"
        " the slide; 3 dB less is twice the squared error.",
    ),
    "ssim": ("SSIM", "Similarity in structure; 1 means identical."),
    "codes_used": (
        "Codes in use",
        "Number of codebook entries among the slide's tokens, and their share of the codebook.",
    ),
    "perplexity": (
        "Perplexity",
        "Number of codebook entries that, used equally often, would be as varied.",
    ),
    "effective_rank": (
        "Effective rank",
        "Number of independent directions in which the codes of the tissue vary, and below it the"
        " length of a code. A low rank means that the codes have collapsed to a few features, such"
        " as brightness.",
    ),
    "kept": (
        "Tokens kept",
        "Share of tokens that stay the same if the colours of the slide are changed at random, as"
        " they are in training. Tokens that change describe the stain instead of the structure.",
    ),
    "native_agreement": (
        "Native agreement",
        "Share of tokens that stay the same if a square of tissue is encoded by itself, normalised"
        " by its own brightness and contrast (native) instead of those of the training slides"
        " (frozen). Pretrained tokenizers were trained natively: if few tokens agree, compare with"
        " tokens.mode: window. A tokenizer trained in this run was trained frozen and need not"
        " agree.",
    ),
    "precision_agreement": (
        "fp32 agreement",
        "Share of tokens that are the same in the slower, more exact fp32 arithmetic.",
    ),
    "seconds": ("Time", "Time to encode the slide, and below it the time spent on reading pixels."),
    "bytes": (
        "Token map",
        "Size of the file. It holds several variants of a training slide, flipped, rotated or with"
        " another appearance.",
    ),
}
"""Title and meaning of the table's columns, in its order."""
NUMBERS = (*COLUMNS, "codebook", "dimension", "tokens", "variants", "reading_seconds")


@dataclass(frozen=True)
class QualityRow:
    """Quality of one slide's tokens, as the verb `tokens` measured it."""

    slide: str
    mode: str
    precision: str
    values: dict[str, float]
    """By the names in NUMBERS; NaN if not measured."""

    def __getitem__(self, name: str) -> float:
        return self.values[name]


@dataclass(frozen=True)
class TokenLine:
    """One slide, or the median of all."""

    name: str
    encoded: str
    """Mode, precision and variants."""
    words: str
    flagged: bool
    cells: list[Cell]


@dataclass(frozen=True)
class TokenTable:
    """The section on tokens."""

    titles: list[str]
    meanings: list[tuple[str, str]]
    """Title and meaning of each column."""
    median: TokenLine | None
    """None for a single slide."""
    lines: list[TokenLine]
    """The flagged slides first, each part sorted by PSNR, the lowest first."""
    verdict: str
    """A sentence on the use of the codebook; empty if not known."""
    flagged: int
    """Number of flagged slides."""


def qualities(run: Run) -> list[QualityRow]:
    """Quality of each slide's tokens, in the sheet's order; slides without it are left out."""
    rows = []
    for row in run.kept:
        facts = record(run.results.token_quality(row.slide))
        if facts:
            mode, precision = (str(facts.get(name) or "") for name in ("mode", "precision"))
            values = {name: _number(facts.get(name)) for name in NUMBERS}
            rows.append(QualityRow(row.slide, mode, precision, values))
    return rows


def _number(value: Any) -> float:
    known = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if known and math.isfinite(value) else math.nan


def token_table(rows: Sequence[QualityRow]) -> TokenTable | None:
    """Numbers and remarks of every slide; None without any slide."""
    if not rows:
        return None
    medians = {name: _median([row[name] for row in rows]) for name in NUMBERS}
    shown = [name for name in COLUMNS if not math.isnan(medians[name])]
    lines = [_line(row, medians, shown, alone=len(rows) == 1) for row in by_psnr(rows)]
    lines.sort(key=lambda line: not line.flagged)
    middle = None
    if len(lines) > 1:
        cells = [_cell(name, medians) for name in shown]
        middle = TokenLine("Median", f"{len(lines)} slides", "", False, cells)
    flagged = sum(line.flagged for line in lines)
    meanings = [COLUMNS[name] for name in shown]
    titles = [title for title, _ in meanings]
    return TokenTable(titles, meanings, middle, lines, _verdict(medians), flagged)


def tokenizer_words(run: Run) -> str:
    """A sentence on the codes at the end of the tokenizer's training; empty if not measured."""
    table = read_table(run.results.tokenizer_training)
    ranks, shares = column(table, "effective_rank"), column(table, "kept")
    parts = [f"its codes had an effective rank of {ranks[-1]:.1f}"] if ranks else []
    if shares:
        parts.append(f"{100 * shares[-1]:.1f} % of its tokens stayed the same under another stain")
    return f"When the tokenizer was trained, {' and '.join(parts)}." if parts else ""


def by_psnr(rows: Sequence[QualityRow]) -> list[QualityRow]:
    """Sorted by PSNR, the lowest first, slides without PSNR last."""
    return sorted(rows, key=lambda row: (math.isnan(row["psnr"]), row["psnr"]))


def _median(values: Sequence[float]) -> float:
    known = [value for value in values if not math.isnan(value)]
    return statistics.median(known) if known else math.nan


def _line(row: QualityRow, medians: dict[str, float], shown: list[str], alone: bool) -> TokenLine:
    remarks = flags(row, medians)
    words = "; ".join(remarks) or ("" if alone else "like the others")
    if not _large_enough(row, medians):
        words += f"{'; ' if words else ''}too small to judge its codes"
    variants = row["variants"]
    encoded = [
        row.mode,
        row.precision,
        "" if math.isnan(variants) else f"{variants:.0f} variant{'' if variants == 1 else 's'}",
    ]
    cells = [_cell(name, row.values) for name in shown]
    return TokenLine(row.slide, ", ".join(filter(None, encoded)), words, bool(remarks), cells)


def flags(row: QualityRow, medians: Mapping[str, float]) -> list[str]:
    """Remarks on numbers of a slide that lie far below the cohort's median, or are low anyway."""
    remarks = []
    gap = medians["psnr"] - row["psnr"]
    if gap >= PSNR_GAP:
        remarks.append(f"reconstructed less well than the others, {gap:.1f} dB below the median")
    if _large_enough(row, medians):
        if row["codes_used"] < SHARE * medians["codes_used"]:
            remarks.append(f"few codes in use (median {count(medians['codes_used'])})")
        if row["perplexity"] < SHARE * medians["perplexity"]:
            even = count(medians["perplexity"])
            remarks.append(f"a few codes make up most of it (median perplexity {even})")
    usual = medians["native_agreement"]
    if usual >= LEAST_AGREEMENT and row["native_agreement"] < SHARE * usual:
        median = f"median native agreement {100 * usual:.1f} %"
        remarks.append(f"brightness or stain unlike the others ({median})")
    return remarks + weaknesses(row.values)


def weaknesses(values: Mapping[str, float]) -> list[str]:
    """Remarks on codes that collapse and on tokens that change with the stain.

    `values` has `effective_rank`, `dimension` and `kept`; NaN if not measured.
    """
    remarks = []
    rank, dimension, kept = (values[name] for name in ("effective_rank", "dimension", "kept"))
    if rank < LEAST_RANK * dimension:
        remarks.append(f"codes collapse: they vary in {rank:.1f} of {dimension:.0f} dimensions")
    if kept < LEAST_KEPT:
        remarks.append(
            f"tokens change with the stain: {100 * kept:.1f} % stay the same under another one"
        )
    return remarks


def _large_enough(row: QualityRow, medians: Mapping[str, float]) -> bool:
    """Whether the slide has enough tokens to show as many codes as the median slide uses."""
    return not row["tokens"] < TOKENS_PER_CODE * medians["codes_used"]


def _cell(name: str, values: Mapping[str, float]) -> Cell:
    value = values[name]
    if math.isnan(value):
        return Cell(ABSENT)
    if name == "codes_used":
        share = value / values["codebook"] if values["codebook"] > 0 else math.nan
        return Cell(count(value), "" if math.isnan(share) else f"{100 * share:.0f} %")
    if name == "effective_rank":
        length = values["dimension"]
        return Cell(f"{value:.1f}", "" if math.isnan(length) else f"of {length:.0f}")
    if name == "seconds":
        waited = values["reading_seconds"]
        return Cell(duration(value), "" if math.isnan(waited) else f"{duration(waited)} reading")
    texts = {
        "psnr": f"{value:.1f}",
        "ssim": f"{value:.2f}",
        "perplexity": count(value),
        "bytes": memory(value / 1e6),
    }
    return Cell(texts.get(name, f"{100 * value:.1f} %"))


def _verdict(medians: Mapping[str, float]) -> str:
    """A sentence on the use of the codebook by the median slide; empty if not known."""
    used, codebook, tokens = (medians[name] for name in ("codes_used", "codebook", "tokens"))
    if math.isnan(used) or not codebook > 0:
        return ""
    share = used / codebook
    start = f"Half of the slides use {count(used)} or more of {count(codebook)} codes"
    start += f" ({100 * share:.0f} %)"
    if share >= USED:
        return f"{start}: the codebook is in use."
    if tokens < TOKENS_PER_CODE * used:
        return f"{start}, but are too small to judge whether the codebook represents this stain."
    if share >= PARTLY:
        return f"{start}: the codebook represents this stain in part; the rest of it is unused."
    return (
        f"{start}: most of the codebook is unused for this stain. A tokenizer trained on your own"
        " slides would represent it better (leave tokenizer.checkpoint empty)."
    )
