"""Files of a fabricated run."""

from pathlib import Path

from PIL import Image


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def save(image: Image.Image, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, quality=90)


def write_benchmark(folder: Path, name: str, seconds: float, megabytes: float) -> None:
    header = "s\th:m:s\tmax_rss\tmax_vms\tmax_uss\tmax_pss\tio_in\tio_out\tmean_load\tcpu_time"
    line = f"{seconds:.4f}\t0:00:01\t{megabytes:.2f}\t1\t1\t1\tNA\t-\t90\t1"
    write(folder / f"results/benchmarks/{name}.tsv", f"{header}\n{line}\n")


def write_log(folder: Path, name: str, error: str | None = None) -> None:
    lines = ["14:02:09 INFO started"]
    if error:
        lines += ["14:02:10 ERROR an earlier line", f"14:02:11 ERROR {error}"]
    else:
        lines.append(f"14:02:11 INFO {name.split('/')[0]}: done in 0.4 s, 113 MB")
    write(folder / f"logs/{name}.log", "\n".join(lines) + "\n")
