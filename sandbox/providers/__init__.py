"""Provider plugins in Python, used where the real ones are not installed."""
