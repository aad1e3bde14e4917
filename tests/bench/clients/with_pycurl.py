"""A job by pycurl: a handle a line, used for all of its files, so that libcurl keeps its connection."""

from __future__ import annotations

import sys
import threading

import pycurl

from tests.bench.clients.job import Job


def one_line(job: Job, number: int, failures: list[BaseException]) -> None:
    """Move this line's share."""
    handle = pycurl.Curl()
    handle.setopt(pycurl.USERPWD, f"{job.user}:{job.password}")
    handle.setopt(pycurl.USE_SSL, pycurl.USESSL_ALL)
    handle.setopt(pycurl.CAINFO, job.ca_file)
    handle.setopt(pycurl.FTP_FILEMETHOD, pycurl.FTPMETHOD_NOCWD)
    handle.setopt(pycurl.NOSIGNAL, 1)
    handle.setopt(pycurl.BUFFERSIZE, 512 * 1024)
    handle.setopt(pycurl.UPLOAD_BUFFERSIZE, 512 * 1024)
    folder = f"ftp://{job.host}:{job.port}"
    try:
        if job.direction == "list":
            handle.setopt(pycurl.URL, f"{folder}{job.remote}/")
            handle.setopt(pycurl.WRITEFUNCTION, sys.stdout.buffer.write)
            handle.perform()
        for name in job.share(number):
            handle.setopt(pycurl.URL, folder + job.path(name))
            with (job.local / name).open("wb" if job.direction == "down" else "rb") as file:
                if job.direction == "down":
                    handle.setopt(pycurl.WRITEDATA, file)
                else:
                    handle.setopt(pycurl.UPLOAD, 1)
                    handle.setopt(pycurl.READDATA, file)
                handle.perform()
    except (pycurl.error, OSError) as failure:
        failures.append(failure)
    finally:
        handle.close()


def main() -> None:
    """All lines, a thread each: libcurl releases the interpreter."""
    job = Job.given()
    failures: list[BaseException] = []
    threads = [threading.Thread(target=one_line, args=(job, number, failures)) for number in range(job.lines)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        sys.exit(str(failures[0]))


if __name__ == "__main__":
    main()
