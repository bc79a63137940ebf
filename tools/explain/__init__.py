"""Why an `up` failed: what the cluster says about the resources that failed, a sentence each, and what to do."""
