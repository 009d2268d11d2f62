"""What a connection needs: an address, a key, proxies and certificates; and why one cannot be made."""

from __future__ import annotations

import os
import socket
import ssl
import unicodedata
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple
from urllib.parse import parse_qsl, urlsplit, urlunsplit

from embexp.errors import ConfigError, EmbexpError
from embexp.services.request_errors import RetryableError, UnreachableError

_ENDPOINTS = ("/chat/completions", "/completions", "/responses", "/models", "/embeddings")
_PROXIES = ("http_proxy", "https_proxy", "all_proxy")
_PROXY_SCHEMES = ("http", "https", "socks5", "socks5h")


class Address(NamedTuple):
    """The address of a service up to ``/v1``, and the parameters that every request carries."""

    url: str
    parameters: Mapping[str, str]


def service_address(base_url: str, *, group: str = "llm") -> Address:
    """Return the address of a service; the path of an endpoint at its end is taken off.

    Args:
        base_url: As a user gave it: ``/v1`` is added where there is no path.
        group: The config group that has the key ``base_url``, for the message.

    Raises:
        ConfigError: It is not an address with http:// or https://.
    """
    problem = _unprintable(base_url)
    parts = urlsplit(base_url if problem is None else "")
    if problem or parts.scheme not in ("http", "https") or not parts.hostname or " " in base_url.strip():
        raise ConfigError(
            f"{group}.base_url={base_url.encode('unicode_escape').decode() if problem else base_url}: "
            f"{f'it holds {problem}; ' if problem else ''}give an address with http:// or https://, as in "
            "http://localhost:8000/v1."
        )
    try:
        _ = parts.port
    except ValueError as error:
        raise ConfigError(
            f"{group}.base_url={base_url}: the port is no number from 0 to 65535; give one as in "
            "http://localhost:8000/v1."
        ) from error
    path = parts.path.rstrip("/")
    for endpoint in _ENDPOINTS:
        path = path.removesuffix(endpoint).rstrip("/")
    path = path or "/v1"
    if path.endswith("/v1/v1"):
        path = path.removesuffix("/v1")
    return Address(urlunsplit((parts.scheme, parts.netloc, path, "", "")), dict(parse_qsl(parts.query)))


def usable_key(variable: str, *, group: str = "llm") -> str | None:
    """Return the key in an environment variable, without spaces around it; None where there is none.

    Args:
        variable: The variable's name.
        group: The config group that names it, for the message.

    Raises:
        ConfigError: It holds a character that no key has.
    """
    key = os.environ.get(variable, "").strip()
    problem = _unprintable(key)
    if problem is None and key[:1] in "\"'“‘" and key:
        problem = "quotation marks around the key"
    if problem is None and not key.isascii():
        place = next(at for at, character in enumerate(key) if not character.isascii())
        problem = f"a character that is not ASCII, at position {place + 1}"
    if problem is not None:
        raise ConfigError(
            f"{variable} ({group}.api_key_env): the value holds {problem}, so no service would accept it: "
            f"copy the key again and run `export {variable}=…`."
        )
    return key or None


def _unprintable(text: str) -> str | None:
    """Return what an invisible character in a text is, and where; None without one."""
    for place, character in enumerate(text, start=1):
        if character.isspace() or unicodedata.category(character) in ("Cc", "Cf", "Zs", "Zl", "Zp"):
            name = unicodedata.name(character, "a control character")
            return f"an invisible character (U+{ord(character):04X}, {name}) at position {place}"
    return None


def check_environment() -> None:
    """Check what the environment says about proxies and certificates, before the first request.

    Raises:
        ConfigError: A variable has a value with which no connection can be made; the message names it.
    """
    import httpx

    for variable, value in _set_variables(_PROXIES):
        _check_proxy(variable, value)
    for variable, value in _set_variables(("no_proxy",)):
        _check_exceptions(variable, value)
    for variable in ("SSL_CERT_FILE", "SSL_CERT_DIR"):
        if os.environ.get(variable):
            _check_certificates(variable, os.environ[variable])
    try:
        httpx.AsyncClient()
    except (ValueError, ImportError, OSError, httpx.InvalidURL) as error:
        raise ConfigError(
            f"The environment's settings for proxies and certificates allow no connection ({error}): see "
            "HTTP_PROXY, HTTPS_PROXY, ALL_PROXY, NO_PROXY, SSL_CERT_FILE and SSL_CERT_DIR."
        ) from error


