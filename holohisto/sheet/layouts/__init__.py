"""Sample sheets from folders: any folder of slides, or one of a public dataset's layout."""
