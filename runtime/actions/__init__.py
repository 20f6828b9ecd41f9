"""What an action does: its target, its input, and how each type of action is carried out."""
