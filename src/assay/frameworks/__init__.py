"""What opens models: one plug per framework, given verified bytes only."""
