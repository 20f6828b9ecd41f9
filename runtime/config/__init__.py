"""Elements: their kinds, their layers, and what is in effect for whom."""
