"""Where state lives: the databases and their tables, objects, timers."""
