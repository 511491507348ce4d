"""Sample sheets from folders: any folder of slides, or a public dataset in its own layout."""
