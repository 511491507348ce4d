"""One line of progress for a run of the workflow."""

import io

from holohisto.demo.watch import watch

RUN = """Building DAG of jobs...
rule check:
    input: demo/slides/DN-1.tif
05:01:02 INFO check: done in 0.2 s
1 of 4 steps (25%) done
localrule report:
2 of 4 steps (50%) done
Error in rule train:
    jobid: 3
WorkflowError:
"""


class Terminal(io.StringIO):
    def isatty(self):
        return True


def watched(screen):
    log = io.StringIO()
    watch(RUN.splitlines(keepends=True), log, screen)
    assert log.getvalue() == RUN
    return screen.getvalue()


def test_a_terminal_shows_jobs_the_rule_and_errors():
    shown = watched(Terminal())
    assert "2/4 jobs" in shown.split("\r")[-1]
    assert "report" in shown.split("\r")[-1]
    assert "Error in rule train:\n" in shown
    assert "WorkflowError:\n" in shown
    assert "INFO" not in shown
    assert "jobid" not in shown


def test_elsewhere_only_errors_are_shown():
    assert watched(io.StringIO()) == "Error in rule train:\nWorkflowError:\n"
