from pathlib import Path
from types import SimpleNamespace


def drop_outdated():
    """Remove scores and overlays whose jobs were to run again but did not: they tell of the past."""
    for job in workflow.dag.needrun_jobs():
        for file in map(Path, job.output):
            if file.match("metrics/*.json") or file.match("overlays/*.jpg"):
                file.unlink(missing_ok=True)


# Kept here: as a module of another workflow, the rules have other names.
last_steps = [rules.cohort.rule, rules.gallery.rule, rules.report.rule]


def run_on_what_there_is(step):
    """Run the command of a cohort rule outside of the graph, after some of its inputs failed."""
    values = {key: get(None) if callable(get) else get for key, get in step.params.items()}
    shell(step.shellcmd, params=SimpleNamespace(**values), log=step.log, output=step.output)


# Some slides failed: tables and report are made of the others, and name those that failed.
onerror:
    drop_outdated()
    for step in last_steps:
        run_on_what_there_is(step)
