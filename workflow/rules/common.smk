import os
import re
import shlex
import sys
from pathlib import Path

from holohisto.config import checkpoint_files as checkpoints
from holohisto.config.parsing import parse_config
from holohisto.config.steps import as_json as steps
from holohisto.planning import resources as need
from holohisto.runtime import gpus
from holohisto.sheet import rows as sheet
from holohisto.sheet.cells import SLIDE_ID
from holohisto.errors import HolohistoError, SeveralErrors

# The jobs' `holohisto` is the one beside this Python, whether its environment is activated or not.
os.environ.update(
    PATH=os.pathsep.join([str(Path(sys.executable).parent), os.getenv("PATH", os.defpath)])
)


def missing_files():
    """Files that sheet and configuration name and that are not there, one line each."""
    given = {
        f"models.{name}.{key}": getattr(model, key, None)
        for name, model in computed.items()
        for key in ("weights", "pretrained")
    }
    given["tokenizer.checkpoint"] = cfg.tokenizer.checkpoint
    given |= {
        f"models.{name}.masks, slide {slide}": model.of(slide)
        for name, model in from_elsewhere.items()
        for slide, row in rows.items()
        if row.split in cfg.infer.splits
    }
    return sheet.missing_files(cfg.slides, rows.values()) + [
        f"config: {key}: no such file: {file}"
        for key, file in given.items()
        if file and not file.exists()
    ]


def nothing_to_train_on():
    """What would be trained in a cohort without slides to train on."""
    if any(row.split == "train" for row in rows.values()):
        return []
    names = [f"model {name}" for name, model in computed.items() if not model.weights]
    if cfg.over_tokens and not cfg.tokenizer.checkpoint:
        names.insert(0, "the tokenizer")
    return names


# The executor is not known yet while this is read: only a cluster's has jobs and no cores.
on_this_machine = workflow.is_main_process and workflow.resource_settings.nodes is None


try:
    cfg = parse_config(config)
    rows = sheet.read_sheet(cfg.slides, tuple(cfg.classes))
    rows = {slide: row for slide, row in rows.items() if not row.exclude}
    computed, from_elsewhere = cfg.computed, cfg.from_elsewhere
    if untrained := nothing_to_train_on():
        raise HolohistoError(
            cfg.slides,
            f"no slide has the split train, but {', '.join(untrained)} would be trained",
            advice="mark slides as train, or give trained ones with `tokenizer.checkpoint:` and"
            " the models' `weights:`",
        )
    checkpoint_files = (
        checkpoints.files(cfg.tokenizer.checkpoint) if cfg.tokenizer.checkpoint else []
    )
    if on_this_machine and cfg.train.nodes > 1 and "SLURM_JOB_ID" not in os.environ:
        raise HolohistoError(
            "config: train.nodes",
            "several nodes are for SLURM",
            found=cfg.train.nodes,
            allowed=1,
            advice="run snakemake with --profile slurm, or leave the key out",
        )
    # Once in a run, not in each of its jobs; and not by --lint, which asks for no files.
    if workflow.is_main_process and workflow.check_envvars and (missing := missing_files()):
        raise SeveralErrors(missing)
except HolohistoError as error:
    sys.stderr.write(f"{error}\n")
    sys.exit(2)


def slide_pattern():
    """What an id looks like. A list of all ids would make planning quadratic in the cohort, so it is
    used only where `{slide}_{class}` could be taken apart in two ways."""
    if any(one.endswith(f"_{other}") for one in cfg.classes for other in cfg.classes):
        return "|".join(re.escape(slide) for slide in rows)
    return SLIDE_ID.pattern.strip("^$")


wildcard_constraints:
    slide=slide_pattern(),
    model="|".join(cfg.models),


# Jobs on this machine use one GPU each, and as many run as there are GPUs, unless --resources gpu=N
# says otherwise. A limit in a profile would also hold on a cluster, and cut a job's `gpu: 4` down.
if on_this_machine and "gpu" not in workflow.global_resources and (there := gpus.visible()):
    workflow.register_resource("gpu", len(there))


