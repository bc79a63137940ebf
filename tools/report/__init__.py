"""One HTML page about the last `up`: what waits for what, what became of it, and where the time went."""
