"""towline.toml and the environment → frozen Settings, Endpoint, Route.

Attributes have the names of the configuration's keys (docs/configuration.md); durations are float seconds,
sizes int bytes, remote paths bytes. The models say what may be configured and what it means when it is left
out; how a file is found and how errors are told is in `config_file`, the time budget in `time_budget`.

Values of Python's own (`Endpoint(connect_timeout=2.0, …)`) are taken as they are; out of a file, durations
and sizes need their unit, and relative paths begin at the file's folder.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StrictBool,
    StrictInt,
    model_validator,
)

from workers.errors import ConfigurationError, UnknownName
from workers.names import printable
from workers.settings import config_file, values
from workers.settings.config_file import NOT_A_KEY, Source, Wrong, header, shown
from workers.settings.password import Password
from workers.settings.targets import overlapping
from workers.settings.time_budget import check_time_budget

__all__ = ["Batch", "Endpoint", "Reconnect", "Route", "Settings", "Then", "check_time_budget", "load"]

log = logging.getLogger("workers.settings")

Duration = Annotated[float, BeforeValidator(values.duration), Field(ge=0)]
LongerThanZero = Annotated[float, BeforeValidator(values.duration), Field(gt=0)]
Size = Annotated[int, BeforeValidator(values.size), Field(gt=0)]
Text = Annotated[str, AfterValidator(values.one_line)]
Name = Annotated[str, AfterValidator(values.name), Field(json_schema_extra=NOT_A_KEY)]
File = Annotated[Path, BeforeValidator(values.file)]
Folder = Annotated[Path, BeforeValidator(values.folder)]
Zone = Annotated[str, AfterValidator(values.zone)]
Encoding = Annotated[str, AfterValidator(values.encoding)]
Host = Annotated[str, AfterValidator(values.host)]
Port = Annotated[StrictInt, Field(ge=1, le=65535)]
Fingerprint = Annotated[str, AfterValidator(values.fingerprint)]
Network = Annotated[str, AfterValidator(values.network)]
RemoteFolder = Annotated[bytes, BeforeValidator(values.remote_folder)]
Mode = Annotated[int, BeforeValidator(values.mode), Field(ge=0, le=0o777)]


class _Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class Reconnect(_Table):
    """How hard an endpoint's line is rebuilt: until `attempts` connects, or `within` seconds, are used up."""

    attempts: Annotated[StrictInt, Field(ge=1)] = 5
    within: LongerThanZero = 60.0
    first_wait: LongerThanZero = 0.5
    max_wait: LongerThanZero = 15.0

    @model_validator(mode="after")
    def _waits_grow(self) -> Self:
        if self.first_wait > self.max_wait:
            raise Wrong("first_wait is longer than max_wait", "make max_wait the longer one")
        return self


class Batch(_Table):
    """How much one fetch takes on: so many files, or so many bytes, whichever is reached first."""

    files: Annotated[StrictInt, Field(ge=1)] = 256
    bytes: Size = 256 * 2**20


class Then(_Table):
    """The follow-on task of each published file. Without a queue it goes to Celery's own default queue."""

    task: Text
    queue: Text = "celery"


class Endpoint(_Table):
    """A server, an account on it, and how patient we are with it."""

    name: Name
    host: Host
    user: Text
    password: Password
    tls: Literal["explicit", "implicit", "off"] = "explicit"
    allow_plaintext: StrictBool = False
    port: Port = 21
    ca_file: File | None = None
    fingerprint: tuple[Fingerprint, ...] = ()
    verify: StrictBool = True
    client_cert: File | None = None
    client_key: File | None = None
    tls_min: Literal["1.2", "1.3"] = "1.2"
    tls_max: Literal["1.2", "1.3"] = "1.3"
    data_mode: Literal["passive", "active"] = "passive"
    active_ports: Annotated[tuple[Port, Port], BeforeValidator(values.pair)] | None = None
    trust_pasv_address: tuple[Network, ...] = ()
    noop_during_transfer: StrictBool = False
    resume_uploads: StrictBool = False
    wire_log: StrictBool = False
    encoding: Encoding = "utf-8"
    timezone: Zone = "UTC"
    connect_timeout: LongerThanZero = 10.0
    reply_timeout: LongerThanZero = 30.0
    probe_timeout: LongerThanZero = 3.0
    probe_after: Duration = 10.0
    idle_timeout: LongerThanZero = 60.0
    keepalive: LongerThanZero | None = None
    max_age: LongerThanZero = 3600.0
    max_sessions: Annotated[StrictInt, Field(ge=1)] | None = None
    reconnect: Reconnect = Reconnect()

    @model_validator(mode="before")
    @classmethod
    def _port_of_its_tls(cls, given: Any) -> Any:
        if isinstance(given, dict) and given.get("tls") == "implicit":
            return {"port": 990, **given}
        return given

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.tls == "off" and not self.allow_plaintext:
            raise Wrong(
                'tls = "off" sends the password in clear text',
                'use "explicit" or "implicit"; if it has to be, add allow_plaintext = true',
            )
        if self.fingerprint and not self.verify:
            raise Wrong("fingerprint pins the certificate, and verify = false trusts any", "leave verify out")
        if (self.client_cert is None) != (self.client_key is None):
            lacking = "client_key" if self.client_key is None else "client_cert"
            raise Wrong(
                f"{lacking} is missing", "client_cert and client_key come together; one file may be both"
            )
        if self.tls_min > self.tls_max:
            raise Wrong(
                f'tls_min = "{self.tls_min}" is above tls_max = "{self.tls_max}"',
                "raise tls_max, or lower tls_min",
            )
        if (self.data_mode == "active") != (self.active_ports is not None):
            having = "without" if self.active_ports is None else "with"
            raise Wrong(
                f'data_mode = "{self.data_mode}" {having} active_ports',
                'active_ports = [50000, 50100] goes with data_mode = "active", and only with it',
            )
        if self.active_ports is not None and self.active_ports[0] > self.active_ports[1]:
            raise Wrong("active_ports end before they begin", "write the lower port first")
        return self

    def secret(self, environ: Mapping[str, str] = os.environ) -> str:
        """The password, fetched anew from its place. Raises ConfigurationError naming that place."""
        return self.password.read(f"endpoint {self.name}", environ)


