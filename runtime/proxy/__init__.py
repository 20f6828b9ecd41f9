"""Requests that pass through to an outside app over a tenant's connection, without a run."""
