"""What an engine operation does or would do, for people to review."""
