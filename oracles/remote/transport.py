"""One request and its reply over HTTP. The only module that knows httpx2; imported with the first request."""

from __future__ import annotations

import re
import ssl
import time
from collections.abc import Iterator
from urllib.parse import urlsplit

from oracles.errors import InvalidSpec, ModelError, one_line
from oracles.remote.config import MOST_IN_FLIGHT, RemoteConfig
from oracles.remote.exchange import Lost, NotSent
from oracles.wire.contract import HttpReply, HttpRequest

try:
    import httpx2
except ImportError:
    raise InvalidSpec("a remote model needs httpx2: pip install 'b3d-simkit[remote]'") from None

_LIMITS = httpx2.Limits(max_connections=MOST_IN_FLIGHT, max_keepalive_connections=MOST_IN_FLIGHT)


class Connection:
    """Kept connections to one service. Safe to share among threads.

    base: scheme, host and port; a request never goes anywhere else, whatever a reply says. prefix: put before every
    path. Certificates are verified, redirects are not followed, and proxies of the environment count only where the
    config says so.
    """

    def __init__(self, base: str, prefix: str, config: RemoteConfig) -> None:
        self._base, self._prefix, self._timeout = base, prefix, config.timeout
        self._host = urlsplit(base).netloc
        self._client = httpx2.Client(
            verify=_certificates(config.ca_file), trust_env=config.proxy, limits=_LIMITS, timeout=config.timeout
        )

    def exchange(self, request: HttpRequest, most: int) -> HttpReply:
        """The reply to one request. most: bytes of its body.

        Raises NotSent if no byte of the request left, Lost if it may have been answered, and ModelError for what no
        repetition can mend: a certificate that is not trusted, a redirect, and a reply that is too large or packed.
        """
        headers = {"user-agent": "simkit", "accept-encoding": "identity", **request.headers}
        built = self._client.build_request(
            request.method, f"{self._base}{self._prefix}{request.target}", headers=headers, content=request.body
        )
        until = time.monotonic() + self._timeout
        try:
            reply = self._client.send(built, stream=True, follow_redirects=False)
            try:
                return self._whole(reply, most, until)
            finally:
                reply.close()
        except (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout, httpx2.ProxyError) as error:
            if (refused := _certificate_error(error)) is not None:
                raise ModelError(
                    f"{self._host}: its certificate is not trusted ({refused}); correct the address, or name the "
                    "certificates to trust with remote.ca_file"
                ) from None
            if _speaks_no_tls(error):
                raise ModelError(f"{self._host} does not speak TLS here: write http:// in place of https://") from None
            said = f"no connection ({_why(error)}); check host and port, and whether the service is running"
            raise NotSent(said) from None
        except httpx2.HTTPError as error:
            raise Lost(f"no whole reply: {one_line(error)}") from None

    def close(self) -> None:
        """End all connections, also those in use."""
        self._client.close()

    def _whole(self, reply: httpx2.Response, most: int, until: float) -> HttpReply:
        headers = {name.lower(): value for name, value in reply.headers.items()}
        if 300 <= reply.status_code < 400:
            place = _scheme_and_host(headers.get("location", ""))
            raise ModelError(f"{self._host} redirects to {place}; nothing is sent there: give the final address")
        if headers.get("content-encoding", "identity").strip().lower() not in ("", "identity"):
            raise ModelError(
                f"{self._host} sends compressed replies, though asked not to; is there a proxy on the way?"
            )
        body = bytearray()
        for part in reply.iter_raw():
            body += part
            if len(body) > most:
                raise ModelError(f"{self._host} answers with more than {most:,} bytes; is it a service of this format?")
            if time.monotonic() > until:
                raise Lost(f"no whole reply in {self._timeout:g} s")
        return HttpReply(reply.status_code, headers, bytes(body))


def _scheme_and_host(location: str) -> str:
    """Where a redirect leads, without its path and query, which may hold what was sent: an API key."""
    try:
        found = urlsplit(location)
        host, port = found.hostname, found.port
    except ValueError:
        return "an address that cannot be read"
    if not host:
        return "another path of it"
    return repr(f"{found.scheme}://{host[:200]}" + ("" if port is None else f":{port}"))


def _certificates(file: str | None) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=file)
    except (OSError, ssl.SSLError) as error:
        raise InvalidSpec(f"remote.ca_file {file!r} cannot be used: {one_line(error)}") from None


def _certificate_error(error: BaseException) -> str | None:
    """Why a certificate was refused, if that is the cause of the error."""
    refused = (cause.verify_message for cause in _causes(error) if isinstance(cause, ssl.SSLCertVerificationError))
    return next(refused, None)


def _speaks_no_tls(error: BaseException) -> bool:
    """Whether something answered that is no TLS, as a service at http:// does. OpenSSL has two words for it."""
    reasons = {cause.reason for cause in _causes(error) if isinstance(cause, ssl.SSLError)}
    return not reasons.isdisjoint({"WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE"})


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The error and its causes, at most eight."""
    cause: BaseException | None = error
    for _ in range(8):
        if cause is None:
            return
        yield cause
        cause = cause.__cause__ or cause.__context__


def _why(error: Exception) -> str:
    """Why there is no connection, without the numbers and classes that only Python knows."""
    return re.sub(r"^(\w+: )?(\[Errno -?\d+\] )?", "", one_line(error)) or type(error).__name__
