"""The files of a tokenizer's checkpoint, found by their names and config.json alone."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from holohisto.config.text_files import read_json
from holohisto.errors import HolohistoError

Layout = Literal["holohisto", "taming", "openmuse", "diffusers"]
CONFIG = "config.json"
CLASSES: dict[str, Layout] = {"VQGANModel": "openmuse", "VQModel": "diffusers"}
"""Class name in config.json -> layout of the checkpoint."""
WEIGHTS: dict[Layout, tuple[str, ...]] = {
    "openmuse": ("pytorch_model.bin",),
    "diffusers": ("diffusion_pytorch_model.safetensors", "diffusion_pytorch_model.bin"),
}
"""Names of the weights beside config.json; the first existing file is used."""
EXPECTED = (
    "a tokenizer.safetensors; a .ckpt with its .yaml beside it (taming, latent diffusion); a folder"
    " with config.json and pytorch_model.bin (openMUSE, LVM) or"
    " diffusion_pytorch_model.safetensors (diffusers)"
)


@dataclass(frozen=True)
class CheckpointFiles:
    """The files of one checkpoint."""

    layout: Layout
    weights: Path
    config: Path | None = None
    """File that describes the network; None: the header of the weights does."""

    @property
    def files(self) -> list[Path]:
        """All files that are read."""
        return [file for file in (self.weights, self.config) if file is not None]


def find(path: Path) -> CheckpointFiles:
    """Find the files of the checkpoint at a file or folder.

    Raises:
        HolohistoError: the layout is unknown, or one of its files is missing.
    """
    if path.is_dir():
        return _in_folder(path)
    if not path.exists():
        raise HolohistoError(path, "no such file or folder")
    if path.name == CONFIG:
        return _described_by(path)
    if any(path.name in names for names in WEIGHTS.values()):
        return _described_by(path.with_name(CONFIG), path)
    if path.suffix == ".ckpt":
        return CheckpointFiles("taming", path, _yaml_of(path))
    if path.suffix == ".safetensors":
        return CheckpointFiles("holohisto", path)
    raise HolohistoError(path, "is not a tokenizer's checkpoint", allowed=EXPECTED)


def files(path: Path) -> list[Path]:
    """Return the files that reading `path` opens; `path` itself where nothing exists yet."""
    return find(path).files if path.exists() else [path]


def _in_folder(folder: Path) -> CheckpointFiles:
    if (folder / CONFIG).exists():
        return _described_by(folder / CONFIG)
    found = sorted(folder.glob("*.ckpt"))
    if not found:
        raise HolohistoError(folder, "holds no tokenizer's checkpoint", allowed=EXPECTED)
    if len(found) > 1:
        raise HolohistoError(
            folder,
            "holds several checkpoints",
            found=", ".join(file.name for file in found),
            advice="name the file instead of the folder",
        )
    return CheckpointFiles("taming", found[0], _yaml_of(found[0]))


def _described_by(config: Path, named: Path | None = None) -> CheckpointFiles:
    """Return the checkpoint that config.json describes; `named` are the weights that were given."""
    if not config.exists():
        raise HolohistoError(config, "no such file", advice="the weights need it beside them")
    kind = read_json(config).get("_class_name")
    layout = CLASSES.get(str(kind))
    if layout is None:
        raise HolohistoError(
            config,
            "does not describe a VQGAN",
            found=f"_class_name {kind}",
            allowed="VQGANModel (openMUSE, LVM) or VQModel (diffusers)",
        )
    candidates = [config.with_name(name) for name in WEIGHTS[layout]]
    there = [file for file in candidates if file.exists() and named in (None, file)]
    if not there:
        raise HolohistoError(
            config.parent,
            f"holds no weights of the {kind} that its config.json describes",
            allowed=" or ".join(WEIGHTS[layout]),
        )
    return CheckpointFiles(layout, there[0], config)


def _yaml_of(weights: Path) -> Path:
    """Return the .yaml of the same name, else the only one in the folder."""
    yamls = sorted(f for f in weights.parent.iterdir() if f.suffix in (".yaml", ".yml"))
    of_its_name = [file for file in yamls if file.stem == weights.stem]
    if len(found := of_its_name or yamls) == 1:
        return found[0]
    raise HolohistoError(
        weights,
        "needs the .yaml that describes it beside it",
        found=", ".join(file.name for file in found) or "none",
        allowed=f"{weights.stem}.yaml, or a single .yaml of any name",
    )
