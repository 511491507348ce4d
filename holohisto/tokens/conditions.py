"""Names of the conditions in which it is measured what the tokens add; without torch."""

AS_THEY_ARE, LEFT_OUT, SHUFFLED = "as they are", "left out", "shuffled"
NAMES = (AS_THEY_ARE, LEFT_OUT, SHUFFLED)
