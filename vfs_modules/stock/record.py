"""A module that records what is asked of the chain below it and what comes of it, to be played to another chain.

`lamina replay`, or `lamina.vfs_modules.testing.replay` in a test, plays a recording and tells what is different. Files
are written by a thread of their own: a request never waits, and what there is no room for is counted in the recording.
"""

import errno
import itertools
import logging
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Annotated, Any, ClassVar, Final

from pydantic import AfterValidator, Field

from lamina.vfs_modules.described import error_name, named
from lamina.vfs_modules.engine import offload
from lamina.vfs_modules.handle import VfsHandle
from lamina.vfs_modules.module import ModuleOptions, ShareInfo, VfsModule
from lamina.vfs_modules.operations import OPERATIONS, Operation
from lamina.vfs_modules.recording.form import (
    DataForm,
    Recording,
    as_line,
    data_of,
    header,
    token_line,
)
from lamina.vfs_modules.recording.line_writer import LineWriter
from lamina.vfs_modules.recording.values import encode
from lamina.vfs_modules.substitution import AT_CONNECT, Substituted, as_component, substitute
from lamina.vfs_modules.syscalls.log_file import LogFile
from lamina.vfs_modules.token import SERVER_TOKEN, ImpersonationToken

log = logging.getLogger(__name__)

_FILES: Final = 10_000
_ENTRIES: Final = 10_000
"""Entries that are kept of one listing, and ten times as many of all that are being read."""
_MEBIBYTE: Final = 1 << 20


def _absolute(path: str) -> str:
    if path and not path.startswith("/"):
        raise ValueError(f"file = {path!r} must be an absolute path")
    return path


class RecordOptions(ModuleOptions):
    """Options of `record`."""

    file: Annotated[str, AfterValidator(_absolute), Substituted(AT_CONNECT)] = Field(
        default="",
        description="where to; %S is the share's name, and -2, -3 … is added while there is such a file; "
        "without, in memory, for tests",
    )
    data: DataForm = Field(default="hash", description="what is kept of the data that is read and written")
    limit: int = Field(default=256 * _MEBIBYTE, ge=1024, description="bytes after which the recording ends")


