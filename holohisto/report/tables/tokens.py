"""How well tokens keep each slide: likeness of what is rebuilt, use of the codebook, cost."""

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from holohisto.report.results import Run, record
from holohisto.report.tables.wide import Cell
from holohisto.report.words import ABSENT, count, duration, memory

PSNR_GAP = 3.0
"""dB below the cohort's median from which a slide is flagged: twice the squared error."""
SHARE = 0.5
"""Share of the cohort's median below which a slide's codes, perplexity or agreement is flagged."""
TOKENS_PER_CODE = 10
"""Tokens for each code in use, below which a slide is too small to say which codes it lacks."""
LEAST_AGREEMENT = 0.1
"""Median share of tokens the same alone below which nobody is flagged by it: what is trained with
fixed statistics need not agree with any other, and then the shares are chance."""
USED, PARTLY = 0.5, 0.1
"""Shares of the codebook from which it is in use, or in use in part."""
COLUMNS = {
    "psnr": (
        "PSNR",
        "How like rebuilt tissue is to the original, pixel by pixel, in dB, on four squares of the"
        " slide; 3 dB less is twice the error.",
    ),
    "ssim": ("SSIM", "How like it is in structure; 1 is the same."),
    "codes_used": (
        "Codes in use",
        "Different entries of the codebook among the slide's tokens, and their share of all.",
    ),
    "perplexity": ("Perplexity", "How many entries, used equally often, would be as varied."),
    "native_agreement": (
        "Same alone",
        "Tokens that stay the same when a square of tissue is encoded by itself, adapted to its own"
        " brightness and contrast (native) instead of those of the training slides (frozen). This"
        " is how pretrained tokenizers learned: where few stay the same, compare with tokens.mode:"
        " window. A tokenizer trained in this run learned frozen and need not agree.",
    ),
    "precision_agreement": ("Same in fp32", "Tokens that slower, exact arithmetic gives too."),
    "seconds": ("Time", "Of encoding; below it, how long it waited for the slide to be read."),
    "bytes": (
        "Token map",
        "Size of the file. Training slides are in it in several variants, turned and in other"
        " looks.",
    ),
}
"""Title and meaning of the table's columns, in its order."""
NUMBERS = (*COLUMNS, "codebook", "tokens", "variants", "reading_seconds")


@dataclass(frozen=True)
class Quality:
    """What the verb `tokens` tells of one slide."""

    slide: str
    mode: str
    precision: str
    values: dict[str, float]
    """By the names in NUMBERS; NaN where it tells nothing."""

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
    """All that is told of the tokens."""

    titles: list[str]
    meanings: list[tuple[str, str]]
    """Title and meaning of each column."""
    median: TokenLine | None
    """None for a single slide."""
    lines: list[TokenLine]
    """The flagged slides first; the lowest likeness first."""
    verdict: str
    """Whether the codebook is in use; empty when not known."""
    flagged: int
    """Number of flagged slides."""


def qualities(run: Run) -> list[Quality]:
    """What is known of each slide's tokens, in the sheet's order; older runs know nothing."""
    found = []
    for row in run.kept:
        told = record(run.results / "tokens" / f"{row.slide}.json")
        if told:
            mode, precision = (str(told.get(name) or "") for name in ("mode", "precision"))
            values = {name: _number(told.get(name)) for name in NUMBERS}
            found.append(Quality(row.slide, mode, precision, values))
    return found


def _number(value: Any) -> float:
    known = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if known and math.isfinite(value) else math.nan


