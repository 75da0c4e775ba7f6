"""How a command fails: with a message for the person who typed it."""


class CliError(Exception):
    """Ends the command with this message on stderr and exit status 1."""
