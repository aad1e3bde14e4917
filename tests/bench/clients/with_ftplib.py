"""A job by Python's ftplib; `--resume`: data connections resume the control connection's TLS session."""

from __future__ import annotations

import ftplib
import socket
import ssl
import sys

from tests.bench.clients.job import Job, on_all_lines

BLOCK = 64 * 1024


class Resuming(ftplib.FTP_TLS):
    """What the recipes on the web say."""

    def ntransfercmd(self, cmd: str, rest: int | str | None = None) -> tuple[socket.socket, int | None]:
        data, size = ftplib.FTP.ntransfercmd(self, cmd, rest)
        assert isinstance(self.sock, ssl.SSLSocket)
        return self.context.wrap_socket(data, server_hostname=self.host, session=self.sock.session), size


def one_line(job: Job, number: int) -> None:
    """Connect, and move this line's share."""
    kind = Resuming if "--resume" in sys.argv else ftplib.FTP_TLS
    line = kind(context=ssl.create_default_context(cafile=job.ca_file), timeout=30)
    line.connect(job.host, job.port)
    line.login(job.user, job.password)
    line.prot_p()
    if job.direction == "list":
        line.retrlines(f"LIST {job.remote}")
    for name in job.share(number):
        local = job.local / name
        if job.direction == "down":
            with local.open("wb") as file:
                line.retrbinary(f"RETR {job.path(name)}", file.write, BLOCK)
        else:
            with local.open("rb") as file:
                line.storbinary(f"STOR {job.path(name)}", file, BLOCK)
    line.quit()


if __name__ == "__main__":
    on_all_lines(Job.given(), one_line)