class Route(_Table):
    """A way that files take between a remote folder and a place of ours, and on which terms."""

    name: Name
    endpoint: Text
    remote: RemoteFolder
    local: Annotated[Path | str, BeforeValidator(values.local)]
    direction: Literal["pull", "push"] = "pull"
    every: LongerThanZero | None = 600.0
    cron: Annotated[str, AfterValidator(values.cron_text)] | None = None
    include: Annotated[tuple[Text, ...], AfterValidator(values.some)] = ("*",)
    exclude: tuple[Text, ...] = ()
    regex: Annotated[str, AfterValidator(values.pattern)] | None = None
    recursive: StrictBool = False
    max_depth: Annotated[StrictInt, Field(ge=1)] = 8
    settle: Duration = 10.0
    min_age: Duration = 0.0
    done_file: Annotated[str, AfterValidator(values.done_file)] | None = None
    backlog: Literal["all", "new"] = "all"
    redeliver: StrictBool = False
    after: Annotated[str, AfterValidator(values.after)] = "keep"
    after_failure: Annotated[str, AfterValidator(values.after_failure)] = "keep"
    verify: Literal["size", "hash"] = "size"
    on_exists: Literal["replace", "keep", "version"] = "replace"
    mode: Mode = 0o640
    keep_mtime: StrictBool = True
    batch: Batch = Batch()
    max_attempts: Annotated[StrictInt, Field(ge=1)] = 5
    durability: Literal["full", "rename"] = "full"
    then: Then | None = None
    expect: LongerThanZero | None = None

    @property
    def source(self) -> bytes:
        """The folder that files come from: paths in the ledger begin with it."""
        return self.remote if self.direction == "pull" else os.fsencode(self.local)

    @property
    def target(self) -> str:
        """The place that files go to, as the ledger knows it."""
        if self.direction == "pull":
            return str(self.local)
        return f"{self.endpoint}:{printable(self.remote)}"

    @model_validator(mode="before")
    @classmethod
    def _every_or_cron(cls, given: Any) -> Any:
        if isinstance(given, dict) and given.get("cron") is not None:
            if given.get("every") is not None:
                raise Wrong("both every and cron", "keep one of the two")
            return {**given, "every": None}
        return given

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.every is None and self.cron is None:
            raise Wrong("neither every nor cron", 'add every = "10m", or a cron')
        if self.durability == "rename" and self.after != "keep":
            raise Wrong(
                f'durability = "rename" with after = "{self.after}" could lose the only copy in a crash',
                'use durability = "full", or after = "keep"',
            )
        if self.direction == "push" and not isinstance(self.local, Path):
            raise Wrong(
                f"a push sends files from a folder of this machine, not from {self.local}",
                "name a folder as local",
            )
        for key, action in (("after", self.after), ("after_failure", self.after_failure)):
            if action == f"move:{os.fsdecode(self.source)}":
                raise Wrong(f"{key} moves files to where they are", "move them to another folder")
            if self.recursive and action.startswith(f"move:{os.fsdecode(self.source).rstrip('/')}/"):
                raise Wrong(
                    f"{key} moves files to where a recursive route finds them again",
                    "move them out of the route's folder, or leave recursive out",
                )
        return self


