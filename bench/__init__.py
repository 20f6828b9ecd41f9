"""Measures the whole pipeline beside what bare task queues do, on the same machine, in one run."""
