"""Makes `didymium/v1/*` from the .proto files: `python python/generate.py [FOLDER]`.

Run it in an environment with `tests/python/requirements.txt`: generated code demands a protobuf runtime at least as new
as its generator, so a newer grpcio-tools than the pinned one would shut out users of older runtimes. A test compares
what is committed with what this makes.
"""

import sys
import sysconfig
from importlib import resources
from pathlib import Path

from grpc_tools import protoc

HERE = Path(__file__).resolve().parent
PROTO = HERE.parent / "proto"


def generate(folder: Path) -> None:
    """Writes messages, stubs and their types for every .proto file below `folder`."""
    scripts = Path(sysconfig.get_path("scripts"))
    arguments = [
        "protoc",
        f"--proto_path={PROTO}",
        f"--proto_path={resources.files('grpc_tools') / '_proto'}",  # google.protobuf.Duration
        f"--plugin=protoc-gen-mypy={scripts / 'protoc-gen-mypy'}",
        f"--plugin=protoc-gen-mypy_grpc={scripts / 'protoc-gen-mypy_grpc'}",
        f"--python_out={folder}",
        f"--grpc_python_out={folder}",
        f"--mypy_out=quiet:{folder}",
        f"--mypy_grpc_out=quiet:{folder}",
    ]
    files = sorted(str(path.relative_to(PROTO)) for path in (PROTO / "didymium").rglob("*.proto"))
    if protoc.main([*arguments, *files]) != 0:
        raise SystemExit("protoc failed; its message stands above")


if __name__ == "__main__":
    generate(Path(sys.argv[1]) if len(sys.argv) > 1 else HERE)
