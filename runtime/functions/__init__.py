"""Python functions that the deployment registers from its own code, for `run-python` actions."""
