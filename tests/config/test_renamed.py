"""Former names of keys and kinds end in a line that names the present one."""

import pytest

from holohisto.config.config import Config
from holohisto.config.models import SegformerModel
from holohisto.config.parsing import parse_config
from holohisto.config.renamed import RENAMED, REPLACED
from holohisto.errors import HolohistoError


def mistakes(data):
    with pytest.raises(HolohistoError) as caught:
        parse_config(data)
    return str(caught.value).splitlines()


@pytest.mark.parametrize(("old", "new"), RENAMED.items())
def test_an_old_key_is_one_line_that_names_the_new_one(old, new):
    """Whatever its value; other mistakes are still reported beside it."""
    *sections, last = old.replace("*", "mine").split(".")
    data: dict = {last: 1}
    for name in reversed(sections):
        data = {name: data}
    if sections[:1] == ["models"]:
        data["models"]["mine"]["kind"] = "segformer"
    data["slide"] = "x"
    key, present = old.replace("*", "mine"), new.replace("*", "mine")
    assert sorted(mistakes(data)) == sorted(
        [
            f"config: {key}: is called {present} now; rename it",
            "config: slide: unknown key; the keys are listed in docs/configuration.md",
        ]
    )


@pytest.mark.parametrize(("old", "new"), REPLACED.items())
def test_a_key_that_another_replaced_is_one_line_that_names_it(old, new):
    section, key = old.split(".")
    assert mistakes({section: {key: 1024}}) == [
        f"config: {old}: was replaced by {new}; see docs/configuration.md"
    ]


def test_new_names_of_old_keys_exist():
    for new in (*RENAMED.values(), *REPLACED.values()):
        section, *keys = new.split(".")
        model = SegformerModel if section == "models" else Config.model_fields[section].annotation
        for key in keys[1:] if section == "models" else keys:
            assert key in model.model_fields, new
            model = model.model_fields[key].annotation


def test_an_old_kind_is_one_line_that_names_the_new_one():
    assert mistakes({"models": {"floor": {"kind": "threshold"}}}) == [
        "config: models.floor.kind: threshold is called colour_threshold now; rename it"
    ]
