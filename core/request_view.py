"""A request as modules of a chain see it, put together when one asks (`services.request_view.current_request`)."""

from typing import TYPE_CHECKING, Final

from lamina.core.wire.constants import Command
from lamina.core.wire.create import decode_create_request
from lamina.vfs_modules.services.request_view import OpenView, RequestView

if TYPE_CHECKING:
    from lamina.core.request import Request

_DIALECTS: Final = {0x0202: "2.0.2", 0x0210: "2.1", 0x0300: "3.0", 0x0302: "3.0.2", 0x0311: "3.1.1"}


def request_view(request: "Request") -> RequestView:
    """What a request asks, by whom and from where; for requests that have passed the checks before their handler."""
    session, tree, connection = request.session, request.tree, request.connection
    command = request.header.command
    return RequestView(
        command=Command(command).name if command in Command.__members__.values() else f"{command:#06x}",
        share=tree.share.name if tree is not None else "",
        user=session.token.user_name if session is not None else "",
        session_id=session.session_id if session is not None else 0,
        client_address=connection.peer_address,
        dialect=_DIALECTS.get(connection.dialect, ""),
        encrypted=request.exchange.sealed is not None,
        signed=request.signed,
        open=_open_view(request),
    )


def _open_view(request: "Request") -> OpenView | None:
    if request.header.command == Command.CREATE:
        asked = decode_create_request(request.message)
        return OpenView(
            asked.name, asked.share_access, asked.create_options, asked.desired_access, asked.create_disposition
        )
    nt = request.open.nt if request.open is not None else None
    if nt is None:
        return None
    return OpenView(nt.path, nt.share_access, nt.options, granted_access=nt.granted_access)
