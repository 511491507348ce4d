"""Paths and values that reach a shell, Snakemake or a command line."""

import os
import random
import string
import subprocess

import pytest
from snakemake.common import dict_to_key_value_args
from snakemake_interface_executor_plugins.utils import format_cli_arg

from holohisto import cli
from holohisto.config.parsing import parse_config
from holohisto.errors import HolohistoError
from holohisto.runtime.paths import expanded, require_plain, unfit

REFUSED = {
    "a$(touch x).tif": "'$' in it",
    "a`touch x`.tif": "'`' in it",
    'a"b.tif': "'\"' in it",
    "a\\b.tif": "'\\\\' in it",
    "a{slide}.tif": "'{' in it",
    "a<script>.tif": "'<' in it",
    "a\nb.tif": "'\\n' in it",
    "a.tif\n": "'\\n' in it",
    "a\xa0b.tif": "'\\xa0' in it",
    "a\udcffb.tif": "'\\udcff' in it",
    "--sheet=x.tif": "'-' at its start",
    "'a';touch x;'b.tif": '"\'" at its start',
    "a.png[memory]": "']' at its end",
    f"{'a' * 240}.tif": "a name of 244 bytes in it",
}
ALLOWED = (
    "slides/O'Neil #1 (a) & b;c|d>e!.tif",
    "/data/Müller 三/a[1].tif",
    "a-b.tif",
    "~a*?.tif",
)


def words_of_a_job(command: str) -> list[str]:
    """What a job's program receives, passed on as the SLURM plugin does: `sbatch --wrap="..."`."""
    escaped = command.replace('"', '\\"')
    script = subprocess.check_output(["sh", "-c", f'printf %s "{escaped}"'], text=True)
    shown = subprocess.check_output(["sh", "-c", f"printf '%s\\0' {script}"], text=True)
    return shown.split("\0")[:-1]


@pytest.mark.parametrize("path", REFUSED)
def test_what_a_shell_or_a_library_reads_is_refused(path):
    assert unfit(path) == REFUSED[path]
    with pytest.raises(HolohistoError, match=r"config: slides: has .* in it|at its|a name of"):
        parse_config({"slides": path})


def test_a_path_that_is_allowed_reaches_a_job_of_the_plugin_unchanged():
    random.seed(23)
    letters = string.printable + "äß三\xa0\udcff"
    drawn = ["".join(random.choices(letters, k=random.randint(1, 12))) for _ in range(3000)]
    paths = [*ALLOWED, *(path for path in drawn if unfit(path) is None)]
    assert len(paths) > 200
    command = format_cli_arg("--wait-for-files", paths)
    assert words_of_a_job(command) == ["--wait-for-files", *paths]


def test_a_value_that_is_allowed_reaches_a_job_of_the_plugin_unchanged():
    values = {"scratch": "env:TMPDIR", "report": {"title": "Neil & co; (2026)"}, "seed": 3}
    require_plain(values)
    command = format_cli_arg("--config", dict_to_key_value_args(values, repr_obj=True))
    assert words_of_a_job(command) == [
        "--config",
        "scratch='env:TMPDIR'",
        "report={'title': 'Neil & co; (2026)'}",
        "seed=3",
    ]


@pytest.mark.parametrize(
    ("values", "key"),
    [
        ({"scratch": "$TMPDIR"}, "scratch"),
        ({"report": {"title": "a`id`"}}, "report.title"),
        ({"classes": {"a$b": {}}}, "classes.a$b"),
        ({"models": {"m": {"weights": 'a"b'}}}, "models.m.weights"),
        ({"infer": {"splits": ["test", "a\\b"]}}, "infer.splits"),
        ({"slides": "-x"}, "slides"),
        ({"report": {"title": "O'; touch x; '"}}, "report.title"),
    ],
)
def test_a_value_of_the_command_line_that_a_shell_reads_is_refused(values, key):
    with pytest.raises(HolohistoError) as caught:
        require_plain(values)
    assert str(caught.value).startswith(f"--config: {key}: would be read by a shell")


def test_masks_of_another_tool_have_a_path_that_is_allowed():
    with pytest.raises(HolohistoError, match=r"masks: has '\$' in it"):
        parse_config({"models": {"m": {"kind": "masks", "masks": "$(id)/{slide}.tif"}}})


@pytest.mark.parametrize("name", ["a\n", "a" * 65, "/../../archive/slide1"])
def test_a_name_of_a_class_cannot_leave_its_folder(name):
    with pytest.raises(HolohistoError, match="must match"):
        parse_config({"classes": {name: {}}, "mask": {"split_touching": {}}})


def test_variables_take_the_values_of_the_process(monkeypatch):
    monkeypatch.setenv("HOLOHISTO_PLACE", "/place")
    monkeypatch.delenv("HOLOHISTO_NONE", raising=False)
    assert str(expanded("env:HOLOHISTO_PLACE")) == str(expanded("$HOLOHISTO_PLACE")) == "/place"
    assert str(expanded("env:HOLOHISTO_NONE")) == "env:HOLOHISTO_NONE"  # no such folder: an error


@pytest.mark.parametrize("verb", ["check", "foreground"])
def test_a_pipe_is_refused_instead_of_awaited(tmp_path, capsys, verb):
    os.mkfifo(tmp_path / "a.tif")
    record = ["--record", str(tmp_path / "r.json"), "--foreground", str(tmp_path / "f.tif")]
    rest = ["--slide", "a", "--output", str(tmp_path / "r.json")] if verb == "check" else record
    more = [] if verb == "check" else ["--picture", str(tmp_path / "p.jpg")]
    assert cli.main([verb, str(tmp_path / "a.tif"), *rest, *more]) == 2
    assert f"--image: {tmp_path}/a.tif is a pipe or device" in capsys.readouterr().err
