"""Where tables come from that an engine does not read where they are."""
