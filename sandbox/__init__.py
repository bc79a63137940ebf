"""The embedded environment: a real engine and a real Kubernetes control plane on this machine, emulated GCP."""
