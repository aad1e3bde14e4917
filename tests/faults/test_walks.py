"""Walks through folders on a server that breaks off, follows links, or says what no server should."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest

from tests.faults import acts
from tests.faults.scripted import ScriptedServer
from tests.servers.certificates import Certificates
from tests.servers.fetching import Fetching

Tree = dict[bytes, list[bytes]]
"""Lines of MLSD by folder; what is missing is answered with 550."""

FILE = b"type=file;size=4;modify=20200101000000; "
DIR = b"type=dir;modify=20200101000000; "


@pytest.fixture
def walk(certificates: Certificates, tmp_path: Path) -> Iterator[Callable[..., tuple[Any, Fetching]]]:
    """walk(tree, **keys) → (server, a recursive route's Fetching of /out)."""
    with ExitStack() as opened:

        def begin(tree: Tree, **keys: Any) -> tuple[Any, Fetching]:
            server: Any = opened.enter_context(ScriptedServer(certificates))

            def mlsd(talk: Any, folder: bytes) -> None:
                lines = tree.get(folder)
                if lines is None:
                    acts.answer("550 No such directory.")(talk, folder)
                else:
                    acts.send(b"".join(line + b"\r\n" for line in lines))(talk, folder)

            server.when("MLSD", mlsd)
            one = Fetching(server, tmp_path / "towline", remote=b"/out", recursive=True, **keys)
            return server, opened.enter_context(closing(one))

        yield begin


def looks(server: Any) -> list[str]:
    """The folders that were asked for, in order."""
    return [command[5:] for command in server.commands if command.startswith("MLSD ")]


def test_a_line_cut_in_mid_walk_costs_one_folder(certificates: Certificates, tmp_path: Path) -> None:
    """The walk goes on where it was, on a new line; nothing is listed twice but what broke off."""
    tree: Tree = {
        b"/out": [DIR + b"a", DIR + b"b", DIR + b"c"],
        **{b"/out/" + name: [FILE + b"x.xml"] * 1 for name in (b"a", b"b", b"c")},
    }
    broken = [b"/out/b", b"/out/b", b"/out/c"]

    def mlsd(talk: Any, folder: bytes) -> None:
        content = b"".join(line + b"\r\n" for line in tree[folder])
        if broken and broken[0] == folder:
            broken.pop(0)
            acts.transfer(content=(content,), end="reset", final=None)(talk, folder)
            acts.reset_line(talk, folder)
            return
        acts.send(content)(talk, folder)

    with ScriptedServer(certificates) as server:
        server.when("MLSD", mlsd)
        one = Fetching(server, tmp_path / "towline", remote=b"/out", recursive=True)  # type: ignore[arg-type]
        with closing(one):
            assert one.poll() == 3
            assert one.tally.reconnects == 3
            assert one.ledger.routes.get("statements").last_error is None
        assert looks(server) == ["/out", "/out/a", "/out/b", "/out/b", "/out/b", "/out/c", "/out/c"]


def test_a_folder_that_vanishes_in_mid_walk_makes_the_look_incomplete(walk: Any) -> None:
    """Its files are neither listed nor gone: the next look tells."""
    tree: Tree = {b"/out": [FILE + b"a.xml", DIR + b"sub"], b"/out/sub": [FILE + b"b.xml"]}
    _, one = walk(tree, settle=3600.0)
    one.poll()
    tree[b"/out"].append(FILE + b"new.xml")
    del tree[b"/out/sub"]
    one.poll()
    assert set(one.states()) == {"/out/a.xml", "/out/sub/b.xml", "/out/new.xml"}
    assert one.states()["/out/sub/b.xml"] == "WAITING"
    assert one.ledger.routes.get("statements").last_error == "/out/sub: MLSD: 550 No such directory."
    tree[b"/out"].remove(DIR + b"sub")
    one.poll()
    assert one.states()["/out/sub/b.xml"] == "VANISHED"


def test_folders_that_cannot_be_listed_are_named_and_counted(walk: Any) -> None:
    """Three by name, the others by their number: a tree may be forbidden as a whole."""
    _, one = walk({b"/out": [FILE + b"a.xml", *(DIR + b"%d" % number for number in range(10))]})
    assert one.poll() == 1
    told = one.ledger.routes.get("statements").last_error or ""
    assert told.count("550") == 3
    assert told.endswith("and 7 folders more")


@pytest.mark.parametrize("unique", [b"", b"unique=801g7;"])
def test_a_folder_that_is_its_own_ancestor_is_walked_once(walk: Any, unique: bytes) -> None:
    """A server that follows links shows one for ever; by `unique`, or by what it lists, it is known again."""
    of_top = [FILE + b"a.xml", unique + DIR + b"sub"]
    of_sub = [FILE + b"b.xml", DIR.replace(b"; ", b";unique=801g1; " if unique else b"; ") + b"up"]
    tree: Tree = {}
    for depth in range(12):
        tree[b"/out" + b"/sub/up" * depth] = of_top
        tree[b"/out" + b"/sub/up" * depth + b"/sub"] = of_sub
    server, one = walk(tree)
    assert one.poll() == 2
    assert set(one.states()) == {"/out/a.xml", "/out/sub/b.xml"}
    assert looks(server) == ["/out", "/out/sub", "/out/sub/up"]


def test_a_loop_that_nothing_tells_ends_with_max_depth(walk: Any) -> None:
    """Each level lists another time, as some servers do of links."""
    tree: Tree = {
        b"/out" + b"/x" * depth: [FILE + b"a.xml", b"type=dir;modify=202001010000%02d; x" % depth]
        for depth in range(30)
    }
    server, one = walk(tree, max_depth=3)
    one.poll()
    assert len(looks(server)) == 4


def test_a_folder_is_known_again_by_its_unique_fact(walk: Any) -> None:
    """Though something in it has changed between the two looks."""
    tree: Tree = {
        b"/out" + b"/x" * depth: [
            b"type=file;size=%d;modify=20200101000000; a.xml" % depth,
            b"unique=801g7;" + DIR + b"x",
        ]
        for depth in range(5)
    }
    server, one = walk(tree)
    one.poll()
    assert looks(server) == ["/out", "/out/x"]


def test_folders_alike_are_no_loop(walk: Any) -> None:
    """Made by one command within a second, each holding the next: what the last one holds is fetched."""
    tree: Tree = {
        b"/out": [DIR + b"x"],
        b"/out/x": [DIR + b"x"],
        b"/out/x/x": [FILE + b"a.xml"],
    }
    _, one = walk(tree)
    assert one.poll() == 1


def test_names_that_lead_elsewhere_are_refused_and_recorded(walk: Any) -> None:
    """As files they are quarantined with the reason; as folders they are not looked into."""
    tree: Tree = {
        b"/out": [DIR + b"sub", DIR + b"..", DIR + b".", DIR + b"../etc", DIR + b"/etc"],
        b"/out/sub": [FILE + b"../../etc/passwd", FILE + b"..", FILE + b"/abs", FILE + b"fine.xml"],
    }
    server, one = walk(tree)
    assert one.poll() == 1
    assert looks(server) == ["/out", "/out/sub"]
    quarantined = {row.path: row.reason for row in one.ledger.history.rows(state="QUARANTINED")}
    assert set(quarantined) == {b"/out/sub/../../etc/passwd", b"/out/sub/..", b"/out/sub//abs"}
    assert all(quarantined.values())


def test_links_are_never_followed(walk: Any) -> None:
    """Whatever they point to, and however they are told."""
    tree: Tree = {
        b"/out": [b"type=OS.unix=slink:/etc; link", b"type=OS.unix=symlink; other", FILE + b"a.xml"],
        b"/out/link": [FILE + b"passwd"],
        b"/out/other": [FILE + b"passwd"],
    }
    server, one = walk(tree)
    assert one.poll() == 1
    assert looks(server) == ["/out"]
