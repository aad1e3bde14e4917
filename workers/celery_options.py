"""Our configuration → Celery's settings, each with its reason; pure, and Celery itself is not imported.

What beat sends is `beat_schedule.entries`: its crontabs are Celery's own.
"""

from __future__ import annotations

from typing import Any

from workers.settings import Settings

POLLS = "towline.polls"
TRANSFERS = "towline.transfers"


def options(config: Settings, broker_url: str) -> dict[str, Any]:
    """Celery's configuration for ours, by Celery's setting names; all of it but `beat_schedule`."""
    # A message taken and not acknowledged comes back after this long; Celery reads it in three places, and
    # the smallest of them wins.
    redis = {
        "visibility_timeout": int(config.visibility_timeout),
        # Without these, a half-open connection to the broker is noticed by nobody. A worker waits so long for
        # each thing it still wants to say on a dead line, one after the other: five times, as measured.
        "socket_timeout": 10.0,
        "socket_keepalive": True,
        "health_check_interval": 15,
        # No retry_on_timeout: with it redis-py mends a line that was reset by itself, inside a read that then
        # waits for ever, and the worker takes no message again. Celery makes a new line and subscribes anew.
    }
    return {
        "broker_url": broker_url,
        "result_backend": config.results or broker_url,
        "broker_transport_options": redis if broker_url.startswith("redis") else {},
        "result_backend_transport_options": {
            "visibility_timeout": redis["visibility_timeout"],
            # A finished task must not become a failed one because Redis was away while it was stored.
            "retry_policy": {"max_retries": None, "interval_step": 0.2, "interval_max": 2.0},
        },
        "visibility_timeout": redis["visibility_timeout"],
        "redis_socket_timeout": redis["socket_timeout"],
        "redis_socket_keepalive": True,
        "redis_retry_on_timeout": True,
        "redis_backend_health_check_interval": redis["health_check_interval"],
        "result_backend_always_retry": True,
        "broker_connection_retry_on_startup": True,
        "broker_connection_max_retries": None,
        # JSON only: a pickled message would let whoever reaches the broker run code here.
        "task_serializer": "json",
        "result_serializer": "json",
        "accept_content": ["json"],
        # A message is a hint, so doing one twice is harmless and losing one is healed by the next tick.
        "task_acks_late": True,
        "task_reject_on_worker_lost": True,
        "worker_prefetch_multiplier": 1,
        # The bytes flow on while the broker is away; the doubled message claims nothing.
        "worker_cancel_long_running_tasks_on_connection_loss": False,
        "task_track_started": True,
        "task_store_errors_even_if_ignored": True,
        "result_extended": True,
        "result_expires": 86_400,
        "worker_send_task_events": True,
        "task_send_sent_event": True,
        "enable_utc": True,
        "timezone": config.timezone,
        "task_default_queue": POLLS,
        "task_routes": {
            "towline.fetch": {"queue": TRANSFERS},
            "towline.push": {"queue": TRANSFERS},
            "towline.*": {"queue": POLLS},
        },
        "beat_schedule_filename": str(config.state_dir / "beat-schedule"),
        "worker_proc_alive_timeout": 30.0,
    }
