"""The one exception that is addressed to the user."""

__all__ = ["UserError"]


class UserError(Exception):
    """Bad input, in one line. Every command prints `error: <message>` on stderr and exits with code 2."""
