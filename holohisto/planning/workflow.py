"""What the workflow's rules process: their slides, files, parameters and resources.

Parameters are functions of the wildcards, because Snakemake reads { } in plain strings as
wildcards. `slide` and `model` are the wildcards of the rules.
"""

import json
import re
import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from holohisto.config import checkpoint_files
from holohisto.config.config import Config
from holohisto.config.parsing import parse_config
from holohisto.config.steps import as_json, script_safe
from holohisto.errors import HolohistoError, SeveralErrors
from holohisto.planning import named_files
from holohisto.planning.leaks import same_files
from holohisto.planning.resources import Need, need_of, read_or_unseen
from holohisto.runtime.results import Results
from holohisto.sheet import rows as sheet
from holohisto.sheet.cells import SLIDE_ID, Row

NOTHING = "(?!)"
"""A pattern that matches no name."""

Wildcards = Any
"""Snakemake's wildcards of a job: an object with the attributes `slide` and `model`."""


@dataclass(frozen=True)
class Plan:
    """The configuration and the slides of one run."""

    settings: Config
    rows: Mapping[str, Row]
    """Rows of the sheet that are not excluded, by slide, in the sheet's order."""
    results: Results = field(default_factory=Results)

    @classmethod
    def read(cls, values: dict[str, Any]) -> "Plan":
        """Parse a configuration and read the sheet that it names.

        Raises:
            HolohistoError: a mistake in the configuration or the sheet, or models would be trained
                without a slide to train on.
        """
        settings = parse_config(values)
        rows = sheet.read_sheet(settings.slides, tuple(settings.classes))
        plan = cls(settings, {slide: row for slide, row in rows.items() if not row.exclude})
        plan.require_training_slides()
        return plan

    def slides(self, *splits: str, annotated: bool = False) -> list[str]:
        """Return the slides of these splits; with `annotated`, only those with an annotation."""
        rows = self.rows.values()
        return [r.slide for r in rows if r.split in splits and (r.annotation or not annotated)]

    @property
    def learned(self) -> list[str]:
        """Slides used in training, validation included."""
        return self.slides("train", "val")

    @property
    def annotated_for_tokenizer(self) -> list[str]:
        """Slides whose annotations train the tokenizer; none for a checkpoint or weight 0."""
        options = self.settings.tokenizer
        learned = options.annotation_weight and not options.checkpoint
        return self.slides("train", annotated=True) if learned else []

    @property
    def segmented(self) -> list[str]:
        """Slides that every model segments."""
        return self.slides(*self.settings.infer.splits)

    @property
    def scored(self) -> list[str]:
        """Slides that are segmented and annotated."""
        return self.slides(*self.settings.infer.splits, annotated=True)

    @property
    def encoded(self) -> list[str]:
        """Slides that have a token map."""
        return [s for s, row in self.rows.items() if self.settings.encodings(row.split)]

    @property
    def token_value_split(self) -> str:
        """Split on which it is measured what the tokens add: `test`, else `val`."""
        return "test" if self._with_tokens("test") else "val"

    @property
    def token_value_slides(self) -> list[str]:
        """Annotated slides with a token map on which it is measured what the tokens add."""
        return self._with_tokens(self.token_value_split)

    @property
    def token_value_models(self) -> list[str]:
        """Models of which it is measured what the tokens add: those that read token maps."""
        return self.settings.over_tokens if self.token_value_slides else []

    def _with_tokens(self, split: str) -> list[str]:
        """Return the annotated slides of a split if its slides have token maps, else none."""
        return self.slides(split, annotated=True) if self.settings.encodings(split) else []

    @property
    def to_train(self) -> list[str]:
        """Models that this run trains."""
        return [name for name, model in self.settings.computed.items() if not model.weights]

    @cached_property
    def over_tokens(self) -> frozenset[str]:
        """Models that read tokens."""
        return frozenset(self.settings.over_tokens)

    def slide_pattern(self) -> str:
        """Return the regular expression of a slide's id.

        A list of all ids makes planning quadratic in the cohort. It is used only where
        `{slide}_{class}` has two readings: one class ends with another, as in `a` and `b_a`.
        """
        names = self.settings.classes
        if any(name.endswith(f"_{ending}") for name in names for ending in names):
            return "|".join(map(re.escape, self.rows))
        return SLIDE_ID.pattern.strip("^$")

    def require_training_slides(self) -> None:
        """Raise unless the sheet has a training slide or nothing is trained."""
        if any(row.split == "train" for row in self.rows.values()):
            return
        tokenizer = self.over_tokens and not self.settings.tokenizer.checkpoint
        names = ["the tokenizer"] * bool(tokenizer) + [f"model {name}" for name in self.to_train]
        if names:
            raise HolohistoError(
                self.settings.slides,
                f"no slide has the split train, but {', '.join(names)} would be trained",
                advice="mark slides as train, or give trained ones with `tokenizer.checkpoint:` and"
                " the models' `weights:`",
            )

    def require_one_node(self) -> None:
        """Raise if the configuration trains on several nodes, which only SLURM provides."""
        if self.settings.train.nodes > 1:
            raise HolohistoError(
                "config: train.nodes",
                "several nodes are for SLURM",
                found=self.settings.train.nodes,
                allowed=1,
                advice="run snakemake with --profile slurm, or leave the key out",
            )

    def require_files(self, unsuited: Sequence[str] = ()) -> None:
        """Raise one error that lists absent files, and pictures that are in several splits.

        It lists `unsuited`, lines about segmenters that do not suit the run, as well.
        """
        leaks = same_files(self.settings.slides, self.rows.values())
        if mistakes := [*self.missing_files(), *unsuited, *leaks]:
            raise SeveralErrors(mistakes)

    def missing_files(self) -> list[str]:
        """Return a line for each file that the sheet or the configuration names and is absent."""
        settings = self.settings
        masks = [
            f"config: models.{name}.masks, slide {slide}: no such file: {model.of(slide)}"
            for name, model in settings.from_elsewhere.items()
            for slide in self.segmented
            if not model.of(slide).exists()
        ]
        slides = sheet.missing_files(settings.slides, self.rows.values())
        return [*slides, *named_files.missing(settings), *masks]

    @property
    def checkpoint_files(self) -> list[Path]:
        """Files of the pretrained tokenizer; none where the run trains its own."""
        checkpoint = named_files.checkpoint_of(self.settings)
        return checkpoint_files.files(checkpoint) if checkpoint else []

    @property
    def segmenters(self) -> list[Path]:
        """Segmenter files of all models computed here, given or trained."""
        return [self.segmenter(name) for name in self.settings.computed]

    def segmenter(self, name: str) -> Path:
        """Return the segmenter file of a model, given or trained."""
        given = named_files.weights_of(self.settings.computed[name])
        return given or self.results.segmenter(name)

    def token_maps(self, slides: Iterable[str]) -> list[str]:
        """Return the token maps of these slides; mode online has none."""
        if self.settings.tokens.mode == "online":
            return []
        return [str(self.results.tokens(slide)) for slide in slides]

    @property
    def online_tokenizer(self) -> list[str]:
        """The tokenizer where inference encodes tiles itself (mode online), else none."""
        return [str(self.results.tokenizer)] if self.settings.tokens.mode == "online" else []

    def if_over_tokens(self, files: Any) -> Callable[[Wildcards], Any]:
        """Return the files for models that read tokens, none for models of pixels."""
        return lambda wildcards: files if wildcards.model in self.over_tokens else []

    def pretrained(self, wildcards: Wildcards) -> Path | list[Path]:
        """Return the weights from which the training of the model starts, or no file."""
        return named_files.pretrained_of(self.settings.computed[wildcards.model]) or []

    def cell(self, column: str) -> Callable[[Wildcards], Any]:
        """Return the file in a column of the slide's row, or no file."""
        return lambda wildcards: getattr(self.rows[wildcards.slide], column) or []

    @cached_property
    def json(self) -> dict[str, str]:
        """Sections of the configuration as JSON texts."""
        return as_json(self.settings)

    def options(self, section: str) -> Callable[[Wildcards], str]:
        """Return a section as JSON."""
        return lambda wildcards: self.json[section]

    def token_options(self, wildcards: Wildcards) -> str:
        """Return the section `tokens` as JSON: all variants for training slides, one for others."""
        training = self.rows[wildcards.slide].split == "train"
        return self.json["tokens" if training else "tokens_single_variant"]

    def tokenizer_classes(self, wildcards: Wildcards) -> str:
        """Return the classes whose annotations train the tokenizer, as JSON."""
        return self.json["values"] if self.annotated_for_tokenizer else "{}"

    def mask_options(self, wildcards: Wildcards) -> str:
        """Return the section `mask` as JSON; masks of another tool are not cleaned."""
        adopted = wildcards.model in self.settings.from_elsewhere
        return self.json["mask_uncleaned" if adopted else "mask"]

    def fields(self, slides: Iterable[str], *columns: str) -> Callable[[Wildcards], str]:
        """Return cells of the sheet as text, so that a change of them reruns the step.

        The sheet itself is no input: an edited row would rerun every slide.
        """
        rows = [self.rows[slide] for slide in slides]
        texts = json.dumps([[str(getattr(row, c)) for c in columns] for row in rows])
        return lambda wildcards: script_safe(texts)

    def flag(self, name: str, column: str) -> Callable[[Wildcards], str]:
        """Return `name value` with the cell of the slide's row, or nothing where it is empty."""

        def text(wildcards: Wildcards) -> str:
            value: str | float | Path | tuple[str, ...] | None
            value = getattr(self.rows[wildcards.slide], column)
            value = ",".join(value) if isinstance(value, tuple) else value
            return "" if value is None else f"{name} {shlex.quote(str(value))}"

        return text

    def need(self, rule: str, slide: str) -> Need:
        """Return memory and time for a job, by the slide's size.

        Called when a job is submitted: the slide's record may be written after planning.
        """
        record = read_or_unseen(self.results.record(slide))
        return need_of(rule, record, self.rows[slide].split, self.settings)

    def memory(self, rule: str) -> Callable[[Wildcards, int], int]:
        """Return megabytes for the job, more with every attempt."""
        return lambda wildcards, attempt: self.need(rule, wildcards.slide).mem_mb * attempt

    def minutes(self, rule: str) -> Callable[[Wildcards, int], int]:
        """Return minutes for the job, more with every attempt."""
        return lambda wildcards, attempt: self.need(rule, wildcards.slide).minutes * attempt

    @property
    def several_nodes(self) -> bool:
        """Whether training runs on several nodes, whose processes srun starts."""
        return self.settings.train.nodes > 1

    def srun(self, wildcards: Wildcards, threads: int) -> str:
        """Return the command that starts `holohisto train` on several nodes."""
        nodes, devices = self.settings.train.nodes, self.settings.train.devices
        return (
            f"srun --nodes={nodes} --ntasks={nodes * devices} --ntasks-per-node={devices}"
            f" --cpus-per-task={threads} --kill-on-bad-exit=1"
        )

    def gpus_per_node(self, gpu_model: str | None) -> str:
        """Return the option of sbatch that gives every node the same number of GPUs."""
        model = f"{gpu_model}:" if gpu_model else ""
        return f"--gpus-per-node={model}{self.settings.train.devices}"


def scaled(amount: int) -> Callable[[Wildcards, int], int]:
    """Return megabytes or minutes, more with every attempt."""
    return lambda wildcards, attempt: amount * attempt


def any_of(names: Sequence[str] | Mapping[str, Any]) -> str:
    """Return the regular expression of these names."""
    return "|".join(names) or NOTHING
