"""Fabricated records of single slides: token quality, inference, metrics."""

import numpy as np
from report_cohort import FEW_CODES, INITS, LEVELS, MPP, OFF_STAIN, READ_SLOWLY


def token_quality(row: dict[str, str]) -> dict:
    slide, number = row["slide"], int(row["slide"][-2:])
    variants = 8 if row["split"] == "train" else 1
    quality = {
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
        "effective_rank": 12.4,
        "dimension": 16,
        "kept": 0.83,
        "native_agreement": 0.62,
        "precision_agreement": 0.971,
        "seconds": 30.0 * variants,
        "reading_seconds": 12.5,
        "bytes": 2 * variants * 1403 * 1451,
    }
    if slide == OFF_STAIN:
        quality |= {"psnr": 21.4, "ssim": 0.44, "native_agreement": 0.12}
    if slide == FEW_CODES:
        quality |= {"codes_used": 300, "perplexity": 55.4}
    return quality


def token_value(slides: list[str]) -> str:
    """The table of the verb token_value, whose tokens are worth about 9 points of Dice."""
    lines = ["slide\tcondition\ttiles\tdice glomerulus\tdice mean"]
    for n, slide in enumerate(slides):
        for condition, dice in (("as they are", 0.9), ("left out", 0.81), ("shuffled", 0.6)):
            score = f"{dice + 0.01 * (n % 2):.2f}"
            lines.append(f"{slide}\t{condition}\t{60 + n}\t{score}\t{score}")
    return "\n".join(lines) + "\n"


def inference(slide: str, model: str) -> dict:
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
        "resumed_bands": 3 if slide == READ_SLOWLY else 0,
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


def metrics(slide: str, model: str, random) -> dict:
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
