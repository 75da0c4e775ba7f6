"""What the first bytes of a connection tell of its client: the ClientGuid of its NEGOTIATE (MS-SMB2 2.2.3).

Only looked at, not taken: whoever serves the connection reads them again, and judges them. What is no NEGOTIATE with a
guid may go anywhere.
"""

from typing import Final, NamedTuple

NO_GUID: Final = bytes(16)

_PREFIX: Final = 4  # of the transport, MS-SMB2 2.1
_GUID: Final = _PREFIX + 64 + 12
_WHOLE: Final = _GUID + 16
_ENOUGH: Final = 8
_SMB2: Final = b"\xfeSMB"


class Glance(NamedTuple):
    """How many bytes must be there to say more (0: nothing more is to be said), and the guid, or NO_GUID."""

    needed: int
    guid: bytes = NO_GUID


FIRST: Final = Glance(_ENOUGH)


def glance(received: bytes) -> Glance:
    """What can be said after these bytes, which are the first of a connection."""
    if len(received) < _ENOUGH:
        return FIRST
    length = int.from_bytes(received[:_PREFIX], "big")
    if received[_PREFIX:_ENOUGH] != _SMB2 or length < _WHOLE - _PREFIX:
        # SMB1, which says no guid, or somebody who does not speak the protocol.
        return Glance(0)
    return Glance(0, received[_GUID:_WHOLE]) if len(received) >= _WHOLE else Glance(_WHOLE)
