"""Statistics, pure: intervals, evidence, confidence sequences; values in, values out."""
