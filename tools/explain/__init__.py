"""Why an `up` failed: one sentence per cause that the cluster names, and what to do."""
