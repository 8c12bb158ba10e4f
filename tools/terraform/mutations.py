"""Thirty ways in which this configuration could realistically be wrong, each one edit of one file."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Mutation:
    """In `file`, the first `old` becomes `new`."""

    name: str
    file: str
    old: str
    new: str

    def apply(self, folder: Path) -> None:
        """Edit the copy of the configuration in `folder`. Raises ValueError if there is nothing to edit."""
        path = folder / self.file
        text = path.read_text()
        if self.old not in text:
            raise ValueError(f"{self.name}: {self.file} does not hold {self.old!r}")
        path.write_text(text.replace(self.old, self.new, 1))


_FUNCTION = "terraform/modules/function/main.tf"
_CHANNEL = "terraform/modules/event_channel/main.tf"

MUTATIONS = (
    Mutation(
        "A push has Pub/Sub's default deadline, shorter than its function's timeout",
        _CHANNEL,
        "  ack_deadline_seconds       = max(10, each.value.timeout_seconds)\n",
        "  ack_deadline_seconds       = 10\n",
    ),
    Mutation(
        "The dead-letter subscription is on the live topic",
        _CHANNEL,
        "  topic                      = google_pubsub_topic.dead_letter[each.key].id\n",
        "  topic                      = google_pubsub_topic.this.id\n",
    ),
    Mutation(
        "A push subscription expires after a month without events",
        _CHANNEL,
        '  # Never, even if nothing is published for a month.\n  expiration_policy {\n    ttl = ""\n  }\n',
        "",
    ),
    Mutation(
        "Messages may be stored in any region",
        _CHANNEL,
        "  message_storage_policy {\n    allowed_persistence_regions = var.regions\n"
        "    enforce_in_transit          = true\n  }\n",
        "",
    ),
    Mutation(
        "Pub/Sub may not acknowledge messages that it moved to a dead-letter topic",
        _CHANNEL,
        "  subscription = google_pubsub_subscription.push[each.key].name\n",
        "  subscription = google_pubsub_subscription.dead_letter[each.key].name\n",
    ),
    Mutation(
        "Anyone may call every function",
        "terraform/functions.tf",
        'each.value.kind == "routes" ? { everybody = "allUsers" } : {},',
        '{ everybody = "allUsers" },',
    ),
    Mutation(
        "Functions accept traffic that bypasses the load balancer",
        _FUNCTION,
        '"ALLOW_INTERNAL_AND_GCLB"',
        '"ALLOW_ALL"',
    ),
    Mutation(
        "Grants are lost when a function is recreated",
        _FUNCTION,
        "    replace_triggered_by = [google_cloudfunctions2_function.this.id]\n",
        "",
    ),
    Mutation(
        "All functions run as the relay",
        "terraform/functions.tf",
        "google_service_account.function[each.key].email\n  environment",
        "google_service_account.function[local.relay].email\n  environment",
    ),
    Mutation(
        "The builder is an editor",
        "terraform/build.tf",
        '"roles/logging.logWriter"',
        '"roles/editor"',
    ),
    Mutation(
        "The deployer may grant itself any role",
        "terraform/deploy.tf",
        '    expression = "api.getAttribute',
        '    expression = "true || api.getAttribute',
    ),
    Mutation(
        "Pub/Sub's agent may not use Pub/Sub's key",
        "terraform/keys.tf",
        'pubsub    = ["pubsub"]',
        'pubsub    = ["storage"]',
    ),
    Mutation(
        "An encrypted resource does not wait for the grants on its key",
        "terraform/modules/cmek_key/outputs.tf",
        "  depends_on  = [terraform_data.granted]\n",
        "",
    ),
    Mutation(
        "The agents that deploy functions have no role",
        "terraform/services.tf",
        '    run            = "roles/run.serviceAgent"\n',
        "",
    ),
    Mutation(
        "Secrets replicate automatically",
        "terraform/secrets.tf",
        "    user_managed {\n      replicas {\n        location = local.region\n\n        customer_managed_encryption {\n"
        '          kms_key_name = module.cmek_key["secrets"].id\n        }\n      }\n    }\n',
        "    auto {}\n",
    ),
    Mutation(
        "A database user is named by the account's whole email",
        "terraform/database.tf",
        'trimsuffix(google_service_account.function[name].email, ".gserviceaccount.com")',
        "google_service_account.function[name].email",
    ),
    Mutation(
        "The functions may open more connections than the database has",
        "functions/trade_events/function.yaml",
        "    max_instances: 3\n",
        "    max_instances: 30\n",
    ),
    Mutation(
        "The database has a public address",
        "terraform/database.tf",
        "ipv4_enabled    = false",
        "ipv4_enabled    = true",
    ),
    Mutation(
        "The database is created before its network is connected",
        "terraform/database.tf",
        "  depends_on = [google_service_networking_connection.private_services]\n",
        "",
    ),
    Mutation(
        "Statements are logged with their parameters",
        "terraform/database.tf",
        '        "log_parameter_max_length"    = "0" # parameters are rows, and rows are personal data\n',
        "",
    ),
    Mutation(
        "Schedules run in UTC",
        "terraform/schedules.tf",
        '"Asia/Kolkata"',
        '"Etc/UTC"',
    ),
    Mutation(
        "Functions that create tasks may not act as the tasks' account",
        "terraform/identities.tf",
        "toset([for name, f in local.functions : name if length(f.enqueues) > 0])",
        "toset([])",
    ),
    Mutation(
        "A function gets a variable under another name",
        "terraform/environment.tf",
        "TOKEN_AUDIENCE = local.sign_in.audience",
        "AUDIENCE       = local.sign_in.audience",
    ),
    Mutation(
        "Requests queue behind the framework's default number of threads",
        "terraform/environment.tf",
        "        THREADS = tostring(f.concurrency)\n",
        "",
    ),
    Mutation(
        "Cloud Armor does not protect the functions",
        "terraform/edge.tf",
        "  security_policy       = google_compute_region_security_policy.edge.self_link\n",
        "",
    ),
    Mutation(
        "The rate limit admits requests before the attack rules run",
        "terraform/edge.tf",
        "    priority    = 2000\n",
        "    priority    = 500\n",
    ),
    Mutation(
        "Webhooks leave from any of Google's addresses",
        "terraform/functions.tf",
        "    all_traffic = each.value.fixed_egress\n",
        "    all_traffic = false\n",
    ),
    Mutation(
        "Every signed-in client reads every trade",
        "functions/live_feed/firestore.rules",
        "resource.data.open == true",
        "resource.data.open != null",
    ),
    Mutation(
        "A client query has no index",
        "terraform/firestore.tf",
        '    trades   = { contains = ["partner_ids"], equals = ["open"] }\n',
        '    trades   = { contains = ["partner_ids"], equals = ["status"] }\n',
    ),
    Mutation(
        "No alert fires for dead letters",
        "terraform/alerts.tf",
        'ends_with(\\".dead-letter\\")"\n        aligner  = "ALIGN_MAX", reducer',
        'ends_with(\\".dead-letters\\")"\n        aligner  = "ALIGN_MAX", reducer',
    ),
)
