"""Hash of every input that affects a training; an interrupted one is resumed only if it matches."""

from collections.abc import Mapping

from holohisto.config.models import BackboneModel, HolohistoModel
from holohisto.config.starter import located
from holohisto.runtime.identity import Input, hash_of_inputs
from holohisto.segmenter.inputs import TileEncoder
from holohisto.tokenizer.file import tokenizer_digest
from holohisto.training.job import TrainingJob
from holohisto.training.slides import TrainingSlide


def training_identity(
    job: TrainingJob, slides: Mapping[str, list[TrainingSlide]], encoder: TileEncoder | None
) -> str:
    """Return the SHA-256 of options, classes, seed, release, pretrained weights and slides.

    Args:
        job: The training.
        slides: The opened slides of each split.
        encoder: Encodes tiles in mode `online`; None in the other modes, whose tokens are part of
            the slides.
    """
    pretrained = None
    if isinstance(job.model, BackboneModel | HolohistoModel) and job.model.pretrained:
        pretrained = located(job.model.pretrained, "segmenter")
    inputs: list[Input] = [
        job.model.model_dump_json(),
        job.options.model_dump_json(),
        {name: options.values for name, options in job.classes.items()},
        job.seed,
        *((tokenizer_digest(encoder.tokenizer), encoder.precision) if encoder else ()),
        pretrained,
    ]
    for split, opened in slides.items():
        for slide in opened:
            tissue, known = slide.tissue, slide.known.tolist()
            facts = [slide.name, tissue.slide.fingerprint, tissue.scale.texts, known]
            inputs += [split, *facts, slide.annotation.path, slide.area.foreground]
            if slide.token_map is not None:
                inputs += [slide.token_map.tokenizer, *slide.token_map.tokens]
    return hash_of_inputs(*inputs)
