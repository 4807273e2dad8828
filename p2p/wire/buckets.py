"""Token buckets: how much a peer may send before it is read more slowly."""


class TokenBucket:
    """Holds up to `burst` tokens and gains `rate` tokens a second, on a clock that the caller reads."""

    def __init__(self, *, rate: float, burst: float, now: float) -> None:
        self._rate = rate
        self._burst = burst
        self._tokens = burst
        self._at = now

    def change(self, *, rate: float, burst: float, now: float) -> None:
        """Go on at another rate: a larger burst can be used at once, and nobody is put into debt."""
        self._refill(now)
        self._tokens = min(self._tokens + max(0.0, burst - self._burst), burst)
        self._rate, self._burst = rate, burst

    def take(self, cost: float, now: float) -> float:
        """Take `cost` tokens, going into debt if need be.

        Returns:
            Seconds until the debt is paid; 0 if there is none.
        """
        self._refill(now)
        self._tokens -= cost
        return max(0.0, -self._tokens / self._rate)

    def try_take(self, cost: float, now: float) -> bool:
        """Take `cost` tokens if they are there."""
        self._refill(now)
        if self._tokens < cost:
            return False
        self._tokens -= cost
        return True

    def _refill(self, now: float) -> None:
        self._tokens = min(self._burst, self._tokens + (now - self._at) * self._rate)
        self._at = now
