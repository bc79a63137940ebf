"""Checks a real installation as a person would by hand: keys, budgets, limits, spend."""
