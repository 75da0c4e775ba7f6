"""Spans of time as an administrator writes them, and whether a moment lies in one. Pure: the moment is an argument.

A span is two moments: `"today 8:00", "tomorrow 0:00"` as Samba's `readonly:period` has them, dates such as
`"2026-12-24 18:00"`, or two times of day, which come again every day and may go over midnight.
"""

import re
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import Final

_DAYS: Final = {"yesterday": -1, "today": 0, "tomorrow": 1}
_TIME: Final = re.compile(r"(\d{1,2}):(\d{1,2})(?::(\d{1,2}))?")


@dataclass(frozen=True, slots=True)
class _Moment:
    """A time of day, and which day: a date, so many days from today, or (None) every day."""

    at: time
    day: date | int | None

    def on(self, today: date) -> datetime:
        day = today + timedelta(self.day or 0) if not isinstance(self.day, date) else self.day
        return datetime.combine(day, self.at)


@dataclass(frozen=True, slots=True)
class Period:
    """From `begin` on until before `end`, in the machine's local time."""

    begin: _Moment
    end: _Moment

    def contains(self, now: datetime) -> bool:
        """Whether `now` lies in it."""
        begin, end = self.begin, self.end
        if begin.day is not None:
            return begin.on(now.date()) <= now < end.on(now.date())
        if begin.at < end.at:
            return begin.at <= now.time() < end.at
        return now.time() >= begin.at or now.time() < end.at


def parse_period(begin: str, end: str) -> Period:
    """The span that two texts describe. Raises ValueError, with what could be written."""
    period = Period(_moment(begin), _moment(end))
    if (period.begin.day is None) != (period.end.day is None):
        raise ValueError(f"{begin!r} and {end!r}: either both have a day or both are times of every day")
    return period


def _moment(text: str) -> _Moment:
    words = text.strip().lower()
    day, _, rest = words.partition(" ")
    if day in _DAYS:
        return _Moment(_time(rest.strip() or "0:00", text), _DAYS[day])
    if _TIME.fullmatch(words):
        return _Moment(_time(words, text), None)
    try:
        when = datetime.fromisoformat(text.strip())
    except ValueError:
        raise _unknown(text) from None
    return _Moment(when.time(), when.date())


def _time(words: str, text: str) -> time:
    match = _TIME.fullmatch(words)
    if match is None:
        raise _unknown(text)
    try:
        return time(int(match[1]), int(match[2]), int(match[3] or 0))
    except ValueError:
        raise _unknown(text) from None


def _unknown(text: str) -> ValueError:
    return ValueError(f'{text!r} is no moment; write "today 8:00", "tomorrow", "18:30" or "2026-12-24 18:00"')
