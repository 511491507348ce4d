"""The configuration as each rule's `params` hold it."""

import json

from holohisto.config.config import Config


def as_json(config: Config) -> dict[str, str]:
    """Return each section as the JSON text that its verb reads.

    Defaults are included, so that a release that changes a default reruns the step. Additional
    texts hold the part of a section that a step depends on: `values`, the classes without their
    colours; `train_tokens`, the token options that affect training in addition to the token maps;
    `tokens_single_variant`, the token options of slides that are encoded once; `mask_uncleaned`,
    the mask options of masks made by another tool.
    """
    sections = config.model_dump(mode="json")
    sections["infer"].pop("splits")  # selects slides, does not change them
    for speed_only in ("devices", "nodes", "activation_checkpointing"):
        sections["train"].pop(speed_only)
    in_training = {"mode", "precision"} if config.tokens.mode == "online" else {"mode"}
    sections["train_tokens"] = config.tokens.model_dump(mode="json", include=in_training)
    sections["tokens_single_variant"] = config.tokens.single_variant.model_dump(mode="json")
    sections["values"] = {
        name: {"values": options["values"]} for name, options in sections["classes"].items()
    }
    sections["mask_uncleaned"] = sections["mask"] | {
        "min_object_um2": 0.0,
        "max_hole_um2": 0.0,
        "split_touching": {},
        "min_probability": {},
    }
    return {name: script_safe(json.dumps(value)) for name, value in sections.items()}


def script_safe(text: str) -> str:
    """Return JSON without `<`: Snakemake's report puts parameters into a script, which it ends."""
    return text.replace("<", "\\u003c")
