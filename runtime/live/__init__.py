"""What is shown while it happens: who watches what, and what is new for them."""
