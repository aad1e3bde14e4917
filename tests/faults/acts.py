"""What the scripted server can be told to do at a command, each an act in a word or two."""

from __future__ import annotations

import contextlib
import os
import socket
import ssl
from collections.abc import Callable, Iterable, Iterator
from itertools import repeat
from typing import Literal

from tests.faults.dialogue import MODIFIED, Talk, reset

Act = Callable[[Talk, bytes], None]
End = Literal["clean", "ragged", "reset", "hang"]

BLOCK = 16 * 1024


# -- on the control line


def answer(text: str | bytes) -> Act:
    """This reply and nothing else. Several lines: separated by CR LF."""
    return lambda talk, _: talk.reply(text)


def farewell(text: str = "421 Closing, you were idle.") -> Act:
    """A last reply, then FIN."""
    return in_turn(answer(text), close)


def in_turn(*acts: Act) -> Act:
    """One after the other."""

    def act(talk: Talk, argument: bytes) -> None:
        for one in acts:
            one(talk, argument)

    return act


def stale(text: str) -> Act:
    """The ordinary answer, and in one packet with it a reply that nobody asked for."""

    def act(talk: Talk, argument: bytes) -> None:
        talk.trailer = text.encode() + b"\r\n"
        ordinary(talk, argument)

    return act


def clear_in_tls(text: str = "500 OOPS: child died") -> Act:
    """Clear text straight into the TLS stream, as vsftpd does when a child fails (field note 20)."""
    return lambda talk, _: _write_all(talk.socket.fileno(), text.encode() + b"\r\n")


def clear_behind_234(text: str = "220 injected") -> Act:
    """For AUTH: more clear text in the packet of the 234, then TLS (field note 42)."""

    def act(talk: Talk, _: bytes) -> None:
        talk.reply(f"234 Begin.\r\n{text}")
        talk.secure()

    return act


def ordinary(talk: Talk, argument: bytes) -> None:
    """What an ordinary server says."""
    talk.perform(talk.verb, argument)


def silence(talk: Talk, _: bytes) -> None:
    """No answer; the line stays open, and later commands are read."""


def close(talk: Talk, _: bytes) -> None:
    """FIN."""
    talk.close()


def reset_line(talk: Talk, _: bytes) -> None:
    """RST."""
    talk.reset()


def garbage(talk: Talk, _: bytes) -> None:
    """Bytes that are no reply."""
    talk.raw(bytes(range(128, 256)) + b"\r\n")


def in_pieces(talk: Talk, argument: bytes) -> None:
    """The ordinary answer, byte by byte."""
    talk.in_pieces = True
    ordinary(talk, argument)
    talk.in_pieces = False


def in_many_lines(talk: Talk, argument: bytes) -> None:
    """The ordinary answer, in lines that begin with digits of other replies."""
    talk.talkative = True
    ordinary(talk, argument)
    talk.talkative = False


def dripping(text: str = "200 Well.", pause_s: float = 1.0) -> Act:
    """A reply of which one byte comes in so many seconds; nothing is done."""

    def act(talk: Talk, _: bytes) -> None:
        for byte in text.encode():
            talk.raw(bytes([byte]))
            if talk.server.closing.wait(pause_s):
                return

    return act


def endless_line(talk: Talk, _: bytes) -> None:
    """A reply line without end."""
    talk.raw(b"200 ")
    while talk.running:
        talk.raw(b"x" * BLOCK)


def endless_reply(talk: Talk, _: bytes) -> None:
    """A reply of lines without end."""
    while talk.running:
        talk.raw(b"200-and so on\r\n" * 1000)


# -- on data channels


def transfer(
    *,
    opening: str | None = "150 Here it comes.",
    content: Iterable[bytes] | None = None,
    share: float = 1.0,
    extra: bytes = b"",
    end: End = "clean",
    final: str | None = "226 Done.",
    final_first: bool = False,
    resumable: bool = True,
    drip_s: float | None = None,
) -> Act:
    """For RETR, MLSD and LIST. Without arguments: an ordinary transfer.

    content: blocks to send in place of the file's or the listing's. share: of the content, from its start.
    extra: sent behind it. end: clean, ragged (FIN without close_notify), reset, or hang (nothing more comes,
    nothing ends). final=None: the last reply never comes; final_first: it comes before the data.
    resumable=False: the data channel doesn't know the control connection's TLS session. drip_s: one byte in
    so many seconds.
    """

    def act(talk: Talk, argument: bytes) -> None:
        whole = _content(talk, argument)
        if content is None and whole is None:
            talk.reply("550 No such file.")
            return
        blocks: Iterable[bytes] = content if content is not None else _blocks(whole or b"", share)
        if opening is not None:
            talk.reply(opening)
        data = talk.open_data(context=None if resumable else talk.server.other_context)
        if data is None:
            return
        if final_first and final is not None:
            talk.reply(final)
        for block in (*blocks, extra) if content is None else blocks:
            if drip_s is None:
                data.sendall(block)
                continue
            for at in range(len(block)):
                data.sendall(block[at : at + 1])
                if talk.server.closing.wait(drip_s):
                    return
        _end(talk, data, end)
        if final is not None and not final_first:
            talk.reply(final)

    return act


