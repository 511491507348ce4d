import re
import shlex
import shutil
import sys

from holohisto import config as configuration
from holohisto import sheet
from holohisto.errors import HolohistoError

try:
    cfg = configuration.parse(config)
    rows = sheet.read(cfg.slides, tuple(cfg.classes))
    rows = {slide: row for slide, row in rows.items() if not row.exclude}
except HolohistoError as error:
    sys.stderr.write(f"{error}\n")
    sys.exit(2)


wildcard_constraints:
    slide="|".join(re.escape(slide) for slide in rows),
    model="|".join(cfg.models),


# Jobs on this machine share its GPU one at a time, unless --resources gpu=N allows more. A limit in
# a profile would also hold on a cluster, and cut a job's `gpu: 4` down to it.
if workflow.local_exec and not workflow.dryrun and shutil.which("nvidia-smi"):
    if workflow.is_main_process and "gpu" not in workflow.global_resources:
        workflow.register_resource("gpu", 1)


def slides(*splits, annotated=False):
    """Ids of the slides of these splits."""
    chosen = [row for row in rows.values() if row.split in splits]
    return [row.slide for row in chosen if row.annotation or not annotated]


learned = slides("train", "val")
segmented = slides(*cfg.infer.splits)
scored = slides(*cfg.infer.splits, annotated=True)
to_train = [name for name, model in cfg.models.items() if not model.weights]
over_tokens = [name for name, model in cfg.models.items() if model.kind == "holohisto"]
as_json = configuration.as_json(cfg)


def options(section):
    """The section's JSON; a callable, because Snakemake reads { } in plain strings as wildcards."""
    return lambda wildcards: as_json[section]


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