class RecordModule(VfsModule, public=("recording",)):
    """Records what is asked of the chain below."""

    Options = RecordOptions
    name: ClassVar[str] = "record"

    options: RecordOptions

    def __init__(self, options: RecordOptions | None = None) -> None:
        super().__init__(options)
        self._lines: list[bytes] = []
        self._writer: LineWriter | None = None
        self._path = ""
        self._size = 0
        self._end = "not begun"
        self._calls = itertools.count(1)
        self._tokens: dict[int, int] = {}
        self._handles: dict[VfsHandle, int] = {}
        self._numbers = itertools.count(1)
        self._entries = 0

    def recording(self) -> Recording:
        """What was recorded so far in memory; of a file, when the share is no longer served."""
        if self._path:
            return Recording.load(self._path)
        return Recording.parse([*self._lines, *([] if self._end else [as_line({"end": "closed"})])])

    # Lifecycle.

    def one_process(self) -> str:
        """A recording is played as it was made, in one order."""
        return "records in which order things are done, and several processes have none that it could know"

    def connect(self, share: ShareInfo) -> None:
        """Begin. Raises OSError where there cannot be a file."""
        if self.options.file:
            path = substitute(self.options.file, {"S": share.name}, as_component)
            file = offload(SERVER_TOKEN, _new_file, path)
            self._path = file.path
            self._writer = LineWriter(file, lambda count: as_line({"gap": count}))
        self._end = ""
        self._write(header(share.name, self.options.data, time.time_ns()))

    def disconnect(self) -> None:
        """End."""
        self._finish("closed")

    def _finish(self, why: str) -> None:
        if self._end:
            return
        self._end = why
        last = as_line({"end": why})
        writer, self._writer = self._writer, None
        if writer is None:
            self._lines.append(last)
        else:
            offload(SERVER_TOKEN, writer.close, last)

    def _write(self, entry: Mapping[str, Any]) -> None:
        if self._end:
            return
        line = as_line(entry)
        self._size += len(line)
        if self._size > self.options.limit:
            log.warning("share %s: the recording has reached its limit", self.share.name if self.share else "")
            self._finish("limit")
        elif self._writer is not None:
            self._writer.add(line)
        else:
            self._lines.append(line)

    # Operations.

    def around(self, operation: Operation, call: Callable[..., Any]) -> Callable[..., Any]:
        """Record every operation of the contract."""
        name = operation.name
        if name not in OPERATIONS:
            return call

        def recorded(token: ImpersonationToken, *arguments: Any, **keywords: Any) -> Any:
            if self._end:
                return call(token, *arguments, **keywords)
            values = named(name, arguments, keywords)
            entry: dict[str, Any] = {"n": next(self._calls), "op": name, "by": self._number_of_token(token)}
            entry["args"] = self._arguments(values)
            begun = time.perf_counter_ns()
            try:
                result = call(token, *arguments, **keywords)
            except BaseException as error:
                entry["error" if isinstance(error, OSError) else "exception"] = error_name(error)
                raise
            else:
                return self._noted(name, entry, values, result)
            finally:
                entry["us"] = (time.perf_counter_ns() - begun) // 1000
                if name == "close":
                    self._handles.pop(values["handle"], None)
                if name != "readdir" or "result" not in entry:
                    self._write(entry)

        return recorded

    def _noted(self, name: str, entry: dict[str, Any], values: Mapping[str, Any], result: Any) -> Any:
        if name == "readdir":
            entry["result"] = {"entries": [], "complete": False}
            return self._listed(entry, iter(result))
        if name == "pread":
            entry["result"] = {"count": result, "data": data_of(values["buffer"][:result], self.options.data)}
        else:
            entry["result"] = encode(result, self._number_of)
        return result

    def _listed(self, entry: dict[str, Any], entries: Iterator[Any]) -> Iterator[Any]:
        """A listing as it is read; its line is written when that is over."""
        told = entry["result"]
        is_whole = True
        try:
            for one in entries:
                if is_whole := is_whole and len(told["entries"]) < _ENTRIES and self._entries < 10 * _ENTRIES:
                    told["entries"].append(encode(one, self._number_of))
                    self._entries += 1
                yield one
            told["complete"] = is_whole
        except OSError as error:
            entry["error"] = error_name(error)
            raise
        finally:
            self._entries -= len(told["entries"])
            self._write(entry)

    def _arguments(self, values: Mapping[str, Any]) -> dict[str, Any]:
        told: dict[str, Any] = {}
        for key, value in values.items():
            if key == "buffer":
                told["length"] = len(value)
            elif key == "data":
                told[key] = data_of(value, self.options.data)
            else:
                told[key] = encode(value, self._number_of)
        return told

    def _number_of(self, handle: VfsHandle) -> int:
        number = self._handles.get(handle)
        if number is None:
            number = self._handles[handle] = next(self._numbers)
        return number

    def _number_of_token(self, token: ImpersonationToken) -> int:
        if token is SERVER_TOKEN:
            return 0
        number = self._tokens.get(token.cache_id)
        if number is None:
            number = self._tokens[token.cache_id] = len(self._tokens) + 1
            self._write(token_line(number, token))
        return number


def _new_file(path: str) -> LogFile:
    """A file at `path`, or with a number before its ending where there is one already."""
    stem, dot, ending = path.rpartition(".")
    if not dot or "/" in ending:
        stem, dot, ending = path, "", ""
    for number in range(1, _FILES):
        try:
            file = LogFile(path if number == 1 else f"{stem}-{number}{dot}{ending}")
        except OSError as error:
            if error.errno != errno.EBUSY:
                raise
            continue
        if not file.tail(1):
            return file
        file.close()
    raise OSError(errno.EEXIST, "there are too many recordings", path)
