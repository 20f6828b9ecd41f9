"""What an element of each kind looks like, one noun a file; actions are in `action_specs`."""
