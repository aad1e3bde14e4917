"""The stop flag that a worker's children share with their parent."""

from __future__ import annotations

import os

from workers.stopping import StopFlag


def test_a_child_sees_the_stop_that_its_parent_begins_after_the_fork() -> None:
    """Celery's signal fires only in the parent; the child learns of it all the same."""
    flag = StopFlag()
    told, tell = os.pipe()
    child = os.fork()
    if child == 0:
        os.read(told, 1)
        os._exit(7 if flag.begun and not flag.grace_over else 1)
    flag.begin(grace=60)
    os.write(tell, b"!")
    _, status = os.waitpid(child, 0)
    os.close(told)
    os.close(tell)
    assert os.waitstatus_to_exitcode(status) == 7


def test_grace_is_over_when_its_seconds_have_passed() -> None:
    """No grace means: stop between two blocks, now."""
    flag = StopFlag()
    assert not flag.begun
    assert not flag.grace_over
    flag.begin(grace=0)
    assert flag.grace_over
    flag.clear()
    assert not flag.begun


def test_a_stop_above_is_a_stop_below() -> None:
    """A worker's stop, grace and all, is one of each of its tasks; a task's is nobody else's."""
    worker = StopFlag()
    task, other = StopFlag(above=worker), StopFlag(above=worker)
    task.begin(0.0)
    assert (task.grace_over, other.begun, worker.begun) == (True, False, False)
    worker.begin(60.0)
    assert (other.begun, other.grace_over) == (True, False)
    assert task.grace_over
