"""The clock process: what has to happen although nobody asks for it."""
