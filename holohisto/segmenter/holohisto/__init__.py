"""The method's segmenter: two stages of linear attention over tokens, and a decoder."""
