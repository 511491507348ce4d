"""Rows of slides.tsv and objects.tsv, from the metrics of one model on one slide."""

from typing import Any

from holohisto.sheet.cells import Row

UNGROUPED = "ungrouped"
SLIDES = (
    "model",
    "pretrained",
    "slide",
    "class",
    "group",
    "subject",
    "split",
    "annotated",
    "dice_foreground",
    "dice_everywhere",
    "tile_dice",
    "tiles",
    "tiles_empty",
    "object_precision",
    "object_recall",
    "object_f1",
    "objects_tp",
    "objects_fp",
    "objects_fn",
    "tp",
    "fp",
    "fn",
    "outside_foreground",
    "boundary_precision",
    "boundary_recall",
    "boundary_f1",
    "objects_found",
    "objects_annotated",
    "area_found_um2",
    "area_annotated_um2",
    "dice_kpis2024",
)
OBJECTS = (
    "model",
    "pretrained",
    "slide",
    "class",
    "group",
    "area_um2",
    "x",
    "y",
    "probability",
    "matched",
    "iou",
)


def score_rows(record: dict[str, Any], row: Row) -> list[dict[str, Any]]:
    """Rows of slides.tsv, one per class.

    Numbers and areas of the objects found are given for every class, scores only for classes that
    are annotated on the slide.

    Args:
        record: metrics of one model on one slide, as the verb `metrics` writes them.
        row: the slide's row of the sheet.

    Returns:
        Cells by the names in SLIDES.
    """
    rows = []
    for name, scores in record["classes"].items():
        known = bool(scores.get("annotated", True))
        cells = _scores(scores)
        rows.append(
            {
                "model": record["model"],
                "pretrained": record.get("pretrained", ""),
                "slide": row.slide,
                "class": name,
                "group": group_of(row),
                "subject": row.subject or row.slide,
                "split": row.split,
                "annotated": "yes" if known else "no",
                **{key: scores.get(key) for key in ("objects_found", "area_found_um2")},
                **(cells if known else dict.fromkeys(cells)),
            }
        )
    return rows


def _scores(scores: dict[str, Any]) -> dict[str, Any]:
    """Cells that need an annotation."""
    objects, foreground = scores.get("objects") or {}, scores.get("foreground") or {}
    boundary = scores.get("boundary") or {}
    return {
        "dice_foreground": foreground.get("dice"),
        "dice_everywhere": (scores.get("everywhere") or {}).get("dice"),
        "tile_dice": scores.get("tile_dice"),
        "tiles": len(scores.get("tiles") or ()),
        "tiles_empty": scores.get("tiles_empty"),
        **{f"object_{key}": objects.get(key) for key in ("precision", "recall", "f1")},
        **{f"objects_{key}": objects.get(key) for key in ("tp", "fp", "fn")},
        **{key: foreground.get(key) for key in ("tp", "fp", "fn")},
        "outside_foreground": scores.get("outside_foreground"),
        **{f"boundary_{key}": boundary.get(key) for key in ("precision", "recall", "f1")},
        **{key: scores.get(key) for key in ("objects_annotated", "area_annotated_um2")},
        "dice_kpis2024": (scores.get("kpis2024") or {}).get("dice"),
    }


def object_rows(record: dict[str, Any], row: Row) -> list[dict[str, Any]]:
    """Rows of objects.tsv, one per predicted object.

    `matched` is empty where the class is not annotated on the slide. Areas are in square
    micrometres, x and y in level-0 pixels. For the arguments, see `score_rows`.
    """
    rows = []
    for name, scores in record["classes"].items():
        known = bool(scores.get("annotated", True))
        for entry in scores.get("object_table") or ():
            cells = {key: entry.get(key) for key in ("area_um2", "x", "y", "probability")}
            matched = ("yes" if entry.get("matched") else "no") if known else None
            rows.append(
                {
                    "model": record["model"],
                    "pretrained": record.get("pretrained", ""),
                    "slide": row.slide,
                    "class": name,
                    "group": group_of(row),
                    **cells,
                    "matched": matched,
                    "iou": entry.get("iou"),
                }
            )
    return rows


def group_of(row: Row) -> str:
    """Group of a slide; slides without a group form a group of their own."""
    return row.group or UNGROUPED
