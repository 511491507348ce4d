"""Token maps: every token of a slide, a function of slide and tokenizer alone."""

from holohisto.tokens.encode import Encoded, cores, encode
from holohisto.tokens.encoders import (
    LocalEncoder,
    TokenEncoder,
    WindowEncoder,
    background_token,
    encoder_for,
)
from holohisto.tokens.needed import needed_tokens
from holohisto.tokens.token_map import (
    TokenMap,
    load,
    require_mode,
    require_slide,
    require_tokenizer,
    save,
    tile_tokens,
)

__all__ = [
    "Encoded",
    "LocalEncoder",
    "TokenEncoder",
    "TokenMap",
    "WindowEncoder",
    "background_token",
    "cores",
    "encode",
    "encoder_for",
    "load",
    "needed_tokens",
    "require_mode",
    "require_slide",
    "require_tokenizer",
    "save",
    "tile_tokens",
]
