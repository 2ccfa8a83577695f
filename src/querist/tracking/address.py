"""Where the tracker is: an address that may be written down anywhere, so it holds no secret."""

from __future__ import annotations

from urllib.parse import parse_qsl, urlsplit

from querist.errors import ConfigurationError

_SECRETS = {"password", "passwd", "pwd", "secret", "token", "access_token", "sslpassword"}
_SERVERS = ("http", "https")


def is_server(uri: str) -> bool:
    """Whether MLflow is asked over HTTP there, rather than a database directly."""
    return urlsplit(uri).scheme in _SERVERS


def is_remote(uri: str) -> bool:
    """Whether MLflow is somewhere that can be silent, rather than a file."""
    return urlsplit(uri).scheme not in ("sqlite", "file", "")


def check_address(uri: str) -> str:
    """The tracking URI, if it holds no password.

    It ends up in the run's folder, in MLflow, in logs and on the terminal; a password does not.

    Raises:
        ConfigurationError: it holds one, or is no URI; the message does not repeat it.
    """
    try:
        parts = urlsplit(uri)
        query = {key.lower() for key, _ in parse_qsl(parts.query, keep_blank_values=True)}
        user = parts.username if parts.scheme in _SERVERS else None
        secret = parts.password is not None or user is not None or bool(query & _SECRETS)
    except ValueError:
        raise ConfigurationError(
            "the tracking URI cannot be read: use a form like http://127.0.0.1:5000"
        ) from None
    if secret:
        instead = (
            "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD"
            if parts.scheme in _SERVERS
            else "the variables of the database, such as PGPASSWORD,"
        )
        raise ConfigurationError(
            f"a tracking URI holds no password or token, that of {parts.hostname!r} does: take it "
            f"out and set {instead} in the environment"
        )
    return uri
