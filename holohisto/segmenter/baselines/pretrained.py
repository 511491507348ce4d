"""Pretrained weights of a backbone, from a local file that must match it weight by weight."""

import re
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path

from torch import Tensor, nn

from holohisto.config.models import BackboneModel, ModelOptions
from holohisto.errors import HolohistoError
from holohisto.segmenter.baselines.pixels import BACKBONES
from holohisto.tokenizer.published.weights import read

SCRATCH = "scratch"
SHOWN = 3  # names of weights in a message
DISTRIBUTED = "module."  # prefix of what was saved in a training on several devices
COUNTER = "num_batches_tracked"  # of batch norms: not a weight, and absent in older files


@dataclass(frozen=True)
class WeightLayout:
    """How a kind of file names a backbone's weights."""

    prefix: str = ""
    """Prefix of the backbone's names; weights without it are of other modules and ignored."""
    renames: tuple[tuple[str, str], ...] = ()
    """Regular expressions and their replacements, applied in order to the rest of a name."""
    others: tuple[str, ...] = ()
    """Prefixes of other modules' names, which are ignored."""

    def backbone(self, weights: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return the backbone's weights under their names here; empty if there are none."""
        return {
            self._renamed(name.removeprefix(self.prefix)): value
            for name, value in weights.items()
            if name.startswith(self.prefix) and not name.startswith(self.others)
        }

    def _renamed(self, name: str) -> str:
        for pattern, replacement in self.renames:
            name = re.sub(pattern, replacement, name)
        return name


# Published files have the names from before transformers 5 (its conversion_mapping.py).
SEGFORMER = WeightLayout(
    "segformer.",
    (
        (r"^encoder\.patch_embeddings\.(\d+)\.", r"stages.\1.patch_embeddings."),
        (r"^encoder\.block\.(\d+)\.", r"stages.\1.blocks."),
        (r"^encoder\.layer_norm\.(\d+)\.", r"stages.\1.layer_norm."),
        (r"attention\.self\.query\.", "attention.q_proj."),
        (r"attention\.self\.key\.", "attention.k_proj."),
        (r"attention\.self\.value\.", "attention.v_proj."),
        (r"attention\.self\.sr\.", "attention.sequence_reduction.sequence_reduction."),
        (r"attention\.self\.layer_norm\.", "attention.sequence_reduction.layer_norm."),
        (r"attention\.output\.dense\.", "attention.o_proj."),
        (r"mlp\.dense([12])\.", r"mlp.fc\1."),
        (r"\.layer_norm_1\.", ".layernorm_before."),
        (r"\.layer_norm_2\.", ".layernorm_after."),
    ),
)
# Of facebookresearch/segment-anything (transformers' convert_sam_to_hf.py).
SEGMENT_ANYTHING = WeightLayout(
    "image_encoder.",
    (
        (r"^patch_embed\.proj\.", "patch_embed.projection."),
        (r"^blocks\.", "layers."),
        (r"\.norm([12])\.", r".layer_norm\1."),
        (r"^neck\.0\.", "neck.conv1."),
        (r"^neck\.1\.", "neck.layer_norm1."),
        (r"^neck\.2\.", "neck.conv2."),
        (r"^neck\.3\.", "neck.layer_norm2."),
    ),
)
SAM = (WeightLayout("vision_encoder."), SEGMENT_ANYTHING)
LAYOUTS: dict[str, tuple[WeightLayout, ...]] = {
    "unetr": (WeightLayout("vit."), WeightLayout()),
    "swinunetr_v2": (WeightLayout("swinViT."), WeightLayout()),
    "segformer": (SEGFORMER,),
    "deeplabv3plus": (WeightLayout(others=("fc.",)),),
    "sam_vit_b": SAM,
    "sam_vit_h": SAM,
}
"""Kind of network -> the layouts of files with its backbone's weights."""


def start(model: nn.Module, options: ModelOptions) -> str:
    """Load the pretrained backbone that the options name, if they do.

    Returns:
        "scratch", or "pretrained: " and the file's name.

    Raises:
        HolohistoError: the file cannot be read, or its weights are not exactly the backbone's.
    """
    if not isinstance(options, BackboneModel) or options.pretrained is None:
        return SCRATCH
    find = attrgetter(BACKBONES[options.kind])  # pyright: ignore
    backbones = [find(network) for network in model.networks]  # pyright: ignore
    weights = {n.removeprefix(DISTRIBUTED): value for n, value in read(options.pretrained).items()}
    state: dict[str, Tensor] = {}
    for layout in LAYOUTS[options.kind]:  # pyright: ignore
        state = state or layout.backbone(weights)
    _require_all(state, backbones[0].state_dict(), options.pretrained)
    for backbone in backbones:
        backbone.load_state_dict(state, strict=False)  # only counters may be missing
    return f"pretrained: {options.pretrained.name}"


def _require_all(state: dict[str, Tensor], wanted: dict[str, Tensor], path: Path) -> None:
    """Refuse weights that are missing, unknown, of another shape or not finite."""
    missing = [name for name in wanted if name not in state and not name.endswith(COUNTER)]
    unknown = [name for name in state if name not in wanted]
    shapes = [
        f"{name} {tuple(value.shape)} instead of {tuple(wanted[name].shape)}"
        for name, value in state.items()
        if name in wanted and value.shape != wanted[name].shape
    ]
    damaged = [name for name, value in state.items() if not value.isfinite().all()]
    problems = [
        f"{len(names)} {what} ({', '.join(names[:SHOWN])}{', ...' if len(names) > SHOWN else ''})"
        for what, names in (
            ("weights are missing", missing),
            ("are unknown", unknown),
            ("have another shape", shapes),
            ("are damaged: not all their numbers are finite", damaged),
        )
        if names
    ]
    if problems:
        raise HolohistoError(
            path,
            f"weights are not those of this backbone: {'; '.join(problems)}",
            advice="the network must be of the kind and size, and for codes of positions also of"
            " the tile, that the file was trained with",
        )
