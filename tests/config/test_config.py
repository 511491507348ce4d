"""The configuration: mistakes, the schema, the table of keys, the requirements."""

import json
import os
import re
from pathlib import Path

import pytest
import yaml
from pydantic import BaseModel

from holohisto.config.config import Config
from holohisto.config.models import (
    BackboneModel,
    ColourThresholdModel,
    HolohistoModel,
    MasksModel,
    PixelModel,
    PixelOptions,
    TransformerModel,
)
from holohisto.config.parsing import parse_config, read_config, schema
from holohisto.config.sections import ClassOptions, InferOptions
from holohisto.config.steps import as_json
from holohisto.config.training import TokenizerOptions
from holohisto.errors import HolohistoError

ROOT = Path(__file__).parents[2]
REFERENCE = ROOT / "docs" / "configuration.md"
SCHEMA = ROOT / "config" / "config.schema.json"
START, END = "<!-- keys: made by `make reference` -->\n", "<!-- end of keys -->\n"
WRITE = os.environ.get("HOLOHISTO_WRITE_REFERENCE")


def mistakes(data):
    with pytest.raises(HolohistoError) as caught:
        parse_config(data)
    return str(caught.value).splitlines()


def test_every_mistake_is_told_at_once_with_key_value_and_limit():
    assert mistakes({"infer": {"overlap": 1.5, "ovrlap": 0.2}, "seed": -1}) == [
        "config: seed: Input should be greater than or equal to 0 (found -1)",
        "config: infer.overlap: Input should be less than or equal to 0.75 (found 1.5)",
        "config: infer.ovrlap: unknown key; the keys are listed in docs/configuration.md",
    ]


def test_mistakes_in_models_name_the_model_and_the_key():
    lines = mistakes({"models": {"a": {"size": "T"}, "b": {"kind": "holohisto", "size": "XXL"}}})
    assert lines[0].startswith("config: models.a.kind: missing")
    assert lines[1].startswith("config: models.b.size: Input should be 'T'")


def test_masks_from_elsewhere_need_a_pattern():
    models = {"winner": {"kind": "masks", "masks": "winner/{slide}.tif"}}
    model = parse_config({"models": models}).models["winner"]
    assert model.of("DN-1") == Path("winner/DN-1.tif")
    for pattern, problem in (("a.tif", "must have {slide}"), ("{slide}/{class}.tif", "other {")):
        line = mistakes({"models": {"winner": {"kind": "masks", "masks": pattern}}})[0]
        assert line.startswith("config: models.winner.masks: ")
        assert problem in line
    assert (
        "models.winner.masks: Field required"
        in mistakes({"models": {"winner": {"kind": "masks"}}})[0]
    )


@pytest.mark.parametrize("name", ["a/b", "../a", "-a", "a b", "{a}", ""])
def test_names_that_could_not_be_files_are_refused(name):
    assert "must match" in mistakes({"models": {name: {"kind": "colour_threshold"}}})[0]


def test_reference_must_be_a_model_and_is_the_first_by_default():
    models = {"b": {"kind": "colour_threshold"}, "a": {"kind": "holohisto"}}
    assert parse_config({"models": models}).reference_model == "b"
    assert parse_config({"models": models, "reference": "a"}).reference_model == "a"
    assert "'c' is not one of ['a', 'b']" in mistakes({"models": models, "reference": "c"})[0]


def test_choices_of_numbers_may_come_as_text_from_the_command_line():
    parsed = parse_config({"foreground": {"cell": "32"}, "tokens": {"orientations": "1"}})
    assert (parsed.foreground.cell, parsed.tokens.orientations) == (32, 1)
    for wrong, shown in (("7", "7"), ("-1", "'-1'"), ("", "''"), ("one", "'one'")):
        assert mistakes({"tokens": {"orientations": wrong}}) == [
            f"config: tokens.orientations: Input should be 1 or 8 (found {shown})"
        ]


