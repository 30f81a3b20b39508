"""assay: the integrity of machine-learning models in production."""
