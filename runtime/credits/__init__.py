"""Credits: limits over rolling windows, reserved before a run and settled after it."""
