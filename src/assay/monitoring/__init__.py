"""Does the model still behave: what is recorded, counted in windows, compared with the baseline, and alarmed on."""
