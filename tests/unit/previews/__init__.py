"""Recorded previews, and what the report makes of them."""
