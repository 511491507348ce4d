"""What decides the training of one model."""

from dataclasses import dataclass
from pathlib import Path

from holohisto.config.models import ModelOptions
from holohisto.config.sections import Classes
from holohisto.config.training import TrainOptions
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
    token_mode: str
    """`tokens.mode`: how tokens are computed."""
    classes: Classes
    seed: int
    """Seed of all random numbers."""
    sheet: Path
    """The sample sheet; slides of the splits train and val are read."""
    results: Results
    """Folder with slide records, foreground maps, tokenizer and token maps."""
