"""Photographs of which nothing is known: evidence, a safe setting, and a guard over the result."""
