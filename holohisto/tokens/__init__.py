"""Token maps: every token of a slide, a function of slide and tokenizer alone."""
