"""Caps: how many runs may be under way, or may wait, at once; settings that take effect live."""
