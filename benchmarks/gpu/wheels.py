"""Fetch the wheels that a GPU machine without a network lacks, at the versions of the lock file.

    python benchmarks/gpu/wheels.py --python 3.12 --output build/gpu-wheels

That machine has torch, numpy, scipy, scikit-image, pandas, tifffile, transformers, safetensors and
pytest; these stay as they are. pyvips and its library are not taken along: the benchmark writes and
reads no flat pictures.
"""

import argparse
import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[2]
LIMIT_MIB = 64.0
NAMES = (
    "annotated-types",
    "cucim-cu12",
    "einops",
    "imagecodecs",
    "lightning-fabric",
    "lightning-utilities",
    "monai",
    "openslide-bin",
    "openslide-python",
    "psutil",
    "pydantic",
    "pydantic-core",
    "shapely",
    "taming-transformers-rom1504",
    "tqdm",
    "typing-extensions",
    "typing-inspection",
)
PLATFORMS = (
    "manylinux_2_28_x86_64",
    "manylinux_2_27_x86_64",
    "manylinux_2_24_x86_64",
    "manylinux_2_17_x86_64",
    "manylinux2014_x86_64",
    "manylinux_2_12_x86_64",
    "manylinux_2_5_x86_64",
    "manylinux1_x86_64",
)


def locked(text: str, names: tuple[str, ...]) -> str:
    """Return the lines of a lock file, hashes included, that belong to some packages.

    Args:
        text: Of the lock file: name, version and hashes, package by package.
        names: Of the packages.

    Raises:
        ValueError: the lock file does not hold one of them.
    """
    entries = {entry.split("==")[0]: entry for entry in re.split(r"\n(?=[a-z0-9])", text)}
    if lacking := [name for name in names if name not in entries]:
        raise ValueError(f"the lock file has no {', '.join(lacking)}")
    return "\n".join(entries[name].rstrip() for name in names) + "\n"


def too_large(mebibytes: float, limit: float = LIMIT_MIB) -> bool:
    """Whether the wheels are more than can be taken along."""
    return mebibytes > limit


def size_mib(folder: Path) -> float:
    """Size of all wheels of a folder in MiB."""
    return sum(path.stat().st_size for path in folder.glob("*.whl")) / 2**20


def main() -> int:
    """Fetch, print the size; returns 1 if it is too large."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--python", default="3.12", help="version of the GPU machine's Python")
    parser.add_argument("--lock", type=Path, default=ROOT / "requirements.lock")
    parser.add_argument("--output", type=Path, required=True)
    arguments = parser.parse_args()
    arguments.output.mkdir(parents=True, exist_ok=True)
    for old in arguments.output.glob("*.whl"):
        old.unlink()
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
        file.write(locked(arguments.lock.read_text(), NAMES))
        file.flush()
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
        command += ["--require-hashes", "--only-binary=:all:", "--implementation", "cp"]
        command += ["--python-version", arguments.python, "--dest", str(arguments.output)]
        command += [word for name in PLATFORMS for word in ("--platform", name)]
        subprocess.run([*command, "--requirement", file.name], check=True)
    size = size_mib(arguments.output)
    count = len(list(arguments.output.glob("*.whl")))
    print(f"{count} wheels for Python {arguments.python}, {size:.1f} MiB in {arguments.output}")
    if too_large(size):
        print(f"error: more than {LIMIT_MIB:g} MiB", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
