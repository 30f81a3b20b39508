"""What counts big tables: a plug per engine, all with equal results."""
