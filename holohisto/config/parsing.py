"""Reading a configuration, with every mistake reported at once, and its JSON schema."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

from pydantic import TypeAdapter, ValidationError

from holohisto.config.config import Config
from holohisto.config.renamed import RENAMED_KINDS, REPLACED, new_name
from holohisto.config.text_files import read_yaml, shown
from holohisto.errors import HolohistoError, SeveralErrors


def parse_config(data: dict[str, Any], where: object = "config") -> Config:
    """Validate a configuration, reporting every mistake at once.

    Raises:
        HolohistoError: one line per mistake, `where: key: problem (found X)`.
    """
    try:
        return Config.model_validate(data)
    except RecursionError as error:
        raise HolohistoError(where, "is nested too deeply") from error
    except ValidationError as error:
        raise SeveralErrors([_mistake_line(where, item) for item in error.errors()]) from error


def read_config(path: Path) -> Config:
    """Read a YAML configuration file."""
    data = read_yaml(path)
    if not isinstance(data, dict):
        raise HolohistoError(path, "must hold a mapping of sections", found=type(data).__name__)
    return parse_config(cast(dict[str, Any], data), path)


def _mistake_line(where: object, item: Any) -> str:
    """Return one mistake that pydantic found as `where: key: problem (found X)`."""
    parts = list(item["loc"])
    if parts[:1] == ["models"] and len(parts) > 2:
        del parts[2]  # the kind, which pydantic puts between a model's name and its key
    key = ".".join(str(part) for part in parts) or "(whole)"
    if item["type"] == "extra_forbidden" and (new := new_name(parts)):
        return f"{where}: {key}: is called {new} now; rename it"
    if item["type"] == "extra_forbidden" and (new := REPLACED.get(key)):
        return f"{where}: {key}: was replaced by {new}; see docs/configuration.md"
    if item["type"] == "extra_forbidden":
        return f"{where}: {key}: unknown key; the keys are listed in docs/configuration.md"
    if item["type"] == "union_tag_not_found":
        return f"{where}: {key}.kind: missing; the kinds are listed in docs/configuration.md"
    if item["type"] == "union_tag_invalid" and (new := RENAMED_KINDS.get(item["ctx"]["tag"])):
        return f"{where}: {key}.kind: {item['ctx']['tag']} is called {new} now; rename it"
    problem = item["msg"].removeprefix("Value error, ")
    mappings = ("model_type", "dict_type", "model_attributes_type")
    if item["input"] is None and item["type"] in mappings:
        return f"{where}: {key}: empty; remove it or add keys"
    if not item["loc"]:  # the value found is the whole configuration
        return f"{where}: {problem}"
    return f"{where}: {key}: {problem} (found {shown(item['input'])})"


def from_json(kind: Any) -> Callable[[str], Any]:
    """Return the function that reads options of this kind from the JSON argument of a verb.

    Raises:
        HolohistoError: (from the returned function) one line per mistake.
    """

    def options(text: str) -> Any:
        try:
            return TypeAdapter(kind).validate_json(text)
        except RecursionError as error:
            raise HolohistoError("options", "are nested too deeply") from error
        except ValidationError as error:
            lines = [_mistake_line("options", item) for item in error.errors()]
            raise SeveralErrors(lines) from error

    return options


def schema() -> str:
    """Return the JSON schema of the configuration, the content of config/config.schema.json."""
    return json.dumps(Config.model_json_schema(), indent=2) + "\n"