def test_sections_as_json_hold_defaults_and_come_back_equal():
    parsed = parse_config({"infer": {"overlap": 0.5}})
    text = as_json(parsed)
    assert json.loads(text["infer"])["threshold"] == 0.5
    assert InferOptions.model_validate_json(text["infer"]) == parsed.infer
    assert TokenizerOptions.model_validate_json(text["tokenizer"]) == parsed.tokenizer


def test_precision_alters_a_training_by_itself_in_mode_online_only():
    """Elsewhere it alters the token maps, which alter the training."""
    online, frozen = (
        as_json(parse_config({"tokens": {"mode": mode, "precision": "bf16"}}))["train_tokens"]
        for mode in ("online", "frozen")
    )
    assert json.loads(online) == {"mode": "online", "precision": "bf16"}
    assert json.loads(frozen) == {"mode": "frozen"}


@pytest.mark.parametrize("text", ["- 1", "a: [", "3"])
def test_files_that_hold_no_mapping_are_refused(tmp_path, text):
    path = tmp_path / "c.yaml"
    path.write_text(text)
    with pytest.raises(HolohistoError, match=re.escape(str(path))):
        read_config(path)


@pytest.mark.parametrize("path", sorted((ROOT / "config").glob("*.yaml")), ids=lambda p: p.stem)
def test_the_given_configurations_are_valid_and_point_editors_to_the_schema(path):
    read_config(path)
    assert path.read_text().startswith("# yaml-language-server: $schema=config.schema.json\n")


def test_the_schema_is_in_sync():
    if WRITE:
        SCHEMA.write_text(schema())
    assert SCHEMA.read_text() == schema(), "run `make reference`"


def test_about_thirty_keys_are_for_experts():
    """Most users meet the common ones alone."""
    experts, common = (len(lines(chosen)) for chosen in (expert, lambda field: not expert(field)))
    assert 30 <= experts <= 60
    assert common < 80


def test_the_table_of_keys_is_in_sync():
    text = REFERENCE.read_text()
    before, rest = text.split(START)
    table, after = rest.split(END)
    if WRITE:
        REFERENCE.write_text(before + START + keys() + END + after)
        return
    assert table == keys(), "run `make reference`"


def keys() -> str:
    """Two tables with one line per key, default and description: common keys, expert keys."""
    common = "".join(lines(lambda field: not expert(field)))
    experts = "".join(lines(expert))
    head = "| key | default | description |\n|---|---|---|\n"
    return f"### Common\n\n{head}{common}\n### Expert\n\n{head}{experts}"


def expert(field) -> bool:
    return bool((field.json_schema_extra or {}).get("expert"))


def lines(chosen) -> list[str]:
    """The lines of all keys whose field is chosen, in the order of the configuration."""
    found = []
    for name, field in Config.model_fields.items():
        value = field.get_default()
        if isinstance(value, BaseModel):
            found += section(name, type(value), chosen)
        elif chosen(field):
            found.append(line(name, field))
    for name, options, known in kinds():
        found += section(name, options, chosen, known)
    return found


def kinds():
    """Sections that are repeated for each class and model."""
    yield "classes.NAME", ClassOptions, None
    yield "models.NAME, holohisto", HolohistoModel, None
    yield "models.NAME, colour_threshold", ColourThresholdModel, None
    yield "models.NAME, over pixels", PixelModel, None
    yield "models.NAME, with backbone", BackboneModel, PixelModel
    yield "models.NAME, over a ViT", TransformerModel, BackboneModel
    for arm in PixelOptions.__args__:
        shared = next(
            s for s in (TransformerModel, BackboneModel, PixelModel) if issubclass(arm, s)
        )
        yield f"models.NAME, {arm.model_fields['kind'].default}", arm, shared
    yield "models.NAME, masks", MasksModel, None


