"""A small CRM with an HTTP API: the outside app that the demo and the tests call.

It knows nothing of Vesicle. Everything it holds is in memory and gone when it stops.
"""
