"""Tenants: who a request is for, and the tokens that say so."""
