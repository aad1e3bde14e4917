"""The least a client can do: what a server serves when nothing is proven, checked or written down.

Replies are read, and of their codes only the first digit is looked at; what comes is read into one buffer
and thrown away. It waits for as little as can be: RETR leaves while TCP still connects, TLS begins before the
150 has come, and the next EPSV is on its way with RETR.
"""

from __future__ import annotations

import contextlib
import re
import select
import socket
import ssl
import sys

from tests.bench.clients.job import Job, on_all_lines

BLOCK = 256 * 1024


class Bare:
    """A control connection."""

    def __init__(self, job: Job) -> None:
        self._context = ssl.create_default_context(cafile=job.ca_file)
        self._host = job.host
        self._rest = b""
        self._sock: socket.socket = socket.create_connection((job.host, job.port), 30)
        self._sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.reply()
        self.ask("AUTH TLS")
        self._tls = self._sock = self._context.wrap_socket(self._sock, server_hostname=job.host)
        self.ask(f"USER {job.user}")
        for command in (f"PASS {job.password}", "PBSZ 0", "PROT P", "TYPE I"):
            self.ask(command)

    def send(self, *commands: str) -> None:
        """All in one flight."""
        self._sock.sendall("".join(f"{command}\r\n" for command in commands).encode())

    def reply(self) -> str:
        """The last line of the next reply."""
        while True:
            line, end, rest = self._rest.partition(b"\r\n")
            if not end:
                self._rest += self._sock.recv(4096)
            else:
                self._rest = rest
                if re.match(rb"\d{3} ", line):
                    if line[:1] in b"45":
                        raise OSError(line.decode())
                    return line.decode()

    def ask(self, command: str) -> str:
        """One command and its reply."""
        self.send(command)
        return self.reply()

    def begin(self, *commands: str) -> ssl.SSLSocket:
        """Connect to the port of the EPSV reply that comes next, these commands at once; TLS, resumed."""
        port = int(self.reply().rpartition("(|||")[2].partition("|")[0])
        data = socket.socket()
        data.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        data.setblocking(False)
        data.connect_ex((self._host, port))
        self.send(*commands)
        select.select([], [data], [])
        data.setblocking(True)
        return self._context.wrap_socket(data, server_hostname=self._host, session=self._tls.session)


def one_line(job: Job, number: int) -> None:
    """Connect, and move this line's share."""
    line, buffer = Bare(job), bytearray(BLOCK)
    commands = {"down": "RETR", "up": "STOR", "list": "LIST", "poll": "LIST"}
    verb = commands[job.direction]
    paths = [job.path(name) for name in job.share(number)] or [job.remote]
    line.send("EPSV")
    for turn, path in enumerate(paths):
        data = line.begin(f"{verb} {path}", *["EPSV"] * (turn + 1 < len(paths)))
        if job.direction == "up":
            data.sendall((job.local / path.rpartition("/")[2]).read_bytes())
            data.setblocking(False)
            with contextlib.suppress(OSError):  # it wants to wait for the server's end, mostly
                data.unwrap()
            with contextlib.suppress(OSError):  # for which the server waits two seconds
                socket.socket.shutdown(data, socket.SHUT_WR)
        elif job.direction in ("list", "poll"):
            while block := data.recv(BLOCK):
                sys.stdout.buffer.write(block)
        else:
            while data.recv_into(buffer):
                pass
        if job.direction != "up":
            data.close()
        line.reply()  # 150
        line.reply()  # 226
        data.close()


if __name__ == "__main__":
    on_all_lines(Job.given(), one_line)
