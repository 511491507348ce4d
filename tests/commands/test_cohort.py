"""`holohisto cohort` over a fabricated tree of metrics."""

import json

import pandas as pd
import pytest
import report_fixture

from holohisto import cli
from holohisto.runtime.results import Results


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = report_fixture.build(tmp_path_factory.mktemp("run"), side=64)
    assert cli.main(report_fixture.arguments(folder)["cohort"]) == 0
    return folder


def read(folder, name):
    return pd.read_csv(folder / f"results/cohort/{name}.tsv", sep="\t")


def test_slides_hold_the_scores_of_the_test_split_only(folder):
    table = read(folder, "slides")
    assert set(table["split"]) == {"test"}
    # ten test slides: the last is excluded, one failed in check, one in infer of holohisto
    assert table.groupby("model").size().to_dict() == {"holohisto": 7, "floor": 8}
    row = table[(table["model"] == "floor") & (table["slide"] == "DN_09")].iloc[0]
    record = json.loads((folder / "results/models/floor/metrics/DN_09.json").read_text())
    scores = record["classes"]["glomerulus"]
    assert row["dice_foreground"] == pytest.approx(scores["foreground"]["dice"], rel=1e-8)
    assert row["tiles"] == len(scores["tiles"])
    assert row["objects_fp"] == scores["objects"]["fp"]
    assert (row["group"], row["subject"]) == ("DN", "test4")
    assert row["pretrained"] == "pretrained: <mit>.pth"


def test_groups_follow_from_slides(folder):
    slides, groups = read(folder, "slides"), read(folder, "groups")
    own = slides[slides["model"] == "holohisto"]
    means = own.groupby("group")["dice_foreground"].mean()
    table = groups[groups["model"] == "holohisto"].set_index("group")["dice_mean"]
    for group, mean in means.items():
        assert table[group] == pytest.approx(mean, rel=1e-8)
    assert table["All"] == pytest.approx(means.mean(), rel=1e-8)
    inits = groups.groupby("model")["pretrained"].unique().map(list).to_dict()
    assert inits == {"holohisto": ["scratch"], "floor": ["pretrained: <mit>.pth"]}
    assert table["pooled"] == pytest.approx(own["dice_foreground"].mean(), rel=1e-8)


def test_comparisons_pair_the_slides_both_have(folder):
    table = read(folder, "comparisons").set_index(["level", "scope"])
    row = table.loc[("slides", "All")]
    assert (row["reference"], row["model"], row["n"]) == ("holohisto", "floor", 7)
    assert row["p"] == pytest.approx(2 / 2**7)
    assert row["result"] == "higher"
    assert row["effect"] == 1.0
    assert (row["p_least"], row["n_needed"]) == (2 / 2**7, 6)
    assert table.loc[("slides", "normal"), "result"] == "n too small"


def test_every_table_says_what_the_training_of_a_model_began_from(folder):
    inits = {"holohisto": "scratch", "floor": "pretrained: <mit>.pth"}
    for name in ("slides", "groups", "comparisons", "objects", "distributions"):
        table = read(folder, name)
        assert len(table) > 0
        assert (table["pretrained"] == table["model"].map(inits)).all()
    assert set(read(folder, "comparisons")["reference_pretrained"]) == {"scratch"}


def test_objects_are_one_row_each(folder):
    table = read(folder, "objects")
    counts = read(folder, "slides")
    assert len(table) == (counts["objects_tp"] + counts["objects_fp"]).sum()
    assert set(table["matched"]) == {"yes", "no"}


def test_one_model_gives_a_header_only(folder, tmp_path):
    words = report_fixture.arguments(folder)["cohort"]
    words[words.index("--models") + 1] = "holohisto"
    words[words.index("--output") + 1] = str(tmp_path)
    assert cli.main(words) == 0
    text = (tmp_path / "comparisons.tsv").read_text()
    assert text.startswith(
        "class\tlevel\tscope\treference\tmodel\treference_pretrained\tpretrained\tn"
    )
    assert text.count("\n") == 1


def test_no_scores_give_headers_only(folder, tmp_path):
    words = report_fixture.arguments(folder)["cohort"]
    words[words.index("--results") + 1] = str(tmp_path)
    words[words.index("--output") + 1] = str(tmp_path)
    assert cli.main(words) == 0
    for name in ("slides", "groups", "comparisons", "objects"):
        assert (tmp_path / f"{name}.tsv").read_text().count("\n") == 1


def test_broken_metrics_are_an_error_that_names_the_file(folder, tmp_path, capsys):
    words = report_fixture.arguments(folder)["cohort"]
    words[words.index("--results") + 1] = str(tmp_path)
    path = Results(tmp_path).metrics("holohisto", "DN_09")
    path.parent.mkdir(parents=True)
    path.write_text("{")
    assert cli.main(words) == 2
    assert "DN_09.json: is damaged: no JSON" in capsys.readouterr().err


def test_unknown_reference_is_an_error(folder, capsys):
    words = report_fixture.arguments(folder)["cohort"]
    words[words.index("--reference") + 1] = "unet"
    assert cli.main(words) == 2
    assert "found unet" in capsys.readouterr().err


def test_a_group_cannot_be_called_all(tmp_path, capsys):
    lines = ["slide\timage\tannotation\tsplit\tgroup", "a\ta.tiff\ta.png\ttest\tall"]
    (tmp_path / "slides.tsv").write_text("\n".join(lines) + "\n")
    words = report_fixture.arguments(tmp_path)["cohort"]
    assert cli.main(words) == 2
    assert "line 2, column group: 'all' is reserved" in capsys.readouterr().err
