"""Other task queues doing nothing at all, in an environment of their own."""
