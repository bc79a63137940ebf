"""What a validation can end with."""


class ValidateError(Exception):
    """The installation cannot be reached or asked; the message says why and what to do."""
