"""A pace that work must not exceed on average: so much a second, with a stock for bursts. Pure: time is an argument.

The generic cell rate algorithm (ITU-T I.371): one number, the time until which all that was taken is paid for.
"""


class Pace:
    """`rate` units a second; `burst` is how many may be taken at once after a rest."""

    __slots__ = ("_burst_seconds", "paid_until", "rate")

    def __init__(self, rate: float, burst: float) -> None:
        self.rate = rate
        self._burst_seconds = burst / rate
        self.paid_until = float("-inf")

    def take(self, amount: float, now: float) -> float:
        """Take some; how many seconds to wait before using it. Whoever comes first waits least.

        More than a burst at once waits as a burst does; what comes after it waits for it.
        """
        begin, seconds = max(self.paid_until, now), amount / self.rate
        self.paid_until = begin + seconds
        return max(0.0, begin + min(seconds, self._burst_seconds) - self._burst_seconds - now)

    def give_back(self, amount: float) -> None:
        """Give back what was taken and not used."""
        self.paid_until -= amount / self.rate

    def is_idle(self, now: float) -> bool:
        """Whether all that was taken is paid for: a new pace would do the same."""
        return self.paid_until <= now
