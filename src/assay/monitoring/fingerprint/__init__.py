"""Is the model that answers still the one whose answers were recorded? For models whose bytes nobody here sees."""
