"""Every key of `towline.toml`, with the tests that fail when the program ignores it.

Each is a planted bug as well: a reader of the configuration is told the key's default, whatever the file says
(of a required key: something that nobody wrote). `make mutants` plants them; `python -m tests.mutants
ignores.endpoints.keepalive` plants one.
"""

from __future__ import annotations

from pydantic import BaseModel

from tests.mutants.patches import Hunk, Mutant
from workers.settings import config_file
from workers.settings.models import Batch, Endpoint, Reconnect, Route, Settings, Then

TABLES: dict[str, type[BaseModel]] = {
    "towline": Settings,
    "endpoints": Endpoint,
    "endpoints.reconnect": Reconnect,
    "routes": Route,
    "routes.batch": Batch,
    "routes.then": Then,
}
INNER = {"endpoints.reconnect", "routes.batch", "routes.then"}
"""Keys whose value is a table: its keys are what is ignored."""

_CELERY = "tests/unit/test_celery_settings.py::"
_BEAT = "tests/unit/test_beat_schedule.py::"
_PEER = "tests/unit/test_peer_of.py::test_every_key_reaches_the_line"
_KEYS = "tests/servers/test_endpoint_keys.py::"
_LS = "tests/servers/test_cli_looking.py::test_ls_is_text_for_people"
_WIRE = "tests/faults/test_keys_on_the_wire.py::"
_SILENCE = _WIRE + "test_silence_is_borne_for_as_long_as_its_key_says"
_SESSION = "tests/faults/test_session.py::"
_DETECTION = "tests/servers/test_detection.py::"
_TREE = "tests/servers/test_recursion.py::"
_DRESS = "tests/servers/test_transfer.py::test_mode_time_and_syncs_of_a_published_file_are_the_route_s"
_PERMITS = "tests/servers/test_permits.py::"

