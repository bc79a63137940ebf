"""What an engine operation did, or in a preview would do, for people to review."""
