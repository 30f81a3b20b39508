"""Is a single client copying the model, or probing it? Judged from the order and the distances of its queries."""
