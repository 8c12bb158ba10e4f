"""People are told, before partners tell them."""

import ast
import json
import re
from typing import Any

from tests.terraform.deployed import Deployed, seconds
from tools.catalog import ROOT


def _policies(deployed: Deployed) -> dict[str, dict[str, Any]]:
    return {
        r.address.rpartition("google_monitoring_alert_policy.")[2]: r.values
        for r in deployed.of("monitoring_alert_policy")
    }


def _thresholds(deployed: Deployed, name: str) -> list[dict[str, Any]]:
    return [c["condition_threshold"][0] for c in _policies(deployed)[name]["conditions"]]


def test_each_capability_promises_something_and_burns_its_budget_loudly(deployed: Deployed) -> None:
    capabilities = {function.capability for function in deployed.catalog.functions.values()}
    objectives = {slo["display_name"].partition(":")[0]: slo for slo in deployed.values("monitoring_slo")}
    assert set(objectives) == capabilities
    for capability, objective in objectives.items():
        assert 0.99 <= objective["goal"] < 1, capability
        counted = objective["request_based_sli"][0]["good_total_ratio"][0]["total_service_filter"]
        for name, function in deployed.catalog.functions.items():
            assert (f'service_name="{name}"' in counted) == (function.capability == capability), name
        for burn in ("fast", "steady"):
            conditions = _thresholds(deployed, f'burn_rate["{capability} {burn}"]')
            assert len(conditions) == 2, capability
            assert all(objective["name"] in c["filter"] for c in conditions), capability
            assert all(c["threshold_value"] >= 1 for c in conditions), capability


def test_burns_are_measured_over_what_cloud_monitoring_looks_back(deployed: Deployed) -> None:
    for name in _policies(deployed):
        if name.startswith("burn_rate"):
            periods = [float(c["filter"].split('"')[3].removesuffix("s")) for c in _thresholds(deployed, name)]
            assert all(300 <= period <= 86400 for period in periods), name
            assert max(periods) == 12 * min(periods), name


def test_fast_burn_comes_before_a_fiftieth_of_the_budget_is_gone(deployed: Deployed) -> None:
    hours = 28 * 24
    for name in _policies(deployed):
        if name.startswith("burn_rate") and name.endswith('fast"]'):
            long, short = sorted(_thresholds(deployed, name), key=lambda c: len(c["filter"]))[::-1]
            assert "3600s" in long["filter"] + short["filter"]
            assert long["threshold_value"] * 1 / hours <= 0.022


def test_a_dead_letter_is_told_of_at_once(deployed: Deployed) -> None:
    (condition,) = _thresholds(deployed, 'threshold["dead-letters"]')
    assert "num_undelivered_messages" in condition["filter"]
    assert 'ends_with(".dead-letter")' in condition["filter"]
    assert condition["threshold_value"] == 0
    assert condition["duration"] == "0s"


def test_waiting_events_and_a_full_outbox_are_told_of(deployed: Deployed) -> None:
    (age,) = _thresholds(deployed, 'threshold["event-age"]')
    assert "oldest_unacked_message_age" in age["filter"]
    assert age["threshold_value"] <= 900
    (outbox,) = _thresholds(deployed, 'threshold["outbox-age"]')
    metrics = {metric["name"]: metric["filter"] for metric in deployed.values("logging_metric")}
    assert "kapas/outbox_publish_failures" in outbox["filter"]
    assert "outbox_publish_failed" in metrics["kapas/outbox_publish_failures"]


def test_processors_that_do_not_stop_are_told_of(deployed: Deployed) -> None:
    (condition,) = _thresholds(deployed, 'threshold["dispatches-overdue"]')
    assert "kapas/consent_dispatches_overdue" in condition["filter"]
    # The run that says so comes every five minutes: the alert stays open between two of them.
    assert seconds(condition["aggregations"][0]["alignment_period"]) > 2 * 300


def test_counted_log_events_are_logged_by_the_code(deployed: Deployed) -> None:
    logged = {
        call.args[0].value
        for folder in ("functions", "shared")
        for path in (ROOT / folder).rglob("*.py")
        for call in ast.walk(ast.parse(path.read_text()))
        if isinstance(call, ast.Call) and ast.unparse(call.func) in ("log.info", "log.warning", "log.error")
        if isinstance(call.args[0], ast.Constant)
    }
    for metric in deployed.values("logging_metric"):
        counted = set(re.findall(r'jsonPayload\.message="(\w+)"', metric["filter"]))
        assert counted, metric["name"]
        assert counted <= logged, metric["name"]


