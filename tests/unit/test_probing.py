"""What `towline check` says of a push route whose partner, or whose own folder, does not do as it should."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.faults.acts import answer
from tests.faults.scripted import ScriptedServer
from tests.servers.certificates import Certificates
from workers import probing
from workers.errors import ListingFailed, PermissionRefused
from workers.finding import Finding
from workers.process import Process
from workers.session import Tally
from workers.settings import Settings
from workers.stores.source import SourceFolder

Check = Callable[[], dict[str, Finding]]


@pytest.fixture
def server(certificates: Certificates) -> Iterator[ScriptedServer]:
    with ScriptedServer(certificates) as server:
        yield server


@pytest.fixture
def check(server: ScriptedServer, tmp_path: Path) -> Iterator[Check]:
    """check() → what was found of the route out/ → /in, by what it is about."""
    (tmp_path / "out").mkdir()
    bank = {
        "name": "bank",
        "host": server.host,
        "port": server.port,
        "user": server.user,
        "password": server.password,
        "ca_file": server.ca_file,
    }
    invoices = {
        "name": "invoices",
        "endpoint": "bank",
        "direction": "push",
        "remote": b"/in",
        "local": tmp_path / "out",
        "every": 600.0,
    }
    settings = Settings.model_validate(
        {
            "path": tmp_path / "towline.toml",
            "state_dir": tmp_path / "state",
            "endpoints": {"bank": bank},
            "routes": {"invoices": invoices},
        }
    )
    with closing(Process(settings)) as process:

        def found() -> dict[str, Finding]:
            session, route = process.session("bank"), settings.route("invoices")
            return {one.what: one for one in probing.of_push(process, session, route, Tally())}

        yield found


def test_a_good_partner_needs_no_remedy(server: ScriptedServer, check: Check) -> None:
    """Nothing of the probe stays."""
    found = check()
    assert list(found) == ["source", "write", "rename"]
    assert {one.remedy for one in found.values()} == {None}
    assert not server.files


def test_a_partner_that_takes_no_file(server: ScriptedServer, check: Check) -> None:
    """Nothing else is tried."""
    server.when("STOR", "553 Not yours.")
    found = check()
    assert list(found) == ["source", "write"]
    assert (found["write"].remedy or "").startswith("let this account write there")
    assert isinstance(found["write"].failure, PermissionRefused)


def test_a_partner_that_tells_no_size(server: ScriptedServer, check: Check) -> None:
    """A file can be sent there; what proves it whole is less."""
    server.when("SIZE", "502 Not here.")
    told = check()["write"]
    assert told.told == "taken, but its size is not told"
    assert (told.remedy or "").startswith("have SIZE switched on")
    assert told.failure is None


def test_a_partner_that_renames_nothing(server: ScriptedServer, check: Check) -> None:
    """No file would ever get its name there."""
    server.when("RNTO", "553 Not allowed.")
    told = check()["rename"]
    assert "553" in told.told
    assert (told.remedy or "").startswith("let this account rename")
    assert isinstance(told.failure, PermissionRefused)
    assert not server.files


def test_a_partner_that_renames_onto_no_file(server: ScriptedServer, check: Check) -> None:
    """It is told apart from one that renames nothing: what is there is deleted first."""
    server.when("RNTO", "553 It exists.", times=1)
    told = check()["rename"]
    assert "that is deleted first" in told.told
    assert told.remedy == 'on_exists = "version" leaves what is there alone'
    assert told.failure is None
    assert not server.files


def test_a_partner_that_deletes_nothing(server: ScriptedServer, check: Check) -> None:
    """The probe that stays is named, to be deleted by hand."""
    server.when("DELE", answer("550 Not allowed."))
    told = check()["delete"]
    [left] = server.files
    assert told.told == f"{left.decode()} could not be deleted"
    assert told.remedy == "delete it by hand"


def test_a_folder_that_is_not_there(check: Check, tmp_path: Path) -> None:
    """With what a poll would fail with; the partner is tried all the same."""
    (tmp_path / "out").rmdir()
    found = check()
    assert found["source"].remedy == f"make {tmp_path / 'out'}, or mount it"
    assert isinstance(found["source"].failure, ListingFailed)
    assert found["rename"].remedy is None


def test_a_folder_that_cannot_be_read_whole(
    check: Check, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Root may read anything, so the folder's own answer is put in its place."""
    monkeypatch.setattr(SourceFolder, "entries", lambda *_, **__: ([], "below: it can't be read"))
    told = check()["source"]
    assert told.told.endswith("not all of it: below: it can't be read")
    assert told.remedy == "let this user read it"