def _set_variables(names: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    """Yield the variables with these names, in either case, that are set; the lower case wins."""
    for name in names:
        for variable in (name, name.upper()):
            if os.environ.get(variable, "").strip():
                yield variable, os.environ[variable].strip()
                break


def _check_proxy(variable: str, value: str) -> None:
    import httpx

    parts = urlsplit(value if "://" in value else f"http://{value}")
    shown = _without_password(value)
    if parts.scheme not in _PROXY_SCHEMES:
        hint = f"write socks5://{parts.netloc.rpartition('@')[2]}" if parts.scheme.startswith("socks") else ""
        raise ConfigError(
            f"{variable}={shown}: {parts.scheme}:// is no kind of proxy that embexp can use: "
            f"{hint or 'give http://HOST:PORT'}, or unset the variable."
        )
    if parts.scheme.startswith("socks"):
        try:
            import socksio  # type: ignore[import-not-found]  # noqa: F401
        except ImportError as error:
            raise ConfigError(
                f"{variable}={shown}: a SOCKS proxy needs the package socksio: pip install socksio, or unset "
                f"the variable where the service is reached without it."
            ) from error
    try:
        httpx.Proxy(urlunsplit(parts))
    except (ValueError, httpx.InvalidURL) as error:
        raise ConfigError(f"{variable}={shown}: not a proxy's address ({error}).") from error


def _without_password(url: str) -> str:
    before, at, host = url.rpartition("@")
    return (
        f"{before.partition('://')[0]}://***@{host}" if at and "://" in before else f"{at and '***@'}{host}"
    )


def _check_exceptions(variable: str, value: str) -> None:
    """Check that httpx can read each host of NO_PROXY; IPv6 addresses in brackets or ranges it cannot."""
    for entry in (part.strip() for part in value.split(",")):
        if "[" in entry or (entry.count(":") > 1 and "/" in entry):
            raise ConfigError(
                f"{variable} holds {entry!r}, which is not read: write an IPv6 address bare, as in ::1, "
                "without brackets, port or range."
            )


def _check_certificates(variable: str, value: str) -> None:
    path = Path(value)
    wanted = path.is_file() if variable == "SSL_CERT_FILE" else path.is_dir()
    if not wanted:
        kind = "file" if variable == "SSL_CERT_FILE" else "folder"
        raise ConfigError(
            f"{variable}={value}: there is no such {kind}, so no certificate can be checked: name the {kind} "
            "with your CA's certificates, or unset the variable."
        )
    if variable == "SSL_CERT_FILE":
        try:
            ssl.create_default_context(cafile=value)
        except (ssl.SSLError, OSError) as error:
            raise ConfigError(
                f"{variable}={value}: no certificate can be read from it ({error}): give a PEM file."
            ) from error


def connection_error(error: BaseException, url: str, *, group: str = "llm") -> Exception:
    """Return what to do about a request that reached no service, or got no whole answer.

    Args:
        error: What the HTTP client raised.
        url: The address that was asked.
        group: The config group that has the key ``base_url``, for the message.
    """
    import httpx

    causes = list(_causes(error))
    host = urlsplit(url).netloc.rpartition("@")[2] or url
    if tls := next((cause for cause in causes if isinstance(cause, ssl.SSLError)), None):
        return _tls_error(tls, host, group)
    proxy = _proxy_for(url)
    if any(isinstance(cause, httpx.ProxyError) for cause in causes):
        return UnreachableError(
            f"no connection: the proxy in {proxy or 'the environment'} refuses it ({error})"
        )
    target = f"the proxy in {proxy}" if proxy else host
    if any(isinstance(cause, socket.gaierror) for cause in causes):
        setting = "" if proxy else f"; see {group}.base_url"
        return UnreachableError(f"no connection: the name of {target} is not known{setting}")
    refused = any(isinstance(cause, ConnectionRefusedError) for cause in causes)
    if refused or "All connection attempts failed" in str(error):
        return UnreachableError(f"no connection: nothing listens at {target}")
    name = type(causes[-1]).__name__
    if isinstance(error, httpx.TimeoutException):
        return RetryableError(f"no answer from {host} in time ({name})", kind="overload", charged=None)
    hint = "; a service with TLS needs https://" if url.startswith("http://") else ""
    return RetryableError(f"no connection: {host} ended it ({name}{hint})", charged=None)


def _tls_error(error: ssl.SSLError, host: str, group: str) -> EmbexpError:
    if isinstance(error, ssl.SSLCertVerificationError):
        return EmbexpError(
            f"TLS: the certificate of {host} cannot be verified ({error.verify_message}): name the PEM file "
            "of your CA in SSL_CERT_FILE, or its folder in SSL_CERT_DIR."
        )
    plain = any(word in str(error) for word in ("VERSION", "RECORD", "EOF"))
    advice = (
        f"write http:// in {group}.base_url if the service has no TLS" if plain else f"see {group}.base_url"
    )
    return EmbexpError(f"TLS: no secure connection to {host} ({error.reason or error}): {advice}.")


def _proxy_for(url: str) -> str | None:
    """Return the variable of the proxy through which an address is asked, None where there is none."""
    from urllib.request import proxy_bypass

    parts = urlsplit(url)
    if proxy_bypass(parts.netloc):
        return None
    names = (f"{parts.scheme}_proxy", "all_proxy")
    return next((variable for variable, _ in _set_variables(names)), None)


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yield an exception and what caused it, down to the operating system's."""
    seen: list[BaseException] = []
    queue = [error]
    while queue:
        one = queue.pop(0)
        if one in seen:
            continue
        seen.append(one)
        yield one
        inner = one.args[0] if one.args else None
        queue += [
            cause for cause in (one.__cause__, one.__context__, inner) if isinstance(cause, BaseException)
        ]
