"""The workflow planned with the profile for SLURM and with a site's own."""

import os
import re
from collections import Counter

import pytest
import yaml
from planned_jobs import (
    empty_slides,
)
from tiny_cohort import (
    MODELS,
    ROOT,
    SPLITS,
    make_folder,
    snakemake,
)

pytestmark = pytest.mark.workflow


def test_the_slurm_profile_is_found_by_its_bare_name():
    link = ROOT / "slurm"
    assert link.is_symlink()
    assert os.readlink(link) == "profiles/slurm"


def test_a_dry_run_on_slurm_plans_gpu_jobs(copy):
    (copy / "slurm").symlink_to("profiles/slurm")
    text = snakemake(copy, "-n", "--forceall", "--profile", "slurm").stdout
    assert "Using profiles slurm and workflow specific profile profiles/default" in text
    gpu = re.findall(r"^rule (\w+):\n(?:    .*\n)*?    resources: .*gpu=1, .*$", text, flags=re.M)
    jobs = {"tokenizer": 1, "tokens": 5, "train": 2, "infer": 6, "token_value": 1}
    assert Counter(gpu) == jobs
    assert text.count("slurm_partition=gpu") == sum(jobs.values())
    ungrouped = re.findall(r"^rule (\w+):", text, flags=re.M)
    assert set(ungrouped) == {
        "tokenizer",
        "tokens",
        "train",
        "infer",
        "token_value",
        "cohort",
        "gallery",
        "report",
        "all",
    }
    blocks = re.findall(r"Group job (\w+).*\n((?:    .*\n|\n)+)", text)
    assert Counter(map(members, blocks)) == {
        **{("prepare", "check", "foreground", f"slide={slide}"): 1 for slide in SPLITS},
        **{
            ("deliver", "mask", *scores, f"model={model}, slide={slide}"): 1
            for model in MODELS
            for slide, scores in (("e1", ["metrics"]), ("e2", ["metrics"]), ("p1", []))
        },
    }


def members(group: tuple[str, str]) -> tuple[str, ...]:
    """Name, rules and wildcards of a group of a dry run; wildcards are listed once if all agree."""
    name, block = group
    rules = re.findall(r"^    rule (\w+):$", block, flags=re.M)
    wildcards = re.findall(r"^        wildcards: (.*)$", block, flags=re.M)
    return name, *sorted(rules), *sorted(set(wildcards))


def test_a_site_profile_replaces_what_it_names(tmp_path):
    folder = make_folder(tmp_path / "run")
    empty_slides(folder, SPLITS)
    (folder / "slurm").symlink_to("profiles/slurm")
    (folder / "site").mkdir()
    site = {"set-resources": {"infer": {"slurm_partition": "a100", "gpu_model": "a100"}}}
    (folder / "site" / "config.yaml").write_text(yaml.safe_dump(site))
    text = snakemake(folder, "-n", "--profile", "slurm", "--profile", "site").stdout
    assert len(re.findall(r"gpu=1, .*gpu_model=a100, slurm_partition=a100", text)) == 6
    assert "slurm_partition=gpu" not in text


def test_every_key_of_the_site_block_reaches_the_jobs(tmp_path):
    """The block as it stands, with its comments taken away."""
    folder = make_folder(tmp_path / "run")
    empty_slides(folder, SPLITS)
    head, site = (ROOT / "profiles/slurm/config.yaml").read_text().split("# ---- your site", 1)
    site = re.sub(r"^#( +\w+: |[\w-]+:)", r"\1", site.split("\n", 2)[2], flags=re.M)
    assert {"default-resources", "set-resources", "config", "slurm-status-command"} == set(
        yaml.safe_load(site)
    )
    (folder / "all").mkdir()
    (folder / "all" / "config.yaml").write_text(head + site)
    text = snakemake(folder, "-n", "--profile", "all").stdout
    jobs = dict(re.findall(r"^ *rule (\w+):\n(?: +.*\n)*? +resources: (.*)$", text, flags=re.M))
    asked = {
        rule: dict(item.split("=", 1) for item in text.split(", ")) for rule, text in jobs.items()
    }
    ours = {"slurm_account": "kidney", "qos": "normal", "constraint": "avx2"}
    for rule in ("check", "foreground", "mask", "metrics", "cohort", "report"):
        assert asked[rule].items() >= (ours | {"slurm_partition": "cpu"}).items()
        assert not {"gpu", "gpu_model"} & set(asked[rule])
    for rule in ("tokenizer", "tokens", "train", "infer", "token_value"):
        of_gpu = {"slurm_partition": "gpu", "gpu": "1", "gpu_model": "h200"}
        assert asked[rule].items() >= (ours | of_gpu).items()
    assert [asked[rule]["scratch"] for rule in ("tokens", "infer")] == ["env:TMPDIR"] * 2
