"""What many small files cost together: the ledger's transactions and the folder's fsyncs are of the group."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import Engine, event

from tests.faults.disk import Disk
from tests.faults.scripted import ScriptedServer
from tests.servers.certificates import Certificates
from tests.servers.fetching import Fetching
from workers import batch


@contextmanager
def commits() -> Iterator[Counter[str]]:
    """Counts the transactions that end inside the block, whatever engine they are of."""
    found: Counter[str] = Counter()

    def ended(_: object) -> None:
        found["commit"] += 1  # of those that only read, too

    event.listen(Engine, "commit", ended)
    try:
        yield found
    finally:
        event.remove(Engine, "commit", ended)


def test_a_group_costs_as_many_transactions_and_folder_fsyncs_as_one_file(
    certificates: Certificates, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only the files' own bytes are synced one by one; a full group is one, however long it took to come."""
    cost: dict[int, Counter[str]] = {}
    with ScriptedServer(certificates) as server:
        one = Fetching(server, tmp_path)  # type: ignore[arg-type]
        try:
            for round_, count in enumerate([1, 1, batch.GROUP_FILES]):  # the first makes the folder
                server.files |= {f"/{round_}-{number}".encode(): b"small" for number in range(count)}
                one.poll()
                with monkeypatch.context() as during, commits() as spent, one.session.reserved():
                    disk = Disk(done=lambda change, spent=spent: spent.update([change.call]))  # type: ignore[misc]
                    disk.install(during)
                    assert one.fetch().published == count
                cost[count] = spent
        finally:
            one.close()
    few, many = cost[1], cost[batch.GROUP_FILES]
    assert (many["sync"], many["rename"]) == (batch.GROUP_FILES, batch.GROUP_FILES)
    assert 0 < many["commit"] == few["commit"] <= 6
    assert 0 < many["sync-folder"] == few["sync-folder"] <= 2
