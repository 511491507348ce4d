"""Report the resources of a job: cores, memory, GPU, scratch disk, versions, working readers."""

import argparse
import tempfile

from holohisto import __version__
from holohisto.planning import doctor
from holohisto.planning.doctor import Finding
from holohisto.runtime.paths import expanded
from holohisto.runtime.units import bytes_text

TRIAL_SIDE = 256
"""Side of the matrix that each GPU multiplies."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--scratch",
        default=tempfile.gettempdir(),
        metavar="DIR",
        help="node-local folder to examine, such as env:TMPDIR, the value of TMPDIR in the job",
    )
    parser.add_argument("--gpu", action="store_true", help="fail if torch cannot compute on a GPU")


def run(arguments: argparse.Namespace) -> None:
    scratch = expanded(arguments.scratch)
    findings = [
        Finding("holohisto", __version__),
        *doctor.examine(scratch, lambda: _torch(arguments.gpu)),
    ]
    width = max(len(finding.subject) for finding in findings)
    for finding in findings:
        print(f"{finding.subject:<{width}}  {finding.text}", flush=True)
    doctor.require_healthy(findings)


def _torch(wanted: bool) -> Finding:
    """GPUs on which torch computes correctly."""
    import torch

    version = f"torch {torch.__version__}"
    if not torch.cuda.is_available():
        return Finding("gpu", f"none for {version} (its CUDA: {torch.version.cuda})", bad=wanted)
    names = []
    for number in range(torch.cuda.device_count()):
        facts = torch.cuda.get_device_properties(number)
        trial = torch.ones(TRIAL_SIDE, TRIAL_SIDE, device=f"cuda:{number}")
        try:
            right = bool(((trial @ trial) == TRIAL_SIDE).all())
        except RuntimeError as error:
            return Finding("gpu", f"{facts.name}: {version} fails: {error}", bad=True)
        if not right:
            return Finding("gpu", f"{facts.name}: {version} computes wrongly", bad=True)
        names.append(f"{facts.name}, {bytes_text(facts.total_memory)}")
    return Finding("gpu", f"{'; '.join(names)}; {version}, CUDA {torch.version.cuda}")
