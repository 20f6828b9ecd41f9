"""What the clock starts: when a schedule is due, and what is known of it."""