TESTS: dict[str, tuple[str, ...]] = {
    "towline.broker": (_CELERY + "test_what_is_configured_reaches_celery",),
    "towline.results": (_CELERY + "test_what_is_configured_reaches_celery",),
    "towline.ledger": ("tests/servers/test_fleet.py::test_lines_never_exceed_the_limit_and_none_starves",),
    "towline.state_dir": (_CELERY + "test_what_is_configured_reaches_celery",),
    "towline.lease": (
        _PERMITS + "test_a_killed_holders_permit_is_free_at_once_and_a_frozen_ones_with_its_lease",
    ),
    "towline.poll_soft_limit": (_CELERY + "test_short_tasks_have_the_limits_of_a_poll_and_transfers_none",),
    "towline.poll_hard_limit": (_CELERY + "test_short_tasks_have_the_limits_of_a_poll_and_transfers_none",),
    "towline.visibility_timeout": (
        _CELERY + "test_the_visibility_timeout_is_the_same_wherever_celery_looks",
    ),
    "towline.stop_grace": (
        "tests/system/test_orderly_stop.py::test_a_worker_told_to_stop_hands_back_what_it_cannot_end",
    ),
    "towline.timezone": (_CELERY + "test_what_is_configured_reaches_celery",),
    "towline.history": (
        "tests/servers/test_history_key.py::test_a_file_is_forgotten_when_it_was_gone_for_so_long",
    ),
    "endpoints.host": (_LS, _PEER),
    "endpoints.user": (_LS, _PEER),
    "endpoints.password": (_LS,),
    "endpoints.tls": (_WIRE + "test_a_line_without_tls_is_one_where_both_keys_ask_for_it", _PEER),
    "endpoints.allow_plaintext": (_WIRE + "test_a_line_without_tls_is_one_where_both_keys_ask_for_it", _PEER),
    "endpoints.port": (_LS, _PEER),
    "endpoints.ca_file": (_LS, _PEER),
    "endpoints.fingerprint": (_KEYS + "test_pins_stand_in_for_an_authority", _PEER),
    "endpoints.verify": (_KEYS + "test_unverified_is_said_at_every_connect", _PEER),
    "endpoints.client_cert": (_KEYS + "test_a_server_that_wants_a_certificate", _PEER),
    "endpoints.client_key": (_KEYS + "test_a_server_that_wants_a_certificate", _PEER),
    "endpoints.tls_min": (_KEYS + "test_tls_versions_have_limits", _PEER),
    "endpoints.tls_max": (_KEYS + "test_tls_versions_have_limits", _PEER),
    "endpoints.data_mode": ("tests/servers/test_active.py::test_a_route_in_active_mode", _PEER),
    "endpoints.active_ports": ("tests/servers/test_active.py::test_a_route_in_active_mode", _PEER),
    "endpoints.trust_pasv_address": (
        _WIRE + "test_a_227_s_address_is_dialled_where_its_network_is_trusted",
        _PEER,
    ),
    "endpoints.noop_during_transfer": (_PEER,),
    "endpoints.resume_uploads": (
        "tests/faults/test_push_faults.py::test_a_broken_upload_goes_on_where_that_is_asked_for",
    ),
    "endpoints.wire_log": ("tests/servers/test_wire_log.py::test_an_endpoint_may_log_its_wire",),
    "endpoints.encoding": (_WIRE + "test_user_and_password_are_sent_in_the_endpoint_s_encoding", _PEER),
    "endpoints.timezone": (
        "tests/servers/test_quiet_folders.py::test_another_time_zone_is_a_comparison",
        _PEER,
    ),
    "endpoints.connect_timeout": (_SILENCE, _PEER),
    "endpoints.reply_timeout": (_SILENCE, _PEER),
    "endpoints.probe_timeout": (
        _WIRE + "test_a_line_is_given_as_long_to_say_that_it_lives_as_its_key_says",
        _PEER,
    ),
    "endpoints.idle_timeout": (_SILENCE, _PEER),
    "endpoints.probe_after": (_SESSION + "test_a_line_is_asked_before_use_only_after_an_idle_time",),
    "endpoints.keepalive": (_SESSION + "test_an_idle_line_is_asked_again_and_again_where_keepalive_is_set",),
    "endpoints.max_age": (_SESSION + "test_a_line_is_rebuilt_when_it_is_too_old",),
    "endpoints.max_sessions": (_PERMITS + "test_who_finds_no_line_in_time_ends_as_busy_and_holds_nothing",),
    "endpoints.reconnect.attempts": (_SESSION + "test_a_server_that_is_gone_is_reported_with_exact_counts",),
    "endpoints.reconnect.within": (_SESSION + "test_a_line_is_tried_for_no_longer_than_within",),
    "endpoints.reconnect.first_wait": (
        _SESSION + "test_waits_between_attempts_are_drawn_from_what_grows_from_first_wait_to_max_wait",
    ),
    "endpoints.reconnect.max_wait": (
        _SESSION + "test_waits_between_attempts_are_drawn_from_what_grows_from_first_wait_to_max_wait",
    ),
    "routes.endpoint": (_BEAT + "test_each_route_is_polled_and_upkeep_runs_every_minute",),
    "routes.remote": (_TREE + "test_a_tree_lands_as_it_lies",),
    "routes.local": (_TREE + "test_a_tree_lands_as_it_lies",),
    "routes.direction": ("tests/servers/test_cli_push.py::test_run_sends_what_is_there",),
    "routes.every": (_BEAT + "test_each_route_is_polled_and_upkeep_runs_every_minute",),
    "routes.cron": (_BEAT + "test_cron_fields_are_in_the_order_of_cron",),
    "routes.include": (_TREE + "test_filters_see_the_path_below_the_routes_folder",),
    "routes.exclude": (_TREE + "test_a_folder_that_exclude_leaves_out_is_not_even_listed",),
    "routes.regex": (_TREE + "test_filters_see_the_path_below_the_routes_folder",),
    "routes.recursive": (_TREE + "test_a_tree_lands_as_it_lies",),
    "routes.max_depth": (_TREE + "test_a_route_goes_as_deep_as_max_depth",),
    "routes.settle": (_DETECTION + "test_a_delivery_that_comes_again",),
    "routes.min_age": (
        "tests/servers/test_quiet_folders.py::test_a_file_grows_old_enough_though_the_listing_is_the_same",
    ),
    "routes.done_file": (_DETECTION + "test_a_marker_vouches_for_its_file_and_goes_first",),
    "routes.backlog": (_DETECTION + "test_what_was_there_before_the_route_is_left_alone",),
    "routes.redeliver": (_DETECTION + "test_a_delivery_that_comes_again",),
    "routes.after": ("tests/servers/test_after_actions.py::test_a_published_file_leaves_its_source",),
    "routes.after_failure": (_DETECTION + "test_a_file_of_which_all_attempts_failed_is_moved_away",),
    "routes.verify": ("tests/servers/test_verify_hash.py::test_a_hash_that_differs_is_the_files_own_fault",),
    "routes.on_exists": ("tests/servers/test_transfer.py::test_on_exists_version_numbers_what_comes_later",),
    "routes.mode": (_DRESS,),
    "routes.keep_mtime": (_DRESS,),
    "routes.batch.files": (
        "tests/servers/test_rounds.py::test_a_batch_that_was_filled_says_that_there_may_be_more",
    ),
    "routes.batch.bytes": ("tests/servers/test_rounds.py::test_a_batch_is_filled_by_bytes_as_well",),
    "routes.max_attempts": (_DETECTION + "test_a_file_of_which_all_attempts_failed_is_moved_away",),
    "routes.durability": (_DRESS,),
    "routes.then.task": (
        "tests/system/test_follow_on.py::test_a_worker_of_another_program_is_told_of_each_file",
    ),
    "routes.then.queue": (
        "tests/system/test_follow_on.py::test_a_worker_of_another_program_is_told_of_each_file",
    ),
    "routes.expect": (
        "tests/unit/cli/test_verbs_expect.py::test_a_route_says_when_it_has_been_quiet_for_too_long",
    ),
}

