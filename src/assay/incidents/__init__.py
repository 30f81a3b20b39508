"""Who is told: reads the audit log, opens incidents, escalates, delivers and exports the evidence."""
