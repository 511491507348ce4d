"""A small annotated cohort of generated slides, made ready for training."""

from pathlib import Path

import numpy as np

from benchmarks.gpu import slides, verbs
from benchmarks.gpu.sizes import Sizes
from holohisto.config.training import TokenizerOptions, TokensOptions
from holohisto.runtime.results import Results

CLASSES = '{"glomerulus": {}}'


class Cohort:
    """The files of a cohort; what another part of the run has made is not made again."""

    def __init__(self, work: Path, sizes: Sizes) -> None:
        """Name the files in the folder `work`."""
        self.work, self.sizes = work, sizes
        self.names = [f"train-{number}" for number in range(sizes.training_slides)]
        self.results = Results(work)
        self.sheet, self.tokenizer = work / "slides.tsv", self.results.tokenizer

    def image(self, name: str) -> Path:
        """The slide `name`."""
        return self.work / f"{name}.tif"

    def block(self) -> tuple[np.ndarray, np.ndarray]:
        """The painted block that all slides repeat, and its annotation."""
        path = self.work / "block.npz"
        if not path.exists():
            rgb, mask = slides.paint_block(self.sizes.block)
            np.savez(path, rgb=rgb, mask=mask)
        with np.load(path) as file:
            return file["rgb"], file["mask"]

    def prepare(self) -> None:
        """Write slides, annotations, sheet, records, foreground, tokenizer."""
        if self.tokenizer.exists():
            return
        rgb, mask = self.block()
        lines = ["slide\timage\tannotation\tsplit"]
        for name in self.names:
            annotation = self.work / f"{name}.annotation.tif"
            slides.write_slide(self.image(name), rgb, self.sizes.training_slide)
            slides.write_annotation(annotation, mask, self.sizes.training_slide)
            lines.append(f"{name}\t{self.image(name)}\t{annotation}\ttrain")
        self.sheet.write_text("\n".join(lines) + "\n")
        verbs.run_together([self.check(name) for name in self.names])
        verbs.run_together([self.foreground(name) for name in self.names])
        verbs.run(self.train_tokenizer())

    def encode(self) -> None:
        """Write the token maps of the training slides, in all variants."""
        if not all(self.results.tokens(name).exists() for name in self.names):
            verbs.run_together([self.tokens(name, TokensOptions()) for name in self.names])

    def check(self, name: str) -> list[str]:
        """The verb that checks a slide."""
        return verbs.words("check", self.image(name), slide=name, output=self.results.record(name))

    def foreground(self, name: str) -> list[str]:
        """The verb that finds the tissue of a slide."""
        return verbs.words(
            "foreground",
            self.image(name),
            record=self.results.record(name),
            foreground=self.results.foreground(name),
            picture=self.work / f"{name}.foreground.jpg",
        )

    def train_tokenizer(self) -> list[str]:
        """The verb that trains the tokenizer."""
        return verbs.words(
            "tokenizer",
            sheet=self.sheet,
            results=self.results.folder,
            options=TokenizerOptions(**self.sizes.tokenizer).model_dump_json(),
            tokenizer=self.tokenizer,
            table=self.work / "tokenizer.tsv",
            picture=self.work / "tokenizer.jpg",
        )

    def tokens(self, name: str, options: TokensOptions) -> list[str]:
        """The verb that encodes a slide."""
        return verbs.words(
            "tokens",
            self.image(name),
            record=self.results.record(name),
            foreground=self.results.foreground(name),
            tokenizer=self.tokenizer,
            options=options.model_dump_json(),
            tokens=self.results.tokens(name),
            quality=self.quality(name),
            picture=self.work / f"{name}.tokens.jpg",
        )

    def quality(self, name: str) -> Path:
        """Facts about the token map of a slide."""
        return self.work / f"{name}.tokens.json"

    def segmenter(self, size: str) -> Path:
        """The segmenter of a size that the training part leaves behind."""
        return self.work / f"{size}.segmenter.safetensors"
