"""What each function is told here: the environment that Terraform sets on Google Cloud, with local addresses."""

from dataclasses import dataclass

from tools.catalog import Catalog, Function

PROJECT = "kapas-local"
TOKEN_ISSUER = "https://identity.example.com/"  # noqa: S105 - the issuer's name, no secret
TOKEN_AUDIENCE = "https://api.example.com/"  # noqa: S105
DATABASE = "kapas"

PUSH_CALLER = f"pubsub-push@{PROJECT}.iam.gserviceaccount.com"
TASK_CALLER = f"cloud-tasks@{PROJECT}.iam.gserviceaccount.com"
SCHEDULE_CALLER = f"cloud-scheduler@{PROJECT}.iam.gserviceaccount.com"
CALLERS = {"pubsub": PUSH_CALLER, "task": TASK_CALLER, "schedule": SCHEDULE_CALLER}


def service_account(function: str) -> str:
    """The service account a function runs as."""
    return f"{function}@{PROJECT}.iam.gserviceaccount.com"


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where things are on this machine."""

    base_url: str
    """The local cloud's HTTP address, without a slash at the end."""
    grpc: str
    """`host:port` of Google's services over gRPC."""
    postgres_port: int
    storage: str = ""
    """The address of Cloud Storage, without a slash at the end."""

    def function(self, name: str) -> str:
        """The address of a function, apart from its public routes: what push, tasks and schedules call."""
        return f"{self.base_url}/_functions/{name}"


def key_name(catalog: Catalog) -> str:
    """The KMS key that wraps epoch keys."""
    return f"projects/{PROJECT}/locations/{catalog.region}/keyRings/kapas/cryptoKeys/personal-data"


def receipt_key_name(catalog: Catalog) -> str:
    """The KMS key that signs receipts. A function is told of a version of it."""
    return f"projects/{PROJECT}/locations/{catalog.region}/keyRings/kapas/cryptoKeys/receipts"


def bucket_name(bucket: str) -> str:
    """The full name of a bucket of the catalog."""
    return f"{PROJECT}-{bucket}"


def environment(catalog: Catalog, name: str, at: Addresses) -> dict[str, str]:
    """The environment of one function."""
    function = catalog.functions[name]
    variables = {
        "FUNCTION": name,
        "PROJECT": PROJECT,
        "REGION": catalog.region,
        "METADATA_URL": f"{at.base_url}/_local/metadata/{name}",
    }
    if function.trigger.kind == "http":
        variables |= {
            "TOKEN_ISSUER": TOKEN_ISSUER,
            "TOKEN_AUDIENCE": TOKEN_AUDIENCE,
            "TOKEN_JWKS_URL": f"{at.base_url}/_local/jwks/platform",
        }
    else:
        variables |= {
            "SERVICE_AUDIENCE": at.function(name),
            "SERVICE_JWKS_URL": f"{at.base_url}/_local/jwks/google",
            "ALLOWED_CALLERS": ",".join(allowed_callers(catalog, function)),
        }
    if function.trigger.queue:
        variables["TASK_ATTEMPTS"] = str(catalog.queues[function.trigger.queue].max_attempts)
    if function.database:
        variables["DATABASE_URL"] = (
            f"postgresql://{function.database.role}@127.0.0.1:{at.postgres_port}/{DATABASE}?sslmode=disable"
        )
        variables["DATABASE_POOL"] = str(function.database.pool)
    if function.publishes:
        variables["RELAY_URL"] = at.function(relay(catalog))
    if function.encrypts:
        variables |= {"KMS_KEY": key_name(catalog), "KMS_URL": f"{at.base_url}/_google/kms"}
        if function.enqueues and function.trigger.kind != "http":
            variables["KMS_ENDPOINT"] = at.grpc  # these use Google's client, `kapas.http.function`
    if function.signs:
        version = f"{receipt_key_name(catalog)}/cryptoKeyVersions/1"
        variables |= {"RECEIPT_KEY": version, "KMS_URL": f"{at.base_url}/_google/kms"}
    if function.buckets:
        variables |= {
            "FILE_SIGNER": service_account(name),
            "STORAGE_URL": at.storage,
            "IAM_URL": f"{at.base_url}/_google/iamcredentials",
            **{f"{bucket.removesuffix('s').upper()}_BUCKET": bucket_name(bucket) for bucket in function.buckets},
        }
    if function.enqueues:
        urls = {target: at.function(target) for target in function.enqueues.values()}
        variables |= {
            "TASKS_ENDPOINT": at.grpc,
            "TASKS_CALLER": TASK_CALLER,
            "TASK_URLS": ",".join(f"{target}={url}" for target, url in sorted(urls.items())),
        }
    if name == "partner-check":
        providers = f"{at.base_url}/_local/providers"
        variables |= {
            "GST_REGISTRY_URL": f"{providers}/gst-registry",
            "BANK_VERIFICATION_URL": f"{providers}/bank-verification",
            "SCREENING_URL": f"{providers}/screening",
            "PROVIDER_TIMEOUT": "2.0",  # they are on this machine
        }
    if function.capability == "webhook_delivery":
        # The receiver of the local cloud is on loopback and speaks plain HTTP, which no real endpoint may.
        variables["WEBHOOK_ALLOW_HOSTS"] = at.base_url.removeprefix("http://")
    return variables


def relay(catalog: Catalog) -> str:
    """The function that publishes, and is woken."""
    return next(name for name, function in catalog.functions.items() if function.woken)


def allowed_callers(catalog: Catalog, function: Function) -> list[str]:
    """The service accounts that may call a function."""
    callers = [CALLERS[function.trigger.kind]]
    if function.woken:
        callers += [service_account(name) for name, other in catalog.functions.items() if other.publishes]
    return callers
