"""Runs as rows: accepting, claiming, holding and finishing them."""
