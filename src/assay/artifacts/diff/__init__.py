"""What changed between two models: tensor by tensor, and what kind of change it is."""
