"""What the codec raises."""


class WireError(Exception):
    """A message that does not follow MS-SMB2 2.2; the text says what is wrong with it."""
