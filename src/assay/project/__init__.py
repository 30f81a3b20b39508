"""assay.toml turned into wired objects, and the flows that run across the floors below."""
