"""The proof of a real installation, as a person would do it by hand: keys, budgets, limits, spend."""