def test_a_task_that_is_given_up_and_a_queue_that_fails_are_told_of(deployed: Deployed) -> None:
    (given_up,) = _thresholds(deployed, 'threshold["tasks-failed"]')
    metrics = {metric["name"]: metric["filter"] for metric in deployed.values("logging_metric")}
    assert "kapas/tasks_given_up" in given_up["filter"]
    assert "task_given_up" in metrics["kapas/tasks_given_up"]
    (failing,) = _thresholds(deployed, 'threshold["tasks-failing"]')
    assert "queue/task_attempt_count" in failing["filter"]
    assert failing["aggregations"][0]["group_by_fields"] == ["resource.label.queue_id"]
    # A task is tried again before a look finds no try of it that failed.
    longest = max(queue.max_backoff_seconds for queue in deployed.catalog.queues.values())
    assert seconds(failing["aggregations"][0]["alignment_period"]) >= longest
    (answer,) = re.findall(r'full_match\("(.*)"\)', failing["filter"])
    assert [code for code in ("OK", "200", "204", "500", "403", "UNAVAILABLE") if not re.fullmatch(answer, code)] == [
        "500",
        "403",
        "UNAVAILABLE",
    ]


def test_failing_webhooks_are_told_of(deployed: Deployed) -> None:
    (condition,) = _thresholds(deployed, "webhook_failures")
    assert "kapas/webhook_failures" in condition["filter"]
    assert "kapas/webhook_attempts" in condition["denominator_filter"]
    assert 0 < condition["threshold_value"] <= 0.5


def test_a_schedule_that_does_not_run_is_told_of(deployed: Deployed) -> None:
    for name, function in deployed.functions("schedule").items():
        (condition,) = _thresholds(deployed, f'threshold["not-run-{name}"]')
        assert f'service_name="{name}"' in condition["filter"], name
        assert condition["evaluation_missing_data"] == "EVALUATION_MISSING_DATA_ACTIVE", name
        period = seconds(condition["aggregations"][0]["alignment_period"])
        # Cloud Monitoring looks back 25 hours at most, so a sweep runs once a day or more often.
        assert period <= 25 * 3600, name
        minute, _, day, month, weekday = (function.trigger.schedule or "").split()
        assert (day, month, weekday) == ("*", "*", "*"), name
        assert period <= 3600 or not minute.startswith("*"), name


def test_every_alert_reaches_somebody_and_names_its_runbook(deployed: Deployed) -> None:
    channel = deployed.one("monitoring_notification_channel")
    for name, policy in _policies(deployed).items():
        assert policy["notification_channels"] == [channel["name"]], name
        assert policy["enabled"] is not False, name
        assert "docs/operations/alerts.md#" in policy["documentation"][0]["content"], name


def test_the_public_address_is_looked_at_from_outside(deployed: Deployed) -> None:
    checks = {
        check["http_check"][0]["path"]: check["http_check"][0]
        for check in deployed.values("monitoring_uptime_check_config")
    }
    assert set(checks) == {function.trigger.routes[0] for function in deployed.functions("http").values()}
    assert all(check["use_ssl"] and check["validate_ssl"] for check in checks.values())


def test_money_is_told_of_before_it_is_gone(deployed: Deployed) -> None:
    budget = deployed.one("billing_budget")
    (amount,) = budget["amount"][0]["specified_amount"]
    assert (amount["currency_code"], int(amount["units"]) <= 20000) == ("INR", True)
    assert min(rule["threshold_percent"] for rule in budget["threshold_rules"]) <= 0.5
    assert any(rule["spend_basis"] == "FORECASTED_SPEND" for rule in budget["threshold_rules"])
    assert budget["all_updates_rule"][0]["monitoring_notification_channels"]


def test_the_dashboard_draws(deployed: Deployed) -> None:
    dashboard = json.loads(deployed.one("monitoring_dashboard")["dashboard_json"])
    assert len(dashboard["gridLayout"]["widgets"]) >= 8
