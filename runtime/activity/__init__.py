"""Activity: what happened, for whom, on record and without secrets."""
