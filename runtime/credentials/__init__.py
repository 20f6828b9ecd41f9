"""Credentials: sealed at rest, opened in the worker only, and the connections that use them."""