def token_table(found: Sequence[Quality]) -> TokenTable | None:
    """Numbers and judgement of every slide; None when nothing is known of any."""
    if not found:
        return None
    medians = {name: _median([one[name] for one in found]) for name in NUMBERS}
    shown = [name for name in COLUMNS if not math.isnan(medians[name])]
    lines = [_line(one, medians, shown, alone=len(found) == 1) for one in by_likeness(found)]
    lines.sort(key=lambda line: not line.flagged)
    middle = None
    if len(lines) > 1:
        cells = [_cell(name, medians) for name in shown]
        middle = TokenLine("Median", f"{len(lines)} slides", "", False, cells)
    flagged = sum(line.flagged for line in lines)
    meanings = [COLUMNS[name] for name in shown]
    titles = [title for title, _ in meanings]
    return TokenTable(titles, meanings, middle, lines, _verdict(medians), flagged)


def by_likeness(found: Sequence[Quality]) -> list[Quality]:
    """By likeness, the lowest first; those without come last."""
    return sorted(found, key=lambda one: (math.isnan(one["psnr"]), one["psnr"]))


def _median(values: Sequence[float]) -> float:
    known = [value for value in values if not math.isnan(value)]
    return statistics.median(known) if known else math.nan


def _line(one: Quality, medians: dict[str, float], shown: list[str], alone: bool) -> TokenLine:
    remarks = flags(one, medians)
    words = "; ".join(remarks) or ("" if alone else "like the others")
    if not _large_enough(one, medians):
        words += f"{'; ' if words else ''}too small to judge its codes"
    variants = one["variants"]
    told = [
        one.mode,
        one.precision,
        "" if math.isnan(variants) else f"{variants:.0f} variant{'' if variants == 1 else 's'}",
    ]
    cells = [_cell(name, one.values) for name in shown]
    return TokenLine(one.slide, ", ".join(filter(None, told)), words, bool(remarks), cells)


def flags(one: Quality, medians: Mapping[str, float]) -> list[str]:
    """Why a slide is flagged: what lies far below the cohort's median."""
    told = []
    gap = medians["psnr"] - one["psnr"]
    if gap >= PSNR_GAP:
        told.append(f"rebuilt less well than the others, {gap:.1f} dB below the median")
    if _large_enough(one, medians):
        if one["codes_used"] < SHARE * medians["codes_used"]:
            told.append(f"few codes in use (median {count(medians['codes_used'])})")
        if one["perplexity"] < SHARE * medians["perplexity"]:
            even = count(medians["perplexity"])
            told.append(f"a few codes stand for most of it (median perplexity {even})")
    usual = medians["native_agreement"]
    if usual >= LEAST_AGREEMENT and one["native_agreement"] < SHARE * usual:
        told.append(f"light or stain unlike the others' (median same alone {100 * usual:.1f} %)")
    return told


def _large_enough(one: Quality, medians: Mapping[str, float]) -> bool:
    """Whether the slide has the tokens to show as many codes as the median slide uses."""
    return not one["tokens"] < TOKENS_PER_CODE * medians["codes_used"]


def _cell(name: str, values: Mapping[str, float]) -> Cell:
    value = values[name]
    if math.isnan(value):
        return Cell(ABSENT)
    if name == "codes_used":
        share = value / values["codebook"] if values["codebook"] > 0 else math.nan
        return Cell(count(value), "" if math.isnan(share) else f"{100 * share:.0f} %")
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
    """Whether the codebook is in use, from the codes that the median slide uses."""
    used, codebook, tokens = (medians[name] for name in ("codes_used", "codebook", "tokens"))
    if math.isnan(used) or not codebook > 0:
        return ""
    share = used / codebook
    start = f"Half of the slides use {count(used)} or more of {count(codebook)} codes"
    start += f" ({100 * share:.0f} %)"
    if share >= USED:
        return f"{start}: the codebook is in use."
    if tokens < TOKENS_PER_CODE * used:
        return f"{start}, but are too small to tell whether the codebook knows this stain."
    if share >= PARTLY:
        return f"{start}: the codebook knows this stain in part, the rest of it lies idle."
    return (
        f"{start}: most of the codebook knows nothing of this stain. One trained on your own slides"
        " would (leave tokenizer.checkpoint empty)."
    )
