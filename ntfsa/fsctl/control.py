"""One control code that is being run, and what all of them check (MS-FSA 2.1.5.10)."""

from struct import Struct
from typing import TYPE_CHECKING, Any, NamedTuple

from lamina.ntfsa.result import Information
from lamina.ntfsa.status import NtStatus, NtStatusError

if TYPE_CHECKING:
    from lamina.ntfsa.context import NtContext
    from lamina.ntfsa.open_state import NtOpen


class Control(NamedTuple):
    """Who asks what of which open. `max_output`: bytes that the output may have."""

    context: "NtContext"
    open: "NtOpen"
    input: memoryview
    max_output: int

    def require_any(self, access: int) -> None:
        """ACCESS_DENIED unless the open has one of the rights."""
        if not self.open.granted_access & access:
            raise NtStatusError(NtStatus.ACCESS_DENIED)

    def require_file(self) -> None:
        """INVALID_PARAMETER for a directory."""
        if self.open.is_directory:
            raise NtStatusError(NtStatus.INVALID_PARAMETER, "a directory has no data")

    def unpack(self, structure: Struct, status: NtStatus = NtStatus.INVALID_PARAMETER) -> tuple[Any, ...]:
        """The structure that the input begins with; `status` where it is shorter."""
        if len(self.input) < structure.size:
            raise NtStatusError(status, f"{len(self.input)} bytes of input")
        return structure.unpack_from(self.input)

    def answer(self, output: bytes) -> Information:
        """The output as it is; BUFFER_TOO_SMALL where there is not room for all of it."""
        if len(output) > self.max_output:
            raise NtStatusError(NtStatus.BUFFER_TOO_SMALL)
        return Information(NtStatus.SUCCESS, output)


NOTHING = Information(NtStatus.SUCCESS, b"")
"""The answer of a control that has no output."""
