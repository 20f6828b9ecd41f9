"""Events: what happened in the product and in connected apps, and the flow runs that it starts."""
