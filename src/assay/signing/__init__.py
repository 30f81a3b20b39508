"""Who vouches for a model: trust, statements, signature bundles, sign and verify."""
