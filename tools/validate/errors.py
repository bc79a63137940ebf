"""The error of a validation."""


class ValidateError(Exception):
    """The installation cannot be checked; the message says why and what to do."""


class NotRunError(Exception):
    """The check cannot run from here."""