_TOGETHER = {
    "endpoints.data_mode": ("active_ports",),
    "endpoints.active_ports": ("data_mode",),
    "endpoints.client_cert": ("client_key",),
    "endpoints.client_key": ("client_cert",),
    "routes.cron": ("every",),
}
"""Keys without which the other would be refused, which is not what is tried."""

_NOBODY_WROTE = {
    "towline.ledger": "values.ledger_in(self.state_dir)",
    "towline.state_dir": 'self.path.parent / "elsewhere"',
    "endpoints.host": '"127.0.0.9"',
    "endpoints.user": '"nobody"',
    "endpoints.password": 'Password.model_validate("wrong")',
    "routes.endpoint": '"another"',
    "routes.remote": 'b"/elsewhere"',
    "routes.local": 'Path("/proc/elsewhere")',
}
"""What is read in the place of a key that has no default."""

_READER = "class _Table(BaseModel):\n"


def keys() -> set[str]:
    """Every key that the program knows, with its table's name in front."""
    known = {f"{table}.{key}" for table, model in TABLES.items() for key in config_file.keys(model)}
    return known - INNER


def ignored() -> list[Mutant]:
    """A planted bug for each key."""
    return [_ignoring(key, tests) for key, tests in TESTS.items()]


def _ignoring(key: str, tests: tuple[str, ...]) -> Mutant:
    table, _, name = key.rpartition(".")
    names = (name, *_TOGETHER.get(key, ()))
    default = _NOBODY_WROTE.get(key, "type(self).model_fields[name].get_default()")
    planted = (
        f"{_READER}"
        "    def __getattribute__(self, name: str) -> Any:\n"
        f'        if type(self).__name__ == "{TABLES[table].__name__}" and name in {names!r}:\n'
        f"            return {default}\n"
        "        return super().__getattribute__(name)\n\n"
    )
    hunk = Hunk("workers/settings/models.py", _READER, planted)
    return Mutant(f"ignores.{key}", f"{key} is ignored.", "every option has its effect.", tests, (hunk,))
