"""Looking out for a second holder of our key before it signs anything.

A key that signs in two places convicts itself, and nearly everyone who ever lost a stake that way had simply
started the same key twice. So after every start the node first listens:

- Δ doubled, always: whoever votes now is heard.
- If the log lies where it lay (`SigningGuard.is_in_place`) and was in use at most `watch_heights` views ago
  (which nobody can say before a peer has told how far it is, and all of that is here), that is enough.
  Anybody else who started with our key has to watch that long itself, and would have heard us. So a restart
  costs two Δ, and a cluster that lost power as one goes on.
- Else until `watch_heights` heights became final before our eyes, or none for as long, with a peer at hand
  and nothing to catch up with, as `PATIENCE_VIEWS` views take that bring nothing: a holder that is awake
  speaks in each. That is for a chain that stands still because it misses us: nobody makes heights for us to
  see.

A vote, a proposal, or a seal in a certificate that our key signed and our log does not hold stops the node,
now and later (`consensus.verifier`).

What this does not see: a second holder that is cut off from us while we watch, and a clone of a whole machine
that starts within the views in which the original stopped.
"""

from collections.abc import Awaitable, Callable
from typing import Final

import trio

from chain.types.committee import is_quorum
from chain.types.params import ChainParams
from consensus.signing.signer import Signer
from consensus.simplex.protocol import Simplex
from p2p.network import Network

WATCHED_HEIGHTS: Final = 10
"""What CometBFT advises for its `double_sign_check_height` (off there unless set). It is also how long a node
may be away and come back at once, and most of what a longer absence costs: on a chain of half a second a node
signs again within ten seconds of its start."""

PATIENCE_VIEWS: Final = 4


class Watch:
    """Holds the signer back until it is known to be the only one."""

    def __init__(self, signer: Signer | None, *, heights: int, params: ChainParams) -> None:
        """Watch for ``signer``, if there is one; ``heights`` of 0 turns the watch off."""
        self._signer = signer
        self._heights = heights
        self._listen_ms = 2 * params.network_delay_ms
        self._patience_ms = PATIENCE_VIEWS * (params.block_interval_ms + 3 * params.network_delay_ms)
        self._step_ms = params.network_delay_ms
        self._seen = 0
        self._listened = self._quiet = 0
        """Milliseconds in which somebody was there: in all, and since the last height."""
        self.is_over = signer is None or heights == 0

    @property
    def signer(self) -> Signer | None:
        """Who may sign now."""
        return self._signer if self.is_over else None

    def saw_height(self) -> None:
        """A height became final while we followed the chain."""
        self._seen += 1
        self._quiet = 0

    async def run(
        self,
        *,
        network: Network,
        instance: Callable[[], Simplex],
        is_behind: Callable[[], bool],
        over: Callable[[], Awaitable[None]],
    ) -> None:
        """Wait until the key may sign, then call ``over``; time without a peer does not count.

        Args:
            network: Whose peers there are to be heard.
            instance: The running instance of the protocol, an observer's.
            is_behind: Whether a peer has more of the chain, or none has told so far how much: then our log
                may be of any age.
            over: Has to see to it that `end` is called.
        """
        if self._signer is None or self.is_over:
            return
        while not self._is_enough(instance(), is_behind=is_behind()):
            await trio.sleep(self._step_ms / 1000)
            is_alone = self._is_alone(instance())
            if is_alone or network.peers():
                self._listened += self._step_ms
                # Whoever is behind hears nothing of the present, and cannot tell that it is quiet.
                self._quiet += self._step_ms if is_alone or not is_behind() else 0
        await over()

    def _is_enough(self, simplex: Simplex, *, is_behind: bool) -> bool:
        assert self._signer is not None, "nobody to hold back"
        if self._listened < self._listen_ms:
            return False
        at = simplex.epoch, simplex.view
        # Who is a quorum alone made all there is of the chain, and need ask nobody.
        is_level = self._is_alone(simplex) or not is_behind
        is_known = is_level and self._signer.was_here(at, within=self._heights)
        return is_known or self._seen >= self._heights or self._quiet >= self._patience_ms

    def _is_alone(self, simplex: Simplex) -> bool:
        assert self._signer is not None, "nobody to hold back"
        return is_quorum(simplex.committee.seats_of(self._signer.public_key), simplex.committee.seats)

    def end(self) -> None:
        """Let the key sign, and note in its log that it signs here.

        Raises:
            OSError: The log could not be written.
        """
        assert self._signer is not None, "nobody was held back"
        self._signer.settle()
        self.is_over = True
