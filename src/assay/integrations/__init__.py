"""What calls us: the frameworks of services."""
