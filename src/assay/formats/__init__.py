"""What containers hold: bytes to named parts, pure."""
