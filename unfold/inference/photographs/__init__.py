"""Photographs about which nothing is known: evidence, safe settings, and a check of the result."""
