"""The paths of the files that a run of the workflow writes, as the rules name them."""

from pathlib import Path


class Results:
    """The folder of a run's results; every method returns the path of a file, existing or not."""

    def __init__(self, folder: Path | str = "results") -> None:
        self.folder = Path(folder)

    def record(self, slide: str) -> Path:
        """The slide's record: size, resolution, reader (JSON)."""
        return self.folder / "check" / f"{slide}.json"

    def foreground(self, slide: str) -> Path:
        """The slide's foreground map (TIFF)."""
        return self.folder / "foreground" / f"{slide}.tif"

    def foreground_picture(self, slide: str) -> Path:
        """Picture of the slide with its foreground outlined (JPEG)."""
        return self.folder / "foreground" / f"{slide}.jpg"

    @property
    def tokenizer(self) -> Path:
        """The tokenizer (safetensors)."""
        return self.folder / "tokenizer" / "tokenizer.safetensors"

    @property
    def tokenizer_training(self) -> Path:
        """Losses and codebook use by step of the tokenizer's training (TSV)."""
        return self.folder / "tokenizer" / "training.tsv"

    @property
    def reconstruction(self) -> Path:
        """Tiles of the training slides above their reconstruction from tokens (JPEG)."""
        return self.folder / "tokenizer" / "reconstruction.jpg"

    def tokens(self, slide: str) -> Path:
        """The slide's token map (safetensors)."""
        return self.folder / "tokens" / f"{slide}.safetensors"

    def token_quality(self, slide: str) -> Path:
        """Quality of the slide's tokens (JSON)."""
        return self.folder / "tokens" / f"{slide}.json"

    def token_picture(self, slide: str) -> Path:
        """Tissue of the slide above its reconstruction from tokens (JPEG)."""
        return self.folder / "tokens" / f"{slide}.jpg"

    def segmenter(self, model: str) -> Path:
        """The trained segmenter of a model (safetensors)."""
        return self._model(model) / "segmenter.safetensors"

    def training(self, model: str) -> Path:
        """Losses and validation scores over a model's training (TSV)."""
        return self._model(model) / "training.tsv"

    def token_value(self, model: str) -> Path:
        """Dice of a model with the tokens as they are, left out and shuffled (TSV)."""
        return self._model(model) / "token_value.tsv"

    def labels(self, model: str, slide: str) -> Path:
        """Labels of the slide at working resolution, bit i for class i (TIFF)."""
        return self._model(model) / "labels" / f"{slide}.tif"

    def inference(self, model: str, slide: str) -> Path:
        """Times, device and seams of the inference (JSON)."""
        return self._model(model) / "labels" / f"{slide}.json"

    def probability(self, model: str, slide: str) -> Path:
        """Probability map of the slide, at a quarter of the working resolution (TIFF)."""
        return self._model(model) / "probability" / f"{slide}.tif"

    def mask(self, model: str, slide: str, name: str) -> Path:
        """The delivered mask of the class `name` (pyramidal TIFF)."""
        return self._model(model) / "masks" / f"{slide}_{name}.tif"

    def mask_objects(self, model: str, slide: str) -> Path:
        """Number of delivered objects by class (JSON)."""
        return self._model(model) / "masks" / f"{slide}.json"

    def geojson(self, model: str, slide: str, gzipped: bool = False) -> Path:
        """Outlines of the delivered objects (GeoJSON)."""
        return self._model(model) / "geojson" / f"{slide}.geojson{'.gz' if gzipped else ''}"

    def overlay(self, model: str, slide: str) -> Path:
        """Picture of the slide with the outlines (JPEG)."""
        return self._model(model) / "overlays" / f"{slide}.jpg"

    def metrics(self, model: str, slide: str) -> Path:
        """Scores of the model on the slide (JSON)."""
        return self._model(model) / "metrics" / f"{slide}.json"

    @property
    def scores(self) -> Path:
        """Scores of all models on all slides (TSV)."""
        return self.table("slides")

    def table(self, name: str) -> Path:
        """A table of the cohort: slides, groups, comparisons, objects, distributions (TSV)."""
        return self.folder / "cohort" / f"{name}.tsv"

    @property
    def correct_next(self) -> Path:
        """Predicted slides in the order in which to correct them (TSV)."""
        return self.table("correct_next")

    @property
    def gallery(self) -> Path:
        """The folder of the gallery's pictures and of its index, gallery.json."""
        return self.folder / "gallery"

    def benchmark(self, job: str) -> Path:
        """Time and memory of a job, such as `infer/unet/slide7`, as Snakemake measured them."""
        return self.folder / "benchmarks" / f"{job}.tsv"

    def _model(self, model: str) -> Path:
        return self.folder / "models" / model
