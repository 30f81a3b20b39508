"""Why it changed: evidence for and against each cause, and the verdict."""
