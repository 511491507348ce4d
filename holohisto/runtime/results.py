"""The paths of the files that a run of the workflow writes, as the rules name them."""

from pathlib import Path


class Results:
    """The folder of a run's results; every method returns the path of one file, present or not."""

    def __init__(self, folder: Path | str = "results") -> None:
        """Name the folder; nothing is opened."""
        self.folder = Path(folder)

    def record(self, slide: str) -> Path:
        """The slide's record: size, resolution, reader (JSON)."""
        return self.folder / "check" / f"{slide}.json"

    def foreground(self, slide: str) -> Path:
        """The slide's foreground map (TIFF)."""
        return self.folder / "foreground" / f"{slide}.tif"

    @property
    def tokenizer(self) -> Path:
        """The tokenizer (safetensors)."""
        return self.folder / "tokenizer" / "tokenizer.safetensors"

    def tokens(self, slide: str) -> Path:
        """The slide's token map (safetensors)."""
        return self.folder / "tokens" / f"{slide}.safetensors"

    def segmenter(self, model: str) -> Path:
        """The trained segmenter of a model (safetensors)."""
        return self._model(model) / "segmenter.safetensors"

    def labels(self, model: str, slide: str) -> Path:
        """Labels of the slide at working resolution, bit i for class i (TIFF)."""
        return self._model(model) / "labels" / f"{slide}.tif"

    def mask(self, model: str, slide: str, name: str) -> Path:
        """The delivered mask of the class `name` (pyramidal TIFF)."""
        return self._model(model) / "masks" / f"{slide}_{name}.tif"

    def metrics(self, model: str, slide: str) -> Path:
        """Scores of the model on the slide (JSON)."""
        return self._model(model) / "metrics" / f"{slide}.json"

    @property
    def scores(self) -> Path:
        """Scores of all models on all slides (TSV)."""
        return self.folder / "cohort" / "slides.tsv"

    def _model(self, model: str) -> Path:
        return self.folder / "models" / model