def send(content: bytes) -> Act:
    """For RETR, MLSD and LIST: these bytes, as an ordinary server sends them."""
    return transfer(content=(content,))


def receive(
    *,
    opening: str | None = "150 Send it.",
    stop_after: int | None = None,
    end: End = "clean",
    final: str | None = "226 Stored.",
    keep: bool = True,
    resumable: bool = True,
    final_first: bool = False,
    drip_s: float | None = None,
) -> Act:
    """For STOR and APPE. Without arguments: an ordinary upload.

    stop_after: so many bytes are read, then the channel ends as `end` says (see transfer). final=None: the
    last reply never comes. keep=False: nothing is stored, whatever the reply says. drip_s: one byte is read
    in so many seconds. All else as for transfer.
    """

    def act(talk: Talk, path: bytes) -> None:
        if opening is not None:
            talk.reply(opening)
        data = talk.open_data(context=None if resumable else talk.server.other_context)
        if data is None:
            return
        if final_first and final is not None:
            talk.reply(final)
        got = bytearray()
        while stop_after is None or len(got) < stop_after:
            most = BLOCK if stop_after is None else min(BLOCK, stop_after - len(got))
            if drip_s is not None and talk.server.closing.wait(drip_s):
                return
            block = data.recv(most if drip_s is None else 1)
            if not block:
                break
            got += block
        if keep:
            before = talk.server.files.get(path, b"")
            at = len(before) if talk.verb == "APPE" else talk.offset
            talk.server.files[path] = before[:at] + bytes(got)
        talk.offset = 0
        _end(talk, data, end)
        if final is not None and not final_first:
            talk.reply(final)

    return act


def clear_data(final: str = "425 No TLS on data.") -> Act:
    """For any transfer: clear text on the data channel, where TLS is due."""

    def act(talk: Talk, _: bytes) -> None:
        talk.reply("150 Here we go.")
        data = talk.accept()
        data.sendall(b"500 OOPS: child died\r\n")
        data.close()
        talk.reply(final)

    return act


def unserved(final: str | None) -> Act:
    """For any transfer: begun, and no data channel comes to be."""

    def act(talk: Talk, _: bytes) -> None:
        talk.reply("150 Here we go.")
        if final is not None:
            talk.reply(final)

    return act


def endless(talk: Talk, argument: bytes) -> None:
    """For RETR, MLSD and LIST: the file or the listing, again and again."""
    transfer(content=repeat(_content(talk, argument) or b""))(talk, argument)


def _content(talk: Talk, argument: bytes) -> bytes | None:
    if talk.verb != "RETR":
        return listing(talk, argument)
    whole = talk.server.files.get(argument)
    offset, talk.offset = talk.offset, 0
    return None if whole is None else whole[offset:]


def listing(talk: Talk, folder: bytes) -> bytes:
    """The lines of MLSD or LIST for the files right below a folder."""
    below = folder.rstrip(b"/") + b"/"
    lines = b""
    for path, content in list(talk.server.files.items()):
        name = path.removeprefix(below)
        if name == path or b"/" in name:
            continue
        if talk.verb == "MLSD":
            about = f"type=file;size={len(content)};modify={talk.server.times.get(path, MODIFIED)}; "
        else:
            about = f"-rw-r--r-- 1 ftp ftp {len(content)} Jan 02 2026 "
        lines += about.encode() + name + b"\r\n"
    return lines


def _blocks(content: bytes, share: float) -> Iterator[bytes]:
    until = int(len(content) * share)
    for at in range(0, until, BLOCK):
        yield content[at : min(at + BLOCK, until)]


def _end(talk: Talk, data: socket.socket, end: End) -> None:
    if end == "hang":
        talk.kept.append(data)
        return
    if end == "reset":
        reset(data)
        return
    if end == "clean" and isinstance(data, ssl.SSLSocket):
        data.settimeout(0)  # our close_notify leaves; the client's isn't waited for
        with contextlib.suppress(OSError):
            data.unwrap()
    data.close()


def _write_all(descriptor: int, content: bytes) -> None:
    while content:
        content = content[os.write(descriptor, content) :]
