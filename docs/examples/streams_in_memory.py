"""Keeps named streams in the server's memory, for as long as the share is served."""

import errno

from lamina.vfs_modules.handle import StreamHandle
from lamina.vfs_modules.module import VfsModule
from lamina.vfs_modules.operations import Capability, StreamEntry
from lamina.vfs_modules.streams import StreamFile

LARGEST = 1 << 20


class StreamsInMemory(VfsModule):
    name = "streams_in_memory"
    keeps_streams = True

    def connect(self, share):
        self._streams = {}

    def capabilities(self, below):
        return below | Capability.STREAMS

    def _of(self, token, handle):
        stat = self.next.fstat(token, handle)
        # The time of birth tells a new file from the old one whose number it has got.
        return self._streams.setdefault((stat.dev, stat.ino, stat.btime_ns), {})

    def open_stream(self, token, handle, name, how):
        streams = self._of(token, handle)
        if name not in streams and not how.create:
            raise FileNotFoundError(errno.ENOENT, "no such stream", name)
        if name in streams and how.create and how.exclusive:
            raise FileExistsError(errno.EEXIST, "there is such a stream", name)
        check_length(name)
        return StreamHandle(Stream(streams.setdefault(name, bytearray())))

    def list_streams(self, token, handle):
        return [StreamEntry(name, len(data), len(data)) for name, data in self._of(token, handle).items()]

    def remove_stream(self, token, handle, name):
        if self._of(token, handle).pop(name, None) is None:
            raise FileNotFoundError(errno.ENOENT, "no such stream", name)

    def rename_stream(self, token, handle, source, target, replace):
        streams = self._of(token, handle)
        if source not in streams:
            raise FileNotFoundError(errno.ENOENT, "no such stream", source)
        if target in streams and target != source and not replace:
            raise FileExistsError(errno.EEXIST, "there is such a stream", target)
        check_length(target)
        streams[target] = streams.pop(source)


def check_length(name):
    if len(name.encode("utf-8", "surrogatepass")) > 255:
        raise OSError(errno.ENAMETOOLONG, "a name that is too long", name)


class Stream(StreamFile):
    def __init__(self, data):
        self._data = data

    def size(self, token):
        return len(self._data)

    def pread(self, token, buffer, offset):
        part = self._data[offset : offset + len(buffer)]
        buffer[: len(part)] = part
        return len(part)

    def pwrite(self, token, data, offset):
        if data:
            self._grow(offset + len(data))
            self._data[offset : offset + len(data)] = data
        return len(data)

    def ftruncate(self, token, length):
        self._grow(length)
        del self._data[length:]

    def _grow(self, size):
        if size > LARGEST:
            raise OSError(errno.EFBIG, "a stream that is too large")
        self._data.extend(bytes(max(size - len(self._data), 0)))
