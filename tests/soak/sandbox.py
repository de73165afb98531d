"""Group S: what SQL can't reach."""

from __future__ import annotations

import re
import shutil
import subprocess
import time
from argparse import Namespace

import grpc

import harness
from didymium.v1 import query_pb2
from served import Served, outcome

#: Ways to a file or a host, and what each is told.
WAYS_OUT = {
    "create external table t stored as csv location '/etc/passwd'": "PERMISSION_DENIED",
    "create external table t stored as parquet location 's3://other/x'": "PERMISSION_DENIED",
    "create external table t stored as csv location 'http://169.254.169.254/latest'": "PERMISSION_DENIED",
    "copy (select 1) to 'copied.csv'": "PERMISSION_DENIED",
    "select * from '/etc/hostname'": "NOT_FOUND",
    "select * from 'http://169.254.169.254/latest'": "NOT_FOUND",
    "insert into quotas values (1)": "PERMISSION_DENIED",
    "drop table quotas": "PERMISSION_DENIED",
    "load 'x'": "PERMISSION_DENIED",
}

SETTINGS = [
    *(f"set datafusion.execution.{key} = '1'" for key in ("batch_size", "target_partitions", "time_zone", "collect_statistics")),
    *(f"set datafusion.runtime.{key} = '100G'" for key in ("memory_limit", "max_temp_directory_size", "temp_directory")),
    "set datafusion.sql_parser.recursion_limit = 100000",
    "set time zone = 'UTC'",
    "reset datafusion.execution.batch_size",
    "show all",
    "show datafusion.runtime.temp_directory",
]


def run(served: Served, _: Namespace) -> None:
    ways_out(served)
    settings(served)
    anothers(served)


def ways_out(served: Served) -> None:
    """S1: refused, and no file or connection of any other place is opened."""
    traced = served.folder / "traced"
    strace = None
    if shutil.which("strace"):
        command = ["strace", "-f", "-e", "trace=open,openat,connect", "-o", str(traced), "-p", str(served.server.process.pid)]
        strace = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        time.sleep(1)
    stub = served.stub("a")
    told = {sql: outcome(stub, sql) for sql in WAYS_OUT}
    different = {sql: code for sql, code in told.items() if code != WAYS_OUT[sql]}
    opened: set[str] = set()
    if strace is not None:
        strace.terminate()
        strace.wait()
        opened = set(re.findall(r'open(?:at)?\([^"]*"([^"]*)"', traced.read_text()))
        own = (str(served.folder), "/proc/", "/sys/", "/dev/")
        opened = {file for file in opened if not file.startswith(own)}
    served.tells("S1", not different and not opened, f"{len(told)} ways out: {different or 'all refused'}; opened elsewhere: {sorted(opened)[:5] or 'nothing'}")


def settings(served: Served) -> None:
    """S2: no setting is changed or shown."""
    stub = served.stub("a")
    codes = {sql: outcome(stub, sql) for sql in SETTINGS}
    wrong = {sql: code for sql, code in codes.items() if code not in {"PERMISSION_DENIED", "NOT_FOUND", "INVALID_ARGUMENT"}}
    served.tells("S2", not wrong, f"{len(SETTINGS)} settings: {wrong or 'none is changed or shown'}")


def anothers(served: Served) -> None:
    """S4: another's query is as one that does not run."""
    mine, theirs = served.stub("a"), served.stub("b")
    call = mine.Query(harness.request("select value from generate_series(1, 1000000000000)"), timeout=60)
    query_id = next(call).header.query_id

    def told(name: str) -> tuple[str, str]:
        try:
            theirs.Cancel(query_pb2.CancelRequest(query_id=name), timeout=60)
        except grpc.RpcError as error:
            return error.code().name, error.details().replace(name, "ID")
        return "OK", ""

    random = told("0" * len(query_id))
    found = told(query_id)
    listed = theirs.ListQueries(query_pb2.ListQueriesRequest(), timeout=60).queries
    goes_on = bool(next(call).arrow_ipc)
    call.cancel()
    sees_none = all(query.query_id != query_id for query in listed)
    served.tells("S4", found == random and sees_none and goes_on, f"cancel of another's query: {found[0]}, as of none; it goes on")
