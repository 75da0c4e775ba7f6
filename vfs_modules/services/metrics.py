"""Numbers that a module keeps for the administrator: how often, how much, how long. `lamina status` shows them.

They begin at nothing when the module's chain is built, live in memory, and may be changed from any thread. A module has
a fixed set of them: what a client may choose (a path, a name) is no part of a metric's name.
"""

import bisect
import itertools
import re
import threading
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple, TypeVar

_NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,62}")
_MOST: Final = 100
SECONDS: Final = (0.0001, 0.0005, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 30.0)
"""The bounds of a histogram that names none: for times in seconds."""


class MetricSample(NamedTuple):
    """A metric as it is now. `value`: the number; for a histogram the sum of what was observed,
    as often as `observed` says.

    `buckets` of a histogram are (bound, how many were no more than that), the last bound infinite.
    """

    name: str
    kind: str
    about: str
    value: float
    observed: int = 0
    buckets: tuple[tuple[float, int], ...] = ()


class Counter:
    """A number that only grows."""

    __slots__ = ("_lock", "about", "name", "value")

    def __init__(self, name: str, about: str) -> None:
        self.name = name
        self.about = about
        self.value: float = 0
        self._lock = threading.Lock()

    def add(self, amount: float = 1) -> None:
        """Count `amount` more; ValueError for less than nothing."""
        if amount < 0:
            raise ValueError(f"counter {self.name}: {amount} is less than nothing")
        with self._lock:
            self.value += amount

    def sample(self) -> MetricSample:
        """What it is now."""
        return MetricSample(self.name, "counter", self.about, self.value)


class Gauge:
    """A number that goes up and down."""

    __slots__ = ("_lock", "about", "name", "value")

    def __init__(self, name: str, about: str) -> None:
        self.name = name
        self.about = about
        self.value: float = 0
        self._lock = threading.Lock()

    def set(self, value: float) -> None:
        """Make it `value`."""
        self.value = value

    def add(self, amount: float = 1) -> None:
        """Make it so much more, or less."""
        with self._lock:
            self.value += amount

    def sample(self) -> MetricSample:
        """What it is now."""
        return MetricSample(self.name, "gauge", self.about, self.value)


class Histogram:
    """How often values of which size were observed: times in seconds, sizes in bytes."""

    __slots__ = ("_bounds", "_counts", "_lock", "about", "name", "value")

    def __init__(self, name: str, about: str, bounds: Sequence[float] = SECONDS) -> None:
        """`bounds`: the upper ends of its buckets, in order."""
        self.name = name
        self.about = about
        self.value: float = 0
        self._bounds = tuple(bounds)
        self._counts = [0] * (len(self._bounds) + 1)
        self._lock = threading.Lock()

    def observe(self, value: float) -> None:
        """Note one value."""
        place = bisect.bisect_left(self._bounds, value)
        with self._lock:
            self._counts[place] += 1
            self.value += value

    def sample(self) -> MetricSample:
        """What it is now."""
        with self._lock:
            counts, total = list(self._counts), self.value
        for place in range(1, len(counts)):
            counts[place] += counts[place - 1]
        buckets = tuple(zip((*self._bounds, float("inf")), counts, strict=True))
        return MetricSample(self.name, "histogram", self.about, total, counts[-1], buckets)


_Metric = TypeVar("_Metric", Counter, Gauge, Histogram)


class Metrics:
    """A module's metrics, by name. Asking for one again gives the same; as another kind it is a ValueError."""

    __slots__ = ("_metrics",)

    def __init__(self) -> None:
        self._metrics: dict[str, Counter | Gauge | Histogram] = {}

    def counter(self, name: str, about: str) -> Counter:
        """The counter `name` (lower case, digits, "_"); `about`: what it counts, in a phrase."""
        return self._get(Counter, name, lambda: Counter(name, about))

    def gauge(self, name: str, about: str) -> Gauge:
        """The gauge `name`; `about`: what it shows, in a phrase."""
        return self._get(Gauge, name, lambda: Gauge(name, about))

    def histogram(self, name: str, about: str, bounds: Sequence[float] = SECONDS) -> Histogram:
        """The histogram `name`, with buckets up to each of `bounds`, which must rise."""
        if not bounds or any(right <= left for left, right in itertools.pairwise(bounds)):
            raise ValueError(f"histogram {name}: its bounds must rise")
        return self._get(Histogram, name, lambda: Histogram(name, about, bounds))

    def samples(self) -> list[MetricSample]:
        """All of them as they are now, by name."""
        return [self._metrics[name].sample() for name in sorted(self._metrics)]

    def _get(self, kind: type[_Metric], name: str, make: Callable[[], _Metric]) -> _Metric:
        found = self._metrics.get(name)
        if isinstance(found, kind):
            return found
        if found is not None:
            raise ValueError(f"metric {name} is a {type(found).__name__.lower()} already")
        if not _NAME.fullmatch(name):
            raise ValueError(f"{name!r} is no name of a metric: lower-case letters, digits and underscores")
        if len(self._metrics) >= _MOST:
            raise ValueError(f"{_MOST} metrics are enough for a module: what varies is no part of a name")
        made = self._metrics[name] = make()
        return made