def section(name: str, options: type[BaseModel], chosen, known=None) -> list[str]:
    """The chosen fields that `known` does not have, or has another default of; nested ones too."""
    shared = known.model_fields if known else {}
    found = []
    for key, field in options.model_fields.items():
        default = None if field.is_required() else field.get_default()
        if key in shared and shared[key].default == field.default:
            continue
        if isinstance(default, BaseModel):
            if chosen(field):
                for inner, value in default.model_dump().items():
                    text = type(default).model_fields[inner].description
                    found.append(f"| `{name}.{key}.{inner}` | `{value}` | {text} |\n")
        elif chosen(field):
            found.append(line(f"{name}.{key}", field))
    return found


def line(name: str, field) -> str:
    assert field.description or name == "classes", f"{name} has no description"
    if field.is_required():
        return f"| `{name}` | *required* | {field.description} |\n"
    default = yaml.safe_dump(plain(field.get_default()), default_flow_style=True, width=1000)
    default = default.replace("...", "").strip().replace("null", "")
    return f"| `{name}` | {f'`{default}`' if default else ''} | {field.description} |\n"


def plain(value):
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json", exclude_none=True)
    return (
        list(value)
        if isinstance(value, tuple)
        else str(value)
        if isinstance(value, Path)
        else value
    )


LOCK = (ROOT / "requirements.lock").read_text()
LOCKED = dict(re.findall(r"^([a-z0-9-]+)==(\S+)", LOCK, flags=re.M))
WANTED = dict(
    re.findall(
        r"^([a-z0-9-]+)(?:\[\w+\])?==(\S+)", (ROOT / "requirements.in").read_text(), flags=re.M
    )
)


def test_the_lock_holds_what_is_wanted_exactly():
    assert WANTED.items() <= LOCKED.items()
    assert LOCK.count("--hash=sha256:") >= len(LOCKED) > 100


def test_the_lock_keeps_out_what_breaks_or_weighs_gigabytes():
    """torchvision's published build fails beside a CPU torch; cupy and nvidia are never needed."""
    assert not [name for name in LOCKED if re.match(r"torch(vision)?$|nvidia|cupy|cuda", name)]
    assert "://" not in LOCK


def test_every_dependency_of_the_package_is_locked_or_torch():
    text = (ROOT / "pyproject.toml").read_text()
    dependencies = re.search(r"^dependencies = \[(.*?)\n\]", text, flags=re.M | re.S).group(1)
    names = {re.sub(r"\[.*", "", name) for name in re.findall(r'"([^"]+)"', dependencies)}
    assert names - set(WANTED) == {"torch"}


def test_a_section_given_in_part_keeps_its_other_defaults():
    """The tokenizer's augmentation has defaults of its own, which a single key must not change."""
    for section in ("tokenizer", "tokens", "train"):
        usual = getattr(Config(), section).augmentation
        parsed = parse_config({section: {"augmentation": {"brightness_jitter": 0.3}}})
        changed = getattr(parsed, section).augmentation
        assert changed == usual.model_copy(update={"brightness_jitter": 0.3})


def test_the_codebook_of_levels_fits_into_16_bits():
    assert parse_config({"tokenizer": {"levels": [8, 8, 8, 8, 8]}})
    for levels, problem in (
        ([16, 16, 16, 16], "a codebook of 65536 codes is over 65534"),
        ([8, 1], "tokenizer.levels.1: Input should be greater than or equal to 2"),
        ([8], "at least 2"),
    ):
        line, *_ = mistakes({"tokenizer": {"levels": levels}})
        assert line.startswith("config: tokenizer.levels")
        assert problem in line


@pytest.mark.parametrize(
    "options",
    [
        {"channels": 1_000_000},
        {"channels": 8192, "multipliers": [1, 4]},
        {"multipliers": [1, 1000]},
        {"residual_blocks": 10_000},
    ],
)
def test_a_tokenizer_that_no_memory_holds_is_refused(options):
    with pytest.raises(HolohistoError, match=r"tokenizer"):
        parse_config({"tokenizer": options})
