"""The gateway's parts, one component resource a file; each knows nothing of the others' insides."""
