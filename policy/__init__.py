"""What no environment of this program may do: a Pulumi policy pack."""
