"""What runs inside the cluster on GKE and does not run on this machine."""
