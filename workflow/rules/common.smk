import os
import sys
from pathlib import Path

from holohisto.config.steps import script_safe
from holohisto.errors import HolohistoError
from holohisto.planning.workflow import Plan, any_of, scaled
from holohisto.runtime import gpus, paths
from holohisto.segmenter import given
from holohisto.sheet.rows import drawn_files
from holohisto.slide.integrity import file_bytes

# Jobs run the `holohisto` beside this Python, even if its environment is not activated.
os.environ.update(
    PATH=os.pathsep.join([str(Path(sys.executable).parent), os.getenv("PATH", os.defpath)]),
    PYTHONSAFEPATH="1",  # jobs import nothing from the folder of the run, such as a yaml.py
)


# The executor is not known yet when this file is read; only that of a cluster limits `nodes`.
on_this_machine = workflow.is_main_process and workflow.resource_settings.nodes is None


try:
    plan = Plan.read(config)
    checkpoint_files = plan.checkpoint_files
    if on_this_machine and "SLURM_JOB_ID" not in os.environ:
        plan.require_one_node()
    # Once in a run, not in each of its jobs; and not for --lint, which needs no files.
    if workflow.is_main_process and workflow.check_envvars:
        plan.require_files(given.mistakes(plan.settings, plan.results))
    # Jobs of a cluster receive these on a command line.
    if workflow.is_main_process:
        paths.require_plain(workflow.config_settings.config)
        paths.require_plain({"folder": str(Path.cwd())}, "the run")
except HolohistoError as error:
    sys.stderr.write(f"{error}\n")
    sys.exit(2)


cfg, rows = plan.settings, plan.rows
cell, fields, flag, options = plan.cell, plan.fields, plan.flag, plan.options
memory, minutes = plan.memory, plan.minutes


wildcard_constraints:
    slide=plan.slide_pattern(),
    model=any_of(cfg.models),


# Each job on this machine uses one GPU, so as many run at once as there are GPUs, unless
# --resources gpu=N is given. A limit in a profile would also apply to a cluster
# and reduce `gpu: 4`.
if on_this_machine and "gpu" not in workflow.global_resources and (visible := gpus.visible()):
    workflow.register_resource("gpu", len(visible))


def companions(wildcards):
    """Return the other files of a slide that consists of several, such as MIRAX or DICOM."""
    return file_bytes(rows[wildcards.slide].image)[1:]


def gpus_of_a_node(wildcards):
    """Return the option of sbatch without which nodes may get different numbers of GPUs."""
    gpu_model = train_rule.resources.get("gpu_model").raw  # before its evaluation
    return plan.gpus_per_node(gpu_model)
