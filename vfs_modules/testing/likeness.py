"""Whether what a chain answers is what another answered, but for what must be otherwise. Pure.

Inode numbers may be any, if the same recorded one is always the same now. A time that was set in the recording must be
that time; another may be any, as it is when something happened. Sizes of directories, space that is taken, and what
there is of a volume depend on where the files are; so do owner and mode of the root. Other owners are compared through
the users that were recorded.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from lamina.vfs_modules.recording.form import Recording
from lamina.vfs_modules.recording.values import kind_of

Found = Iterator[tuple[str, Any, Any]]
"""What differs: its name within the result, what it was and what it is."""

_TIMES: Final = ("atime_ns", "mtime_ns", "ctime_ns", "btime_ns", "creation_ns", "change_ns")
_SETTING: Final = frozenset({"set_times", "set_dos_attributes"})
_FORMAT_MASK: Final = 0o170000
_DIRECTORY: Final = 0o040000
_UNLIKE: Final = frozenset({"VolumeStatistics"})
_DONT_CARE: Final = frozenset({"allocated", "dev", "ino", "uid", "gid", *_TIMES})


class Likeness:
    """Compares encoded results of one replay. `uids`, `gids`: who was recorded, and who plays him."""

    def __init__(self, recording: Recording, uids: Mapping[int, int], gids: Mapping[int, int]) -> None:
        self._set = frozenset(_times_set(recording))
        self._ids = {"uid": uids, "gid": gids}
        self._root = _root_of(recording)
        self._now: dict[Any, Any] = {}
        self._then: dict[Any, Any] = {}

    def compare(self, was: Any, found: Any, what: str = "") -> Found:
        """What is not alike."""
        kind = kind_of(was)
        if kind != kind_of(found) or (isinstance(was, list) != isinstance(found, list)):
            yield what, was, found
        elif isinstance(was, list):
            yield from self._compare_lists(was, found, what)
        elif kind == "FileStat":
            yield from self._compare_stats(was[kind], found[kind], what)
        elif kind and kind not in _UNLIKE and isinstance(was[kind], dict):
            yield from self._compare_fields(was[kind], found[kind], what)
        elif kind not in _UNLIKE and was != found:
            yield what, was, found

    def _compare_fields(self, was: Mapping[str, Any], found: Mapping[str, Any], what: str) -> Found:
        for name, value in was.items():
            part = f"{what} {name}".strip()
            if name in ("stat", "dos") and (value is None or found.get(name) is None):
                continue  # told where it is cheap
            if name in _TIMES:
                if value in self._set and found.get(name) != value:
                    yield part, value, found.get(name)
            elif name not in _DONT_CARE:
                yield from self.compare(value, found.get(name), part)

    def _compare_stats(self, was: Mapping[str, Any], found: Mapping[str, Any], what: str) -> Found:
        then, now = _file_of(was), _file_of(found)
        is_directory = was["mode"] & _FORMAT_MASK == _DIRECTORY == found["mode"] & _FORMAT_MASK
        if is_directory and then == self._root:
            return
        left_out = ("size", "nlink") if is_directory else ()
        yield from self._compare_fields({key: value for key, value in was.items() if key not in left_out}, found, what)
        for name, known in self._ids.items():
            if was[name] in known and found[name] != known[was[name]]:
                yield f"{what} {name}".strip(), known[was[name]], found[name]
        if self._now.setdefault(then, now) != now or self._then.setdefault(now, then) != then:
            yield f"{what} ino".strip(), f"the file {was['ino']}", f"another file, {found['ino']}"

    def _compare_lists(self, was: list[Any], found: list[Any], what: str) -> Found:
        then, now = _by_name(was), _by_name(found)
        for name in then.keys() | now.keys():
            if name not in now or name not in then:
                yield f"{what} {name}".strip(), _there(name in then), _there(name in now)
            else:
                yield from self.compare(then[name], now[name], f"{what} {name}".strip())


def _there(is_there: bool) -> str:
    return "there" if is_there else "not there"


def _file_of(stat: Mapping[str, Any]) -> tuple[int, int, int | None]:
    # A number is given to another file when one is gone: the time of birth tells them apart.
    return stat["dev"], stat["ino"], stat["btime_ns"]


def _root_of(recording: Recording) -> tuple[int, int, int | None] | None:
    """The share's root, as it was first looked at."""
    roots = [call.result for call in recording.calls if call.operation == "open_root"]
    looked = (call for call in recording.calls if call.operation == "fstat" and call.arguments["handle"] in roots)
    stat = next((call.result for call in looked if call.result), None)
    return _file_of(stat["FileStat"]) if stat is not None else None


def _by_name(values: list[Any]) -> dict[str, Any]:
    named: dict[str, Any] = {}
    for position, value in enumerate(values):
        kind = kind_of(value)
        content = value[kind] if kind else value
        name = content.get("name") if isinstance(content, dict) else content
        named[name if isinstance(name, str) else str(position)] = value
    return named


def _times_set(recording: Recording) -> Iterator[int]:
    for call in recording.calls:
        if call.operation in _SETTING:
            for value in call.arguments.values():
                kind = kind_of(value)
                content = value[kind] if kind else None
                if isinstance(content, dict):
                    yield from (time for key, time in content.items() if key.endswith("_ns") and time is not None)
