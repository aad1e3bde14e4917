"""Somebody else's Celery application, which knows nothing of Towline: it writes down what it is sent.

celery -A tests.system.foreign_worker worker -Q billing
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from celery import Celery

app = Celery("billing", broker=os.environ["FOREIGN_BROKER"], set_as_current=False)


@app.task(name="billing.ingest")
def ingest(**arguments: Any) -> None:
    """A line for each call."""
    with Path(os.environ["FOREIGN_BOOK"]).open("a") as book:
        book.write(json.dumps(arguments) + "\n")
