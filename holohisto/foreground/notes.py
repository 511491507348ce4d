"""What foreground maps state of slides: unlike training, or with ink of pens."""

from collections.abc import Collection, Mapping
from pathlib import Path

from holohisto.errors import HolohistoError
from holohisto.foreground.ink import ink_sentence
from holohisto.foreground.map import TissueFacts, load_tissue_facts
from holohisto.foreground.unlike import unlike


def facts_in(maps: Mapping[str, Path]) -> dict[str, TissueFacts]:
    """Read the facts of each slide's foreground map.

    Args:
        maps: Slide to the path of its foreground map; missing and damaged files are passed over.
    """
    found = {}
    for name, path in maps.items():
        try:
            if path.exists():
                found[name] = load_tissue_facts(path)
        except HolohistoError:
            continue
    return found


def unlike_training(facts: Mapping[str, TissueFacts], training: Collection[str]) -> dict[str, str]:
    """Return a sentence on each slide that is coloured unlike every training slide.

    Args:
        facts: Of each slide, by its id; slides without a colour are left out.
        training: Ids of the training slides.
    """
    colours = {name: of.colour for name, of in facts.items() if of.colour is not None}
    return unlike(colours, training)


def inked(facts: Mapping[str, TissueFacts]) -> dict[str, str]:
    """Return a sentence on each slide with ink of pens."""
    sentences = {name: ink_sentence(of.ink) for name, of in facts.items()}
    return {name: sentence for name, sentence in sentences.items() if sentence}
