"""The channel sequence number of an open (MS-SMB2 3.3.1.10, 3.3.5.2.10 Verifying the Channel Sequence Number).

A client that loses a channel raises the number in the headers of its requests, and sends again on another channel what
was not answered. What still comes in from the lost channel then has an older number, and must not change the file any
more: it would undo what the client has done since. What is sent again must wait until what came before it is over.
"""

from typing import Final

from lamina.core.wire.constants import Command

CHANGING: Final = frozenset({Command.WRITE, Command.SET_INFO, Command.IOCTL})
"""The commands that are refused where the number says that they come too late or too early."""

_NUMBERS: Final = 0x10000
_FURTHEST: Final = 0x7FFF
"""A number is newer than another one where it lies at most so far ahead of it."""


class ChannelSequence:
    """An open's number, and how many of its requests are being worked on."""

    __slots__ = ("current", "earlier", "outstanding")

    def __init__(self, current: int = 0) -> None:
        self.current = current
        """Open.ChannelSequence."""
        self.outstanding = 0
        """Open.OutstandingRequestCount: requests of the current number."""
        self.earlier = 0
        """Open.OutstandingPreRequestCount: requests of numbers before it."""

    def begin_anew(self, number: int) -> None:
        """The open goes on in another session, whose numbers have nothing to do with those before."""
        self.earlier += self.outstanding
        self.outstanding = 0
        self.current = number

    def admit(self, number: int, replay: bool) -> bool:
        """Take note of a request with `number`; `replay`: it was sent before, and may have been done.

        True where it is in order, and counted until `finished`; False where it comes too late, or before those that
        it must wait for: then it may read, but change nothing.
        """
        if number != self.current:
            if (number - self.current) % _NUMBERS > _FURTHEST:
                return False
            self.begin_anew(number)
        if replay and self.earlier:
            return False
        self.outstanding += 1
        return True

    def finished(self, number: int) -> None:
        """A request that was counted is over (3.3.4.1 Sending Any Outgoing Message)."""
        if number == self.current and self.outstanding:
            self.outstanding -= 1
        else:
            self.earlier -= 1
