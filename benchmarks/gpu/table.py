"""The results as tables in Markdown."""

from typing import Any

Rows = list[list[str]]


def render(data: dict[str, Any]) -> str:
    """Return the tables of a run.

    Args:
        data: What `gpu.json` holds; parts and figures may be missing.
    """
    sections = {
        "tests": _tests,
        "encoder": _encoder,
        "training": _training,
        "slide": _slide,
        "attention": _attention,
    }
    lines = _head(data)
    parts = data.get("parts", {})
    rows = [
        [name, part["status"], _number(part.get("seconds"), 1), part.get("reason", "")]
        for name, part in parts.items()
    ]
    lines += _table(["part", "status", "seconds", "reason"], rows)
    for name, section in sections.items():
        if result := parts.get(name, {}).get("result"):
            lines += ["", *section(result)]
    return "\n".join(lines) + "\n"


def _head(data: dict[str, Any]) -> list[str]:
    packages = data.get("packages", {})
    memory = data.get("gpu_memory_gb")
    facts = [
        f"{data.get('device', 'unknown device')}" + (f", {memory} GB" if memory else ""),
        f"{data.get('cores', '?')} cores",
        f"Python {data.get('python', '?')}",
        f"torch {packages.get('torch', '?')}",
        f"CUDA {data['cuda']}" if data.get("cuda") else "no CUDA",
        data.get("started", ""),
    ]
    lines = ["# Figures of a GPU", "", ", ".join(fact for fact in facts if fact) + ".", ""]
    if data.get("dry_run"):
        lines += ["**Dry run: small sizes, the figures mean nothing.**", ""]
    return lines


def _tests(result: dict[str, Any]) -> list[str]:
    counts = [f"{result.get(key, 0)} {key}" for key in ("passed", "failed", "skipped")]
    lines = ["## Tests marked gpu", "", ", ".join(counts) + "."]
    failures = result.get("failures") or {}
    return lines + ([""] * bool(failures)) + [f"- {k}: {v}" for k, v in failures.items()]


def _encoder(result: dict[str, Any]) -> list[str]:
    width, height = result.get("crop", ("?", "?"))
    row = [
        f"{width} x {height}",
        _number(result.get("tokens_per_second"), 0),
        _number(result.get("tflops"), 2),
        _number(result.get("peak_tflops"), 2),
        _percent(result.get("share_of_peak")),
    ]
    heading = ["crop", "tokens/s", "TFLOP/s", "peak TFLOP/s (bf16 product)", "share of the peak"]
    return ["## Encoder, bf16", "", *_table(heading, [row])]


def _training(result: dict[str, Any]) -> list[str]:
    width, height = result.get("tile", ("?", "?"))
    rows = [
        [
            size,
            _number(one.get("micro_batch"), 0),
            _number(one.get("steps_per_second"), 3),
            _number(one.get("tiles_per_second"), 2),
            _number(one.get("peak_gb"), 1),
            _percent(one.get("waited_share")),
            _percent(one.get("gpu_busy")),
        ]
        for size, one in result.get("models", {}).items()
    ]
    heading = ["size", "micro-batch", "steps/s", "tiles/s", "peak GB", "waited for data"]
    title = f"## Training, tiles of {width} x {height}, {result.get('batch', '?')} a step"
    return [title, "", *_table([*heading, "GPU busy"], rows)]


def _slide(result: dict[str, Any]) -> list[str]:
    width, height = result.get("size", ("?", "?"))
    rows = [
        [
            stage,
            _number(one.get("seconds"), 1),
            _percent(one.get("gpu_busy")),
            _percent(one.get("own_busy")),
        ]
        for stage, one in result.get("stages", {}).items()
    ]
    rows.append(["all", _number(result.get("seconds_in_all"), 1), "", ""])
    how = "trained here" if result.get("trained") else "untrained"
    title = f"## A slide of {width} x {height}, size {result.get('segmenter', '?')}, {how}"
    heading = ["stage", "seconds", "GPU busy", "not waiting for pixels"]
    return [title, "", *_table(heading, rows)]


def _attention(result: dict[str, Any]) -> list[str]:
    rows = []
    for race, contenders in result.get("races", {}).items():
        (other, theirs), (_, ours) = contenders.items()
        cells = [
            f"{_number(one['least_ms'], 2)} ms, {one['peak_mb']:.0f} MB" for one in (ours, theirs)
        ]
        ratio = theirs["least_ms"] / ours["least_ms"]
        rows.append([race, cells[0], f"{other}: {cells[1]}", f"{ratio:.2f}"])
    lines = ["## Attention", "", *_table(["race", "ours", "beside it", "times as fast"], rows)]
    missed = result.get("missed") or []
    return lines + ([""] * bool(missed)) + [f"- missed: {line}" for line in missed]


def _table(heading: list[str], rows: Rows) -> list[str]:
    lines = [heading, ["---"] * len(heading), *rows]
    return ["| " + " | ".join(cell.replace("|", "/") for cell in line) + " |" for line in lines]


def _number(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:,.{digits}f}"


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.1f} %"
