"""Outgoing webhooks: endpoints and their secrets, the attempts, and the log of them."""
