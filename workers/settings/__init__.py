"""towline.toml and the environment → frozen Settings, Endpoint, Route; the time budget's check."""

from workers.settings.models import Batch, Endpoint, Reconnect, Route, Settings, Then, load
from workers.settings.time_budget import check_time_budget

__all__ = ["Batch", "Endpoint", "Reconnect", "Route", "Settings", "Then", "check_time_budget", "load"]
