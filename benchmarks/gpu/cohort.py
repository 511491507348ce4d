"""A small annotated cohort of generated slides, made ready for training."""

from pathlib import Path

import numpy as np

from benchmarks.gpu import slides, verbs
from benchmarks.gpu.sizes import Sizes
from holohisto.config.training import TokenizerOptions, TokensOptions

CLASSES = '{"glomerulus": {}}'


class Cohort:
    """The files of a cohort; what another part of the run has made is not made again."""

    def __init__(self, work: Path, sizes: Sizes) -> None:
        """Name the files in the folder `work`."""
        self.work, self.sizes = work, sizes
        self.names = [f"train-{number}" for number in range(sizes.training_slides)]
        self.sheet, self.tokenizer = work / "slides.tsv", work / "tokenizer.safetensors"

    def image(self, name: str) -> Path:
        """The slide `name`."""
        return self.work / f"{name}.tif"

    def pattern(self, kind: str) -> str:
        """Path of a kind of file, with {slide}."""
        suffix = {"record": "json", "foreground": "tif", "tokens": "safetensors"}[kind]
        return str(self.work / f"{{slide}}.{kind}.{suffix}")

    def path(self, kind: str, name: str) -> str:
        """Path of the file of this kind of a slide."""
        return self.pattern(kind).format(slide=name)

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
        if not all(Path(self.path("tokens", name)).exists() for name in self.names):
            verbs.run_together([self.tokens(name, TokensOptions()) for name in self.names])

    def check(self, name: str) -> list[str]:
        """The verb that checks a slide."""
        return verbs.words("check", self.image(name), slide=name, output=self.path("record", name))

    def foreground(self, name: str) -> list[str]:
        """The verb that finds the tissue of a slide."""
        return verbs.words(
            "foreground",
            self.image(name),
            record=self.path("record", name),
            foreground=self.path("foreground", name),
            picture=self.work / f"{name}.foreground.jpg",
        )

    def train_tokenizer(self) -> list[str]:
        """The verb that trains the tokenizer."""
        return verbs.words(
            "tokenizer",
            sheet=self.sheet,
            record=self.pattern("record"),
            foreground=self.pattern("foreground"),
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
            record=self.path("record", name),
            foreground=self.path("foreground", name),
            tokenizer=self.tokenizer,
            options=options.model_dump_json(),
            tokens=self.path("tokens", name),
            quality=self.quality(name),
            picture=self.work / f"{name}.tokens.jpg",
        )

    def quality(self, name: str) -> Path:
        """Facts about the token map of a slide."""
        return self.work / f"{name}.tokens.json"

    def segmenter(self, size: str) -> Path:
        """The segmenter of a size that the training part leaves behind."""
        return self.work / f"{size}.segmenter.safetensors"
