"""A client that writes over several channels and loses some of them (MS-SMB2 3.2.7.1, 3.2.5.12). For tests only.

It does what the specification wants of a client: what was not answered on a lost channel is sent again on another one,
marked as a replay and with a higher channel sequence number, and what is answered FILE_NOT_AVAILABLE as often as it
takes. Any other error would reach the application: it is raised.
"""

import select
from collections import deque
from collections.abc import Callable, Iterable
from typing import Final

from lamina.core.wire import constants as smb
from lamina.core.wire.write import WriteRequest, decode_write_response, encode_write_request
from lamina.ntfsa.status import NtStatus
from tests.support.wire_client import ConnectionClosedError, Open, Response, WireClient

_PATIENCE: Final = 20.0


class MultichannelWriter:
    """Writes to one open file. `ahead`: how many writes may be unanswered on each channel."""

    def __init__(self, file: Open, channels: Iterable[WireClient], ahead: int = 8) -> None:
        self.file = file
        self.channels = list(channels)
        self.ahead = ahead
        self.sequence = 0
        self.replayed = 0
        """How often a write was sent again."""
        self.lost = 0
        """Channels that were lost."""
        self.on_loss: Callable[[], WireClient | None] = lambda: None
        """Asked for another channel when one is lost."""
        self._unanswered: dict[WireClient, dict[int, tuple[int, bytes]]] = {each: {} for each in self.channels}
        self._again: deque[tuple[int, bytes]] = deque()

    def write(self, writes: Iterable[tuple[int, bytes]], before_each: Callable[[int], None] = lambda done: None) -> int:
        """Write (offset, data) pairs; how many were, all of which were acknowledged.

        No write begins before those to the same offset have ended. `before_each` is told how many have begun.
        """
        waiting, begun = deque(writes), 0
        while waiting or self._again or any(self._unanswered.values()):
            for channel in list(self.channels):
                while channel in self.channels and len(self._unanswered[channel]) < self.ahead:
                    if self._again:
                        self._send(channel, self._again.popleft(), replay=True)
                    elif waiting and not self._is_busy(waiting[0][0]):
                        before_each(begun)
                        if channel not in self.channels:
                            break
                        begun += 1
                        self._send(channel, waiting.popleft())
                    else:
                        break
            self._take_answers()
        return begun

    def give_up(self, channel: WireClient) -> None:
        """Take a channel for lost, as a client does that waits too long; what was not answered is sent again."""
        if channel not in self.channels:
            return
        channel.disconnect()
        self.channels.remove(channel)
        self._again.extend(self._unanswered.pop(channel).values())
        self.sequence = (self.sequence + 1) % 0x10000
        self.lost += 1
        another = self.on_loss()
        if another is not None:
            self.channels.append(another)
            self._unanswered[another] = {}
        if not self.channels:
            raise ConnectionClosedError("the last channel is lost")

    def _is_busy(self, offset: int) -> bool:
        return any(offset == at for each in self._unanswered.values() for at, _ in each.values())

    def _send(self, channel: WireClient, what: tuple[int, bytes], replay: bool = False) -> None:
        offset, data = what
        body = encode_write_request(
            WriteRequest(self.file.persistent, self.file.volatile, offset, memoryview(data)),
        )
        flags = smb.FLAGS_REPLAY_OPERATION if replay else 0
        self.replayed += replay
        message_id = channel.message_id
        self._unanswered[channel][message_id] = what
        try:
            channel.send(smb.Command.WRITE, body, payload=len(data), flags=flags, channel_sequence=self.sequence)
        except OSError:
            self.give_up(channel)

    def _take_answers(self) -> None:
        if not any(self._unanswered.values()):
            return
        asked = {channel.socket: channel for channel in self.channels if self._unanswered[channel]}
        readable, _, _ = select.select(list(asked), [], [], _PATIENCE)
        if not readable:
            raise TimeoutError("no answer on any channel")
        for ready in readable:
            channel = asked[ready]
            try:
                self._answered(channel, channel.recv())
                while channel.unclaimed:
                    self._answered(channel, channel.recv())
            except (ConnectionClosedError, OSError):
                self.give_up(channel)

    def _answered(self, channel: WireClient, response: Response) -> None:
        if response.status == NtStatus.PENDING:
            return
        what = self._unanswered[channel].pop(response.header.message_id)
        if response.status == NtStatus.FILE_NOT_AVAILABLE:
            self._again.append(what)
            return
        assert decode_write_response(response.check().message).written == len(what[1])
