"""Which triggers of flows are live for which tenant, kept in step with what they hang on."""
