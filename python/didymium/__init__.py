"""Didymium: SQL over gRPC on commodity statistics.

    import didymium
    db = didymium.connect("grpc://localhost:50051")
    db.sql("SELECT …").to_pandas()

Whoever wants the plain stubs alone finds them in `didymium.v1`.
"""

from didymium.client import Client, Result, connect
from didymium.errors import (
    AlreadyExists,
    AuthError,
    Cancelled,
    ConnectionFailed,
    DidymiumError,
    DidymiumWarning,
    NotFound,
    Overloaded,
    QueryTimeout,
    SqlError,
)
from didymium.load import Fault, Loaded

__all__ = [
    "AlreadyExists",
    "AuthError",
    "Cancelled",
    "Client",
    "ConnectionFailed",
    "DidymiumError",
    "DidymiumWarning",
    "Fault",
    "Loaded",
    "NotFound",
    "Overloaded",
    "QueryTimeout",
    "Result",
    "SqlError",
    "connect",
]
