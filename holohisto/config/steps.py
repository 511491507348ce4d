"""The configuration as each rule's `params` hold it."""

import json

from holohisto.config.config import Config


def as_json(config: Config) -> dict[str, str]:
    """Each section as the JSON text that its verb reads.

    Defaults are in it too, so that a default changed by a new release reruns its step. `values` are
    the classes without their colours, which most steps have no use for; `train_tokens` is what of
    the tokens' options training goes by, beside the maps; `tokens_as_it_is` those of a slide that
    is not trained on, which is encoded once.
    """
    sections = config.model_dump(mode="json")
    sections["infer"].pop("splits")  # which slides, not how
    for speed_only in ("devices", "nodes", "activation_checkpointing"):
        sections["train"].pop(speed_only)
    sections["train_tokens"] = {"mode": sections["tokens"]["mode"]}
    sections["tokens_as_it_is"] = config.tokens.as_it_is.model_dump(mode="json")
    sections["values"] = {
        name: {"values": one["values"]} for name, one in sections["classes"].items()
    }
    sections["as_it_is"] = sections["mask"] | {
        "min_object_um2": 0.0,
        "max_hole_um2": 0.0,
        "split_touching": {},
        "min_probability": {},
    }
    return {name: json.dumps(value) for name, value in sections.items()}
