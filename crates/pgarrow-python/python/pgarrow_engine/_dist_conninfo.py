"""Connection texts that may leave this process: without passwords.

Spark shows options and plans in its UI and logs, and Ray and Dask pickle what they send. So what goes to
workers has no password: workers take theirs from PGPASSWORD, ~/.pgpass or a service file, as psql does.
"""

from __future__ import annotations

import os
import re

_URI = re.compile(r"postgres(ql)?://", re.IGNORECASE)

_PAIR = re.compile(
    r"\s*(?P<key>[^\s=]+)\s*=\s*(?P<value>'(?:[^'\\]|\\.)*'|(?:[^\s\\']|\\.)*)(?=\s|$)", re.DOTALL
)

_SECRETS = ("password", "sslpassword")

#: What psql takes from the environment where a connection text leaves it out.
_FROM_ENVIRONMENT = {
    "PGHOST": "host",
    "PGHOSTADDR": "hostaddr",
    "PGPORT": "port",
    "PGDATABASE": "dbname",
    "PGUSER": "user",
    "PGSSLMODE": "sslmode",
    "PGSSLROOTCERT": "sslrootcert",
}


def has_password(conninfo: str | None) -> bool:
    """Whether a connection text has a password in it, or cannot be taken apart to look."""
    return conninfo is not None and without_password(conninfo) != conninfo


def for_workers(conninfo: str | None) -> str:
    """The text that workers connect with: without passwords, with what this process has in its environment.

    A URI or a service is complete by itself. Otherwise PGHOST, PGPORT, PGDATABASE, PGUSER and others of this
    process are added where the text leaves them out, since a worker may have another environment.
    """
    conninfo = conninfo or ""
    if _URI.match(conninfo):
        return without_password(conninfo)
    if conninfo and "=" not in conninfo:
        conninfo = f"dbname={_quoted(conninfo)}"
    pairs = [pair for pair in _pairs(conninfo) if pair[0].lower() not in _SECRETS]
    named = {key.lower() for key, _ in pairs}
    if "service" not in named and os.environ.get("PGSERVICE"):
        pairs.append(("service", _quoted(os.environ["PGSERVICE"])))
        named.add("service")
    if "service" not in named:
        for variable, key in _FROM_ENVIRONMENT.items():
            value = os.environ.get(variable)
            if value and key not in named:
                pairs.append((key, _quoted(value)))
    return " ".join(f"{key}={value}" for key, value in pairs)


def without_password(conninfo: str) -> str:
    """The connection text without `password` and `sslpassword`."""
    uri = _URI.match(conninfo)
    if uri:
        return _uri_without_password(conninfo, uri.end())
    if "=" not in conninfo:
        return conninfo
    pairs = _pairs(conninfo)
    kept = [pair for pair in pairs if pair[0].lower() not in _SECRETS]
    if len(kept) == len(pairs):
        return conninfo
    return " ".join(f"{key}={value}" for key, value in kept)


def _uri_without_password(uri: str, start: int) -> str:
    rest, _, query = uri[start:].partition("?")
    authority, slash, path = rest.partition("/")
    if "@" in authority:
        user, _, hosts = authority.rpartition("@")
        authority = f"{user.partition(':')[0]}@{hosts}"
    parameters = [part for part in query.split("&") if part.partition("=")[0].lower() not in _SECRETS]
    text = f"{uri[:start]}{authority}{slash}{path}"
    return f"{text}?{'&'.join(parameters)}" if query and parameters else text


def _pairs(conninfo: str) -> list[tuple[str, str]]:
    """The pairs of a key=value text; values as they are written, with their quotes."""
    pairs: list[tuple[str, str]] = []
    end = 0
    while found := _PAIR.match(conninfo, end):
        pairs.append((found["key"], found["value"] or "''"))
        end = found.end()
    if conninfo[end:].strip():
        from ._dist_errors import options_error

        raise options_error(
            "conninfo: this text is neither a URI, nor key=value pairs, nor a database's name"
        )
    return pairs


def _quoted(value: str) -> str:
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"
