"""Hashes of all deterministic results of a run, to show that a change of the code keeps them.

    python output_hashes.py RESULTS --output before.json
    python output_hashes.py RESULTS --against before.json            the same bytes
    python output_hashes.py RESULTS --against before.json --values   the same but for names

Token maps, weights, labels, masks, GeoJSON, tables and pictures are compared byte by byte. Times,
memory and devices differ from run to run: fields with such names are left out of tables, JSON and
headers, and the report, provenance and Snakemake's benchmarks are not compared. With `--values`
only tensors, pixels and values count, not the names of fields, options and columns.
"""

import argparse
import csv
import hashlib
import json
import re
import struct
import sys
from pathlib import Path
from typing import Any

import numpy as np
import tifffile

SKIPPED = ("report.html", "cohort/provenance.json", "*.checkpoint", "*.journal")
MEASURED = re.compile(r"seconds|memory|_mb$|bottleneck|^stages$|^wall|device|busy|^threads$")
"""Fields whose values are measured, and differ from run to run."""
RENAMED = {"examples/examples.json": "gallery/gallery.json", "examples/": "gallery/"}
"""Paths that have another name now."""


def without_measured(value: Any) -> Any:
    """Return a JSON value without measured fields."""
    if isinstance(value, dict):
        return {k: without_measured(v) for k, v in value.items() if not MEASURED.search(k)}
    return [without_measured(item) for item in value] if isinstance(value, list) else value


def leaves(value: Any) -> list[str]:
    """Return the values of a JSON value, in a fixed order that ignores the names of fields."""
    if isinstance(value, dict):
        return sorted(leaf for item in value.values() for leaf in leaves(item))
    if isinstance(value, list):
        return [leaf for item in value for leaf in leaves(item)]
    return [repr(value)]


def json_or_text(text: str) -> Any:
    """Return the JSON value of a text, or the text where it is none."""
    try:
        return json.loads(text)
    except ValueError:
        return text


def safetensors(path: Path) -> tuple[bytes, bytes]:
    """Return the file without measured fields of its header, and its tensors alone."""
    data = path.read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + length])
    facts = {k: json_or_text(v) for k, v in header.pop("__metadata__", {}).items()}
    tensors = json.dumps(header, sort_keys=True).encode() + data[8 + length :]
    return json.dumps(without_measured(facts), sort_keys=True).encode() + tensors, tensors


def table(path: Path) -> tuple[bytes, bytes]:
    """Return the rows without measured columns, with and without the header."""
    with path.open(newline="") as file:
        rows = list(csv.reader(file, delimiter="\t"))
    if not rows:
        return b"", b""
    columns = [k for k, name in enumerate(rows[0]) if not MEASURED.search(name)]
    chosen = [[row[k] for k in columns] for row in rows]
    return repr(chosen).encode(), repr(chosen[1:]).encode()


def document(path: Path) -> tuple[bytes, bytes]:
    """Return a JSON document without measured fields, and its values."""
    value = without_measured(json.loads(path.read_text()))
    return json.dumps(value, sort_keys=True).encode(), repr(leaves(value)).encode()


def pixels(path: Path) -> bytes:
    """Return the pixels of all pages of a TIFF."""
    with tifffile.TiffFile(path) as file:
        return b"".join(np.ascontiguousarray(page.asarray()).tobytes() for page in file.pages)


def digests(path: Path) -> dict[str, str]:
    """Return the hashes of a file: all of it, and its values alone."""
    if path.suffix == ".safetensors":
        whole, values = safetensors(path)
    elif path.suffix == ".tsv":
        whole, values = table(path)
    elif path.suffix == ".json":
        whole, values = document(path)
    elif path.suffix == ".tif":
        whole, values = path.read_bytes(), pixels(path)
    else:
        whole = values = path.read_bytes()
    parts = {"bytes": whole, "values": values}
    return {name: hashlib.sha256(part).hexdigest() for name, part in parts.items()}


def hashes(results: Path) -> dict[str, dict[str, str]]:
    """Return the hashes of all results that are compared, by relative path."""
    found = {}
    for path in sorted(results.rglob("*")):
        relative = path.relative_to(results)
        measured = relative.parts[0] == "benchmarks" or any(map(relative.match, SKIPPED))
        if not path.is_file() or path.name.startswith(".") or measured:
            continue
        name = relative.as_posix()
        for old, new in RENAMED.items():
            name = new + name.removeprefix(old) if name.startswith(old) else name
        found[name] = digests(path)
    return found


def main() -> None:
    """Write the hashes, or compare them with earlier ones; exit 1 where any differs."""
    parser = argparse.ArgumentParser(description="Hashes of all deterministic results of a run.")
    parser.add_argument("results", type=Path, help="folder of a finished run")
    parser.add_argument("--output", type=Path, help="JSON file to write")
    parser.add_argument("--against", type=Path, help="JSON file of an earlier run")
    parser.add_argument("--values", action="store_true", help="ignore names of fields and options")
    arguments = parser.parse_args()
    now = hashes(arguments.results)
    if arguments.output:
        arguments.output.write_text(json.dumps(now, indent=1, sort_keys=True) + "\n")
    if arguments.against is None:
        print(f"{len(now)} files")
        return
    before = json.loads(arguments.against.read_text())
    key = "values" if arguments.values else "bytes"
    names = sorted(before.keys() | now.keys())
    differing = [n for n in names if before.get(n, {}).get(key) != now.get(n, {}).get(key)]
    for name in differing:
        state = "missing" if name not in now else "new" if name not in before else "differs"
        print(f"{state}: {name}")
    print(f"{len(names) - len(differing)} of {len(names)} files have the same {key}")
    sys.exit(bool(differing))


if __name__ == "__main__":
    main()
