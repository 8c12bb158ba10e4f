"""Cloud Storage on one machine, as a WSGI application: the JSON API, and the XML API for signed URLs.

Point the real client at it with `STORAGE_EMULATOR_HOST=http://127.0.0.1:PORT`, or with

    storage.Client(project="p", credentials=AnonymousCredentials(), client_options={"api_endpoint": URL})

To sign URLs, ask for a service account's credentials: its key is made here on first use and kept in State.

    credentials = local_storage.signing_credentials("files@p.iam.gserviceaccount.com")
    blob.generate_signed_url(version="v4", credentials=credentials, expiration=timedelta(minutes=15))

Another process signs with `service_account_info(email)` written to a file: it has the form of a service-account key.
The client dates a signature by the system's clock, and expiry is judged by the core's: moving time forward ages the
URLs signed after it, too.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from google.oauth2 import service_account
from werkzeug.wrappers import Request

from local_cloud.core import Core
from local_cloud.state import State
from local_cloud.storage import http
from local_cloud.storage.content import Contents
from local_cloud.storage.json_api import JsonApi
from local_cloud.storage.signed_urls import Signers
from local_cloud.storage.store import Store
from local_cloud.storage.uploads import Uploads
from local_cloud.storage.xml_api import XmlApi


class Storage:
    """The whole service. Bytes lie in `folder`, or without one in a temporary folder that ends with the process."""

    def __init__(self, core: Core, state: State, folder: Path | None) -> None:
        self._core = core
        contents = Contents(folder)
        store = Store(core, state, contents)
        uploads = Uploads(core, state, store)
        contents.sweep({*store.by_content(), *uploads.contents})
        self._signers = Signers(state)
        self._json_api = JsonApi(core, store, uploads)
        self._xml_api = XmlApi(core, store, uploads, self._signers)

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        return http.answer(Request(environ), self._json_api, self._xml_api)(environ, start_response)

    def register_signer(self, email: str, public_key_pem: str) -> None:
        """Accept what the service account `email` signs: RSA, its public key as SubjectPublicKeyInfo in PEM."""
        with self._core.lock:
            self._signers.register(email, public_key_pem)

    def service_account_info(self, email: str) -> dict[str, str]:
        """A service-account key of `email`, in the form of its JSON file, whose signatures are accepted here."""
        with self._core.lock:
            private_key = self._signers.private_key(email)
        return {
            "type": "service_account",
            "client_email": email,
            "private_key": private_key,
            "private_key_id": "local",
            "token_uri": "https://oauth2.googleapis.com/token",
        }

    def signing_credentials(self, email: str) -> service_account.Credentials:
        """Credentials of `email` for `blob.generate_signed_url(credentials=...)`."""
        return service_account.Credentials.from_service_account_info(self.service_account_info(email))
