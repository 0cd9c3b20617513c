"""Failures of services told with what is wrong and the cure, and told apart: what time mends, and what people mend."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from airflow.sdk.exceptions import AirflowException, AirflowFailException, AirflowNotFoundException

WHERE = "pipelines/config/connections.yaml"
_REFUSED = ("InvalidAccessKeyId", "SignatureDoesNotMatch", "403", "Forbidden")


@dataclass(frozen=True)
class Failure:
    """What is wrong, with its cure. `permanent` where trying again does not help."""

    message: str
    permanent: bool

    def to_exception(self) -> Exception:
        """Return what a task raises: a permanent failure is not tried again."""
        error: Exception = (AirflowFailException if self.permanent else AirflowException)(self.message)
        return error


@contextmanager
def explained(doing: str, conn_id: str) -> Iterator[None]:
    """Raise a failure of a service as one that says what was being done, what is wrong, and the cure.

    Raises:
        AirflowFailException: trying again does not help (unknown connection, wrong password, no such bucket).
        AirflowException: the service is away.
    """
    try:
        yield
    except Exception as error:
        failure = explain(error, doing, conn_id)
        if failure is None:
            raise
        raise failure.to_exception() from error


def explain(error: BaseException, doing: str, conn_id: str) -> Failure | None:
    """Return what a failure of Airflow's connections, S3 or Postgres means; None for any other."""
    told = _of_connection(error, conn_id) or _of_s3(error, conn_id) or _of_postgres(error, conn_id)
    return told and Failure(f"{doing}: {told.message}", told.permanent)


def _of_connection(error: BaseException, conn_id: str) -> Failure | None:
    if not isinstance(error, AirflowNotFoundException):
        return None
    return Failure(f"there is no connection '{conn_id}'; add it to {WHERE}, or name one that is there", True)


def _of_s3(error: BaseException, conn_id: str) -> Failure | None:
    from botocore import exceptions

    # boto3 wraps what went wrong in uploads; what it wraps says more.
    answer = next((item for item in _chain(error) if isinstance(item, exceptions.ClientError)), None)
    if answer is not None:
        details: dict[str, Any] = answer.response.get("Error", {})
        code = str(details.get("Code", ""))
        if code == "NoSuchBucket":
            bucket = details.get("BucketName")
            named = f"no bucket '{bucket}'" if bucket else "no such bucket"
            return Failure(f"there is {named}; the platform's are raw, staging and curated", True)
        if code in _REFUSED:
            return Failure(f"the object store refuses the key of the connection '{conn_id}'; mend it in .env", True)
        if code == "AccessDenied":
            return Failure(f"the key of the connection '{conn_id}' may not do this; its policy says what it may", True)
        return Failure(f"the object store answered {code}: {details.get('Message', '')}", False)
    if isinstance(error, exceptions.NoCredentialsError):
        return Failure(f"the connection '{conn_id}' has no key; give it login and password in {WHERE}", True)
    if isinstance(error, (exceptions.ConnectionError, exceptions.HTTPClientError)):
        return Failure(f"the object store does not answer ({error}); `make status` shows whether it runs", False)
    return None


def _of_postgres(error: BaseException, conn_id: str) -> Failure | None:
    import psycopg

    if not isinstance(error, psycopg.Error):
        return None
    reason = str(error).strip().splitlines()[-1].strip() if str(error).strip() else type(error).__name__
    if "password authentication failed" in str(error) or "no password supplied" in str(error):
        return Failure(f"Postgres refuses the password of the connection '{conn_id}'; mend it in .env", True)
    if isinstance(error, psycopg.errors.InsufficientPrivilege):
        return Failure(f"the role of the connection '{conn_id}' may not do this: {reason}", True)
    if isinstance(error, psycopg.OperationalError) and error.sqlstate is None:
        missing = "does not exist" in reason
        cure = f"mend the connection '{conn_id}' in {WHERE}" if missing else "`make status` shows whether it runs"
        return Failure(f"Postgres does not answer ({reason}); {cure}", missing)
    return Failure(f"Postgres says: {reason}", False)


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