def slides(*splits, annotated=False):
    """Ids of the slides of these splits."""
    chosen = [row for row in rows.values() if row.split in splits]
    return [row.slide for row in chosen if row.annotation or not annotated]


learned = slides("train", "val")
segmented = slides(*cfg.infer.splits)
scored = slides(*cfg.infer.splits, annotated=True)
segmenters = [
    model.weights or f"results/models/{name}/segmenter.safetensors"
    for name, model in computed.items()
]
to_train = [name for name, model in computed.items() if not model.weights]
over_tokens = cfg.over_tokens
encoded = [slide for slide, row in rows.items() if cfg.encodings(row.split)]
as_json = steps(cfg)
NEVER = "(?!)"  # matches no model
online = cfg.tokens.mode == "online"
online_tokenizer = ["results/tokenizer/tokenizer.safetensors"] if online else []


def options(section):
    """The section's JSON; a callable, because Snakemake reads { } in plain strings as wildcards."""
    return lambda wildcards: as_json[section]


def token_options(wildcards):
    """The section `tokens`, without what concerns training slides only where the slide is none."""
    taught = rows[wildcards.slide].split == "train"
    return as_json["tokens" if taught else "tokens_single_variant"]


def cleaning(wildcards):
    """The section `mask`; masks from elsewhere are taken as they are."""
    return as_json["mask_uncleaned" if wildcards.model in from_elsewhere else "mask"]


def fields(ids, *columns):
    """What a step over many slides takes from the sheet, which itself is no input."""
    text = str([[str(getattr(rows[slide], column)) for column in columns] for slide in ids])
    return lambda wildcards: text


def cell(column):
    """A file that the slide's row names, or none."""
    return lambda wildcards: getattr(rows[wildcards.slide], column) or []


def if_over_tokens(files):
    """These files for models that read tokens, none for those that read pixels only."""
    return lambda wildcards: files if wildcards.model in over_tokens else []


def token_maps(ids):
    """Token maps of these slides; there are none in mode online."""
    return [] if online else expand("results/tokens/{slide}.safetensors", slide=ids)


def pretrained(wildcards):
    """The file that the model's training starts from, or none."""
    return getattr(cfg.models[wildcards.model], "pretrained", None) or []


def flag(name, column):
    """`--name value` of the slide's row, or nothing where the cell is empty."""

    def text(wildcards):
        value = getattr(rows[wildcards.slide], column)
        value = ",".join(value) if isinstance(value, tuple) else value
        return "" if value is None else f"{name} {shlex.quote(str(value))}"

    return text


def scaled(amount):
    """Megabytes or minutes, more with every retry."""
    return lambda wildcards, attempt: amount * attempt


def needed(rule, slide):
    """Memory and time by the slide's size, once `check` has found it; looked up at submission."""
    record = need.read_or_unseen(Path(f"results/check/{slide}.json"))
    return need.need_of(rule, record, rows[slide].split, cfg)


def memory(rule):
    """Megabytes for the rule's work on the slide, more with every retry."""
    return lambda wildcards, attempt: needed(rule, wildcards.slide).mem_mb * attempt


def minutes(rule):
    """Minutes for the rule's work on the slide, more with every retry."""
    return lambda wildcards, attempt: needed(rule, wildcards.slide).minutes * attempt


# On one node a single process starts those of the other GPUs; on several, srun starts all.
several_nodes = cfg.train.nodes > 1


def srun(wildcards, threads):
    """What goes before `holohisto train` on several nodes."""
    return (
        f"srun --nodes={cfg.train.nodes} --ntasks={cfg.train.nodes * cfg.train.devices}"
        f" --ntasks-per-node={cfg.train.devices} --cpus-per-task={threads} --kill-on-bad-exit=1"
    )


def gpus_of_a_node(wildcards):
    """For sbatch, which otherwise may give one node more GPUs than another."""
    model = train_rule.resources.get("gpu_model").raw  # of a profile, not evaluated yet
    of_model = f"{model}:" if model else ""
    return f"--gpus-per-node={of_model}{cfg.train.devices}"
