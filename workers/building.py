"""Building a line, once: who may try now, and what the whole fleet is told of how it went."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from workers import errors
from workers.counting import Counters, Tally, shown
from workers.ftps import errors as ftps
from workers.ftps.connection import Connection, Peer
from workers.ftps.features import Features
from workers.ftps.tls import Trust
from workers.ledger import Ledger
from workers.settings import Endpoint
from workers.wire_log import into_log

log = logging.getLogger("towline.session")

NOOP_EVERY_S = 30.0
"""Between two NOOPs during a transfer: firewalls that forget silent lines do it after a minute or more."""


LOOK_S = 0.05
"""Between two looks whether it is our turn to log in."""


class _NotYet(ftps.ConnectFailed):
    """Another process is trying these credentials, and takes its time; this one has not sent them."""


class Builder:
    """Builds the lines of one endpoint; holds none."""

    def __init__(
        self,
        endpoint: Endpoint,
        ledger: Ledger,
        counters: Counters,
        *,
        wire: Callable[[str], None] | None = None,
    ) -> None:
        """counters: get the failures. wire: told every command and reply, without the password
        (`Connection.open`); left out: the log is, where the endpoint wants it."""
        self._endpoint = endpoint
        self._counters = counters
        self._book, self._now = ledger.endpoints, ledger.now
        self._wire = into_log(endpoint.name) if wire is None and endpoint.wire_log else wire

    def build(self, tally: Tally) -> Connection:
        """A new connection, with new objects throughout; counted in the tally and in the ledger.

        Raises EndpointClosed, LoginRefused and CertificateRefused, which are final, ReconnectFailed where the
        breaker is open and heeded, and `ftps.Transient`.
        """
        name = self._endpoint.name
        secret = self._endpoint.secret()
        credentials = self._book.digest(self._endpoint.user, secret)
        self.refuse_if_closed(credentials)
        if tally.heeds_breaker and not tally.connects:
            self._refuse_if_down(tally)
        tally.connects += 1
        since = self._now()
        if self._endpoint.tls != "off" and not self._endpoint.verify:
            log.warning(
                "%s: verify = false: any certificate is believed", name, extra={"action": "line.unverified"}
            )
        learned = self._book.get(name).features_json
        try:
            line = Connection.open(
                peer_of(self._endpoint, secret),
                known=Features.from_json(learned) if learned else None,
                wire=self._wire,
                turn=lambda: self._turn(credentials, since),
            )
        except _NotYet:
            raise
        except ftps.FtpsError as failure:
            self._tell_everybody(failure, credentials)
            raise
        try:
            self._book.connected(name)
            self.learn(line)
        except BaseException:
            line.close()  # nobody else knows of it
            raise
        return line

    @contextmanager
    def _turn(self, credentials: str, since: float) -> Iterator[None]:
        """Around the login. Alone, unless one has worked since we began: a wrong password is tried once.

        Raises EndpointClosed where another's try has shown that.
        """
        name, limit = self._endpoint.name, self._endpoint.connect_timeout
        began = time.monotonic()
        while not self._book.may_login(name, credentials, since=since, until_s=limit + 1):
            self.refuse_if_closed(credentials)
            if time.monotonic() - began > limit / 2:
                raise _NotYet("another process is trying these credentials")
            time.sleep(LOOK_S)
        yield
        self._book.logged_in(name, credentials)

    def learn(self, line: Connection) -> None:
        """Keep what the line has found out: a refused EPSV need not be refused every time."""
        not_after = line.tls.not_after if line.tls else None
        self._book.learn(self._endpoint.name, line.features.to_json(), not_after)

    def refuse_if_closed(self, credentials: str | None = None) -> None:
        """Raises EndpointClosed where the endpoint is paused, or closed for these credentials."""
        if credentials is None:
            credentials = self._book.digest(self._endpoint.user, self._endpoint.secret())
        shut = self._book.is_closed(self._endpoint.name, credentials)
        if shut is not None:
            since = shut.closed_at or shut.paused_at
            raise errors.EndpointClosed(self._endpoint.name, since, shut.closed_reason or "paused")

    def _refuse_if_down(self, tally: Tally) -> None:
        """Raises ReconnectFailed, with no connect tried, while the endpoint's breaker is open.

        Else every hint of every process would knock at a door that is known to be shut, for a whole budget
        each, and the client be banned for it (field note 10).
        """
        down = self._book.is_tripped(self._endpoint.name)
        if down is not None:
            facts = (down.consecutive_failures, tally.reconnects, tally.elapsed_s, down.last_error or "")
            raise errors.ReconnectFailed(self._endpoint.name, 0, *facts)

    def exhausted(self, last: ftps.Transient, tally: Tally) -> errors.ReconnectFailed:
        """The budget is used up, and no line came of it: open the breaker, and say so with its counts.

        A server that is full is not down: others have lines to it.
        """
        name = self._endpoint.name
        if tally.connects and not isinstance(last, ftps.Capacity):
            self._book.trip(name, self._endpoint.reconnect.within)
        failures = self._book.get(name).consecutive_failures
        facts = (tally.connects, failures, tally.reconnects, tally.elapsed_s, shown(last))
        return errors.ReconnectFailed(name, *facts)

    def _tell_everybody(self, failure: ftps.FtpsError, credentials: str) -> None:
        """Count a failed connect, here and in the ledger; raise what is final."""
        name = self._endpoint.name
        self._counters.failures[type(failure).__name__] += 1
        self._counters.last_error = shown(failure)
        if isinstance(failure, ftps.LoginRefused):
            self._book.close(name, str(failure), credentials)
            raise errors.LoginRefused(name, str(failure)) from failure
        self._book.failed(name, shown(failure))
        if isinstance(failure, ftps.CertificateRefused | ftps.TlsRefused):
            raise errors.CertificateRefused(name, str(failure)) from failure


def peer_of(endpoint: Endpoint, secret: str) -> Peer:
    """What the protocol must know of an endpoint."""
    return Peer(
        host=endpoint.host,
        port=endpoint.port,
        user=endpoint.user,
        password=secret,
        tls=endpoint.tls,
        trust=Trust(
            verify=endpoint.verify,
            ca_file=str(endpoint.ca_file) if endpoint.ca_file else None,
            fingerprints=tuple(endpoint.fingerprint),
            client_cert=str(endpoint.client_cert) if endpoint.client_cert else None,
            client_key=str(endpoint.client_key) if endpoint.client_key else None,
            tls_min=endpoint.tls_min,
            tls_max=endpoint.tls_max,
        ),
        encoding=endpoint.encoding,
        zone=endpoint.timezone,
        connect_timeout=endpoint.connect_timeout,
        reply_timeout=endpoint.reply_timeout,
        probe_timeout=endpoint.probe_timeout,
        idle_timeout=endpoint.idle_timeout,
        trust_pasv_address=tuple(str(network) for network in endpoint.trust_pasv_address),
        active_ports=endpoint.active_ports,
        noop_every=NOOP_EVERY_S if endpoint.noop_during_transfer else None,
    )
