"""Names of the fabricated cohort: groups, models, and the slides that stand out."""

GROUPS = ("56Nx", "DN", "NEP25", "normal")
MODELS = {
    "holohisto": {"kind": "holohisto", "size": "S", "decoder": "rgb", "weights": None},
    "floor": {"kind": "colour_threshold", "weights": None},
}
COMPARED = {
    "holohisto": MODELS["holohisto"],
    "unet": {"kind": "unet", "weights": None},
    "segformer": {"kind": "segformer", "weights": None},
    "softmax": {**MODELS["holohisto"], "attention": "softmax"},
    "grid-half": {**MODELS["holohisto"], "sampler": "grid", "tile": [2048, 1080]},
    "floor": MODELS["floor"],
}
"""Rivals and variants beside those two."""
LEVELS = {"holohisto": 0.94, "softmax": 0.925, "grid-half": 0.93, "segformer": 0.93, "unet": 0.88}
"""About the Dice that a model reaches; of others 0.62."""
PARAMETERS = {"holohisto": 4_998_000, "floor": 2, "softmax": 5_120_000, "grid-half": 4_998_000}
PARAMETERS |= {"unet": 1_930_000}
"""Trained weights; a file without them, as that of segformer, has None."""
INITS = {"holohisto": "scratch", "floor": "pretrained: <mit>.pth"}
CLASSES = {"glomerulus": {"values": None, "colour": "#00c853"}}
OUT_OF_MEMORY = "CUDA out of memory in a tile of 3840 x 2160; lower infer.tile"
SCRIPT = "<script>alert('x')</script>"
MPP = 0.25
OFF_STAIN, FEW_CODES = "NEP25_02", "DN_09"
"""Slides whose tokens fall out of the cohort."""
READ_SLOWLY = "56Nx_08"
"""Slide that waited for its pixels, and whose tiles can be seen."""
