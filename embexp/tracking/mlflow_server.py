"""The first look at an MLflow server: one quick request, as the client makes it, with a remedy if it fails.

The client itself retries for up to an hour, and says little about certificates and logins. The request uses
its settings, so that a server that it can reach is never reported as missing: ``MLFLOW_TRACKING_TOKEN``,
``_USERNAME`` and ``_PASSWORD``, ``_SERVER_CERT_PATH``, ``_CLIENT_CERT_PATH``, ``_INSECURE_TLS`` and ``_AUTH``
(https://mlflow.org/docs/latest/api_reference/python_api/mlflow.environment_variables.html).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from embexp.errors import TrackingError
from embexp.masking import masked_text

if TYPE_CHECKING:
    from requests import Response

SECONDS = 10
_ENDPOINT = "/api/2.0/mlflow/experiments/search"
_ELSE = "correct tracker.uri or MLFLOW_TRACKING_URI, or use tracker=none"


def reach_server(address: str) -> None:
    """Ask a server for an experiment.

    Raises:
        TrackingError: Nothing answers, its certificate is not trusted, it wants a login, or it is no MLflow
            server.
        MlflowException: Two of the client's settings contradict each other.
    """
    from mlflow.exceptions import MlflowException
    from mlflow.utils.credentials import get_default_host_creds
    from mlflow.utils.rest_utils import http_request

    credentials = get_default_host_creds(address)
    query = {"max_results": "1"}
    try:
        response = http_request(
            credentials,
            _ENDPOINT,
            "GET",
            params=query,
            max_retries=0,
            timeout=SECONDS,
            raise_on_status=False,
        )
    except MlflowException as error:
        raise _unreachable(address, error) from error
    _check_answer(address, response)


def _unreachable(address: str, error: Exception) -> TrackingError:
    """Return what to say where no answer came."""
    from requests.exceptions import SSLError

    name = masked_text(address)
    for cause in _causes(error):
        if isinstance(cause, SSLError):
            reason = _innermost(cause)
            return TrackingError(
                f"The MLflow server at {name} has no certificate that is trusted here ({reason}): set "
                "MLFLOW_TRACKING_SERVER_CERT_PATH to a file with the certificate of its authority, or "
                "MLFLOW_TRACKING_INSECURE_TLS=true to trust any; a server without TLS needs http:// in its "
                "address."
            )
        if isinstance(cause, OSError) and "TLS" in str(cause):  # requests, of a file that is missing
            return TrackingError(
                f"MLFLOW_TRACKING_SERVER_CERT_PATH, MLFLOW_TRACKING_CLIENT_CERT_PATH or REQUESTS_CA_BUNDLE "
                f"names a file that cannot be read ({masked_text(str(cause)).rstrip('.')}): correct it."
            )
    kind = type(_causes(error)[-1]).__name__
    return TrackingError(f"No MLflow server answers at {name} ({kind}): start it (mlflow server), {_ELSE}.")


def _causes(error: BaseException) -> list[BaseException]:
    """Return what led to an error, from the outside to the library's own exception."""
    from requests import RequestException

    found: list[BaseException] = []
    cause: BaseException | None = error
    while cause is not None:
        found.append(cause)
        if isinstance(cause, RequestException):
            break
        cause = cause.__cause__ or cause.__context__
    return found


def _innermost(error: BaseException) -> str:
    """Return the reason that OpenSSL gives, without the layers around it."""
    text = str(error)
    return masked_text(text.rpartition("SSLError(")[2].strip("\"'()") or text)[:200]


def _check_answer(address: str, response: Response) -> None:
    name = masked_text(address)
    if response.status_code in (401, 403):
        raise TrackingError(
            f"The MLflow server at {name} refuses the login (HTTP {response.status_code}): set "
            "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN, or use "
            "tracker=none."
        )
    if response.status_code == 407:
        raise TrackingError(f"The proxy before {name} wants a login (HTTP 407): put it into HTTPS_PROXY.")
    kind = response.headers.get("content-type", "")
    if "html" in kind or response.status_code in (404, 405):
        raise TrackingError(
            f"What answers at {name} is no MLflow server (HTTP {response.status_code}, "
            f"{kind.partition(';')[0] or 'no content'}): {_ELSE}."
        )
