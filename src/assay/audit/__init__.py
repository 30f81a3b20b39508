"""What happened, in an order nobody can rewrite."""