class Settings(_Table):
    """Everything that is configured. Made by `load`; `path` is the file it came from.

    `results` None means the broker's; `broker` None means the embedded one. The three URLs may hold
    passwords, and stay out of `repr`.
    """

    path: Annotated[Path, Field(json_schema_extra=NOT_A_KEY)]
    broker: Annotated[str, AfterValidator(values.broker)] | None = Field(default=None, repr=False)
    results: Annotated[str, AfterValidator(values.results)] | None = Field(default=None, repr=False)
    ledger: Annotated[str, AfterValidator(values.ledger)] = Field(repr=False)
    state_dir: Folder
    lease: LongerThanZero = 60.0
    poll_soft_limit: LongerThanZero = 300.0
    poll_hard_limit: LongerThanZero = 360.0
    visibility_timeout: LongerThanZero = 3600.0
    stop_grace: Duration = 30.0
    timezone: Zone = "UTC"
    history: Duration = 90 * 86400.0
    endpoints: Annotated[Mapping[str, Endpoint], Field(json_schema_extra=NOT_A_KEY)] = {}
    routes: Annotated[Mapping[str, Route], Field(json_schema_extra=NOT_A_KEY)] = {}

    @model_validator(mode="before")
    @classmethod
    def _ledger_beside_its_state(cls, given: Any) -> Any:
        if isinstance(given, dict) and given.get("ledger") is None and "state_dir" in given:
            return {**given, "ledger": values.ledger_in(given["state_dir"])}
        return given

    @model_validator(mode="after")
    def _results_somewhere(self) -> Self:
        if self.results is None and (self.broker or "").startswith("amqp"):
            raise Wrong("an AMQP broker keeps no results", 'add results = "redis://…" under [towline]')
        return self

    def endpoint(self, name: str) -> Endpoint:
        """The endpoint of that name. Raises UnknownName."""
        if name not in self.endpoints:
            raise UnknownName("endpoint", name, config_file.nearest(name, self.endpoints))
        return self.endpoints[name]

    def route(self, name: str) -> Route:
        """The route of that name. Raises UnknownName."""
        if name not in self.routes:
            raise UnknownName("route", name, config_file.nearest(name, self.routes))
        return self.routes[name]


_warned: set[tuple[Path, str]] = set()
"""Endpoints whose literal password this process has warned about."""


def load(path: Path | None = None, environ: Mapping[str, str] = os.environ) -> Settings:
    """The configuration: `path`, else TOWLINE_CONFIG, ./towline.toml or /etc/towline/towline.toml.

    TOWLINE_<KEY> takes the place of any key under [towline]; one that is empty counts as not set.
    Raises ConfigurationError: no file found, or something wrong in it.
    """
    place, document = config_file.read(path, environ)
    source = Source(place)
    tables = config_file.tables(document, ("towline", "endpoints", "routes"), str(place))
    endpoints = {
        name: config_file.validated(Endpoint, table, source, _where(place, "endpoints", name), name=name)
        for name, table in config_file.tables(tables["endpoints"], None, str(place)).items()
    }
    routes = {
        name: _route(name, table, source, endpoints)
        for name, table in config_file.tables(tables["routes"], None, str(place)).items()
    }
    settings = _settings(tables["towline"], source, environ, endpoints, routes)
    if both := overlapping(routes.values()):
        one, other = both
        raise ConfigurationError(
            f"{place}, {header('routes', one.name)} and {header('routes', other.name)}",
            f"their targets overlap: {_told(one)} and {_told(other)}",
            "give each route a place of its own, neither inside the other",
        )
    for endpoint in endpoints.values():
        if endpoint.password.literal is not None and (place, endpoint.name) not in _warned:
            _warned.add((place, endpoint.name))
            log.warning(
                '%s, %s: the password stands in the file; { env = "…" } or { file = "…" } keeps it out',
                place,
                header("endpoints", endpoint.name),
            )
    return settings


def _route(name: str, table: Mapping[str, Any], source: Source, endpoints: Mapping[str, Endpoint]) -> Route:
    where = _where(source.path, "routes", name)
    wanted = table.get("endpoint")
    if isinstance(wanted, str) and wanted in endpoints:
        source = replace(source, encoding=endpoints[wanted].encoding)
    route = config_file.validated(Route, table, source, where, name=name)
    if route.endpoint not in endpoints:
        close = config_file.nearest(route.endpoint, endpoints)
        remedy = f'did you mean "{close}"?' if close else f"add {header('endpoints', route.endpoint)}"
        raise ConfigurationError(where[""], f"there is no endpoint {shown(route.endpoint)}", remedy)
    return route


def _settings(
    table: Mapping[str, Any],
    source: Source,
    environ: Mapping[str, str],
    endpoints: Mapping[str, Endpoint],
    routes: Mapping[str, Route],
) -> Settings:
    where = _where(source.path, "towline")
    given = dict(table)
    for key in config_file.keys(Settings):
        if text := environ.get(f"TOWLINE_{key.upper()}"):
            given[key] = text
            where[key] = f"environment variable TOWLINE_{key.upper()}"
    if "state_dir" not in given:
        home = environ.get("XDG_STATE_HOME", "")
        # The XDG specification has a relative one ignored.
        given["state_dir"] = f"{home}/towline" if home.startswith("/") else "~/.local/state/towline"
    return config_file.validated(
        Settings, given, source, where, path=source.path, endpoints=endpoints, routes=routes
    )


def _where(place: Path, *table: str) -> dict[str, str]:
    return {"": f"{place}, {header(*table)}"}


def _told(route: Route) -> str:
    return f"{route.endpoint}:{os.fsdecode(route.remote)}" if route.direction == "push" else str(route.local)
