"""What happens on a server, for whoever wants to tell it: to people, to a log, to a test."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lamina.core.connection import Connection
    from lamina.core.session import SmbSession, SmbTree


class ServerEvents:
    """Called when something happens; override what is of interest. Calls must return soon."""

    def connection_opened(self, connection: "Connection") -> None:
        """A client has connected; it is not authenticated."""

    def session_started(self, connection: "Connection", session: "SmbSession") -> None:
        """A user has been authenticated."""

    def tree_connected(self, connection: "Connection", tree: "SmbTree") -> None:
        """A share has been connected."""

    def connection_closed(self, connection: "Connection") -> None:
        """A connection has ended; its `transport` has the counts of bytes."""
