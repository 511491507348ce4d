"""What decides the training of one model."""

from dataclasses import dataclass
from pathlib import Path

from holohisto.config.models import ModelOptions
from holohisto.config.sections import Classes
from holohisto.config.training import TokensOptions, TrainOptions
from holohisto.runtime.results import Results


@dataclass(frozen=True)
class TrainingJob:
    """A model to train, with its options and its data; what only alters speed is not part of it."""

    name: str
    """The model's name."""
    model: ModelOptions
    """Kind and size of the network."""
    options: TrainOptions
    """The training options."""
    tokens: TokensOptions
    """How tokens are computed; `mode`, and in mode `online` `precision`, alter a training."""
    classes: Classes
    seed: int
    """Seed of all random numbers."""
    sheet: Path
    """The sample sheet; slides of the splits train and val are read."""
    results: Results
    """Folder with slide records, foreground maps, tokenizer and token maps."""
