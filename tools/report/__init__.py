"""One HTML page about the last `up`: what waits for what, the outcome, and where the time went."""
