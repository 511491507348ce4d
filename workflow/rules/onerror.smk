from pathlib import Path
from types import SimpleNamespace


def drop_outdated():
    """Remove outdated scores and overlays: those whose jobs should have run again but did not."""
    for job in workflow.dag.needrun_jobs():
        for file in map(Path, job.output):
            if file.match("metrics/*.json") or file.match("overlays/*.jpg"):
                file.unlink(missing_ok=True)


# Looked up here: in a workflow that uses this one as a module, the rules have other names.
last_steps = [rules.cohort.rule, rules.gallery.rule, rules.report.rule]


def run_on_finished_inputs(step):
    """Run the command of a cohort rule although some of its inputs failed."""
    values = {key: value(None) if callable(value) else value for key, value in step.params.items()}
    shell(step.shellcmd, params=SimpleNamespace(**values), log=step.log, output=step.output)


# After a failure, tables and report are made from the other slides and list those that failed.
onerror:
    drop_outdated()
    for step in last_steps:
        run_on_finished_inputs(step)
