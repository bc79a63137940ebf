"""One HTML page about the last `up`."""
