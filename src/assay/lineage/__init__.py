"""What a model was made from: fingerprints of tables, and the provenance of a training run."""
