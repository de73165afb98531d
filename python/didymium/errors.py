"""What can go wrong with a query, one exception for each thing a caller would do about it."""

from __future__ import annotations

import grpc
from google.rpc import error_details_pb2
from grpc_status import rpc_status


class DidymiumWarning(UserWarning):
    """What the author of a query may not have meant; its result stands all the same."""


class DidymiumError(Exception):
    """Any failure of a query. Raised as it is when only the operator of the server can help.

    `code` is the gRPC status; `reason` and `details` are the server's machine-readable account, empty if it gave none.
    """

    def __init__(
        self, message: str, code: grpc.StatusCode, reason: str = "", details: dict[str, str] | None = None
    ) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason
        self.details = details or {}
        #: Seconds after which to try again, where the server says so.
        self.retry_after: float | None = None


class SqlError(DidymiumError):
    """The statement is wrong, or a value sent with it is: change it."""


class NotFound(DidymiumError):
    """No such table: the message names the nearest ones."""


class AlreadyExists(DidymiumError):
    """The name is taken, or the load id stands for another load: choose another."""


class AuthError(DidymiumError):
    """Not allowed: who asks is unknown, or what is asked is no query."""


class Overloaded(DidymiumError):
    """Memory, disk or a free place ran out: ask for less, or later."""


class QueryTimeout(DidymiumError):
    """The time allowed was over before the result was complete."""


class Cancelled(DidymiumError):
    """The query was cancelled before its result was complete."""


class ConnectionFailed(DidymiumError):
    """No server answered, or it went away: try again once it is back."""


_BY_CODE = {
    grpc.StatusCode.INVALID_ARGUMENT: SqlError,
    grpc.StatusCode.OUT_OF_RANGE: SqlError,
    grpc.StatusCode.FAILED_PRECONDITION: SqlError,
    grpc.StatusCode.NOT_FOUND: NotFound,
    grpc.StatusCode.ALREADY_EXISTS: AlreadyExists,
    grpc.StatusCode.UNAUTHENTICATED: AuthError,
    grpc.StatusCode.PERMISSION_DENIED: AuthError,
    grpc.StatusCode.RESOURCE_EXHAUSTED: Overloaded,
    grpc.StatusCode.DEADLINE_EXCEEDED: QueryTimeout,
    grpc.StatusCode.CANCELLED: Cancelled,
    grpc.StatusCode.UNAVAILABLE: ConnectionFailed,
}


def from_rpc(error: grpc.RpcError) -> DidymiumError:
    """The exception for a failed call, with the server's ErrorInfo where it sent one."""
    code, message = error.code(), error.details() or error.code().name
    info = error_details_pb2.ErrorInfo()
    status = rpc_status.from_call(error)
    retry = error_details_pb2.RetryInfo()
    for detail in status.details if status else ():
        # Each leaves its message alone when the detail is of another kind.
        detail.Unpack(info)
        detail.Unpack(retry)
    raised = _BY_CODE.get(code, DidymiumError)(message, code, info.reason, dict(info.metadata))
    if retry.HasField("retry_delay"):
        raised.retry_after = retry.retry_delay.ToTimedelta().total_seconds()
    return raised
