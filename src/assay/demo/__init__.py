"""The story told by ``assay demo``: real data, real attacks, computed verdicts."""
