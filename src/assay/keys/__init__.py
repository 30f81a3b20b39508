"""What signs: one file per place a key can live."""
