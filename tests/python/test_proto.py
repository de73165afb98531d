"""The .proto files keep to buf's STANDARD rules, say what everything is, and break nothing that was released.

What was released stands in `proto/released.json`; `python tests/python/test_proto.py` makes it anew, at a release only.
"""

import copy
import json
import re
import tempfile
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import descriptor_pb2 as pb
from grpc_tools import protoc

PROTO = Path(__file__).resolve().parents[2] / "proto"
RELEASED = PROTO / "released.json"

FORMS = {
    "PascalCase": r"[A-Z][A-Za-z0-9]*",
    "lower_snake_case": r"[a-z][a-z0-9]*(_[a-z0-9]+)*",
    "UPPER_SNAKE_CASE": r"[A-Z][A-Z0-9]*(_[A-Z0-9]+)*",
}

IS_THE_TABLE = "the answer is the table itself, with nothing around it"

#: Faults that stay, each with its reason. One that is mended must go from here.
EXCEPTIONS = {
    "CatalogService.GetTable gives Table": IS_THE_TABLE,
    "CatalogService.CreateTable gives Table": IS_THE_TABLE,
    "CatalogService.AlterTable gives Table": IS_THE_TABLE,
    "CatalogService.CreateView gives Table": IS_THE_TABLE,
    "QueryService.Execute takes QueryRequest": "it asks what Query asks, and answers in another form",
}

#: What had no comment before there was this test, by where it is told instead.
BARE = {
    "at the method": [
        *("GetTableRequest", "CreateTableRequest", "AlterTableRequest", "DropTableRequest", "CreateViewRequest"),
        *("DropViewRequest", "ListTablesResponse", "ListFunctionsResponse"),
        *("ListTablesResponse.tables", "ListFunctionsResponse.functions"),
    ],
    "at the message": ["CancelRequest.query_id", "Row.values", "FunctionArgument.name", "FunctionArgument.description"],
    "at FileHeader.format": ["Format.FORMAT_UNSPECIFIED"],
}

BAD = """
syntax = "proto3";
package didymium.wrong;
import public "google/protobuf/duration.proto";
service Lists { rpc list(Row) returns (Row); }
message Row { oneof Kind { int32 rowCount = 1; } map<string, int32> fine = 2; optional int32 set = 3; }
// A comment.
message bad { enum Day { option allow_alias = true; FIRST = 0; DAY_x = 1; DAY_ONE = 1; } }
"""


def test_the_proto_files_keep_to_the_rules() -> None:
    found = set(faults(compiled(PROTO)))
    excepted = EXCEPTIONS.keys() | {f"{name} has no comment" for names in BARE.values() for name in names}
    assert found <= excepted, "\n".join(sorted(found - excepted))
    assert excepted <= found, "mended: take from EXCEPTIONS or BARE " + ", ".join(sorted(excepted - found))


def test_every_broken_rule_is_found(tmp_path: Path) -> None:
    (tmp_path / "didymium" / "v1").mkdir(parents=True)
    (tmp_path / "didymium" / "v1" / "Bad.proto").write_text(BAD)
    bare = "Lists Lists.list Row Row.rowCount Row.fine Row.set bad.Day bad.Day.FIRST bad.Day.DAY_x bad.Day.DAY_ONE"
    assert sorted(faults(compiled(tmp_path))) == sorted(
        [
            *(f"{name} has no comment" for name in bare.split()),
            *("Bad is not lower_snake_case", "Bad is in the wrong folder", "Bad has a public import"),
            *("didymium.wrong ends in no version", "Lists does not end in Service", "Lists.list is not PascalCase"),
            *("Lists.list takes Row", "Lists.list gives Row", "Row.Kind is not lower_snake_case"),
            *("Row.rowCount is not lower_snake_case", "bad is not PascalCase", "bad.Day.DAY_x is not UPPER_SNAKE_CASE"),
            *("bad.Day begins with FIRST", "bad.Day has two names for one value"),
            "bad.Day.FIRST does not begin with DAY_",
        ]
    )


def test_nothing_that_was_released_is_broken() -> None:
    assert "\n".join(broken(json.loads(RELEASED.read_text()), interface(compiled(PROTO)))) == ""


@pytest.mark.parametrize(
    ("place", "now", "fault"),
    [
        ("services/didymium.v1.QueryService/Cancel", None, "is gone"),
        ("services/didymium.v1.QueryService/Query/server_stream", False, "was True and became False"),
        ("messages/didymium.v1.Date", None, "is gone"),
        ("messages/didymium.v1.Date/2", None, "is gone"),
        ("messages/didymium.v1.Date/1/name", "anno", "was 'year' and became 'anno'"),
        ("messages/didymium.v1.Date/1/type", "int64", "was 'int32' and became 'int64'"),
        ("messages/didymium.v1.Date/1/label", "repeated", "was 'optional' and became 'repeated'"),
        ("messages/didymium.v1.Date/1/oneof", "kind", "was None and became 'kind'"),
        ("messages/didymium.v1.Table/4/proto3_optional", False, "was True and became False"),
        ("messages/didymium.v1.Value/6/type_name", "x.Y", "was 'didymium.v1.Date' and became 'x.Y'"),
        ("enums/didymium.v1.Format/4", None, "is gone"),
        ("enums/didymium.v1.Format/1", "FORMAT_TEXT", "was 'FORMAT_CSV' and became 'FORMAT_TEXT'"),
    ],
)
def test_a_break_is_found_and_what_is_new_is_none(place: str, now: str | bool | None, fault: str) -> None:
    released = json.loads(RELEASED.read_text())
    altered = copy.deepcopy(released)
    *path, last = place.split("/")
    holder = altered
    for key in path:
        holder = holder[key]
    holder[last] = now
    if now is None:
        del holder[last]
        assert list(broken(altered, released)) == []
    assert list(broken(released, altered)) == [f"{place} {fault}"]


def compiled(root: Path) -> list[pb.FileDescriptorProto]:
    """The .proto files of the folder `didymium`, with their comments. An import that is not used is an error."""
    files = sorted(str(path.relative_to(root)) for path in (root / "didymium").rglob("*.proto"))
    folders = [f"--proto_path={root}", f"--proto_path={resources.files('grpc_tools') / '_proto'}"]
    with tempfile.NamedTemporaryFile() as out:
        options = ["--include_source_info", "--fatal_warnings", f"--descriptor_set_out={out.name}"]
        assert protoc.main(["protoc", *folders, *options, *files]) == 0, "protoc failed; its message stands above"
        return list(pb.FileDescriptorSet.FromString(Path(out.name).read_bytes()).file)


def declarations(holder: Any, scope: str, at: tuple[int, ...] = ()) -> Iterator[tuple[str, Any, tuple[int, ...]]]:
    """Services, enums and messages, nested ones too: the full name, the descriptor, its path in the source info."""
    for field, members in holder.ListFields():
        if field.name in ("service", "enum_type", "message_type", "nested_type"):
            for index, one in enumerate(members):
                name, path = f"{scope}.{one.name}", (*at, field.number, index)
                yield name, one, path
                yield from declarations(one, name, path)


def interface(files: list[pb.FileDescriptorProto]) -> dict[str, Any]:
    """What clients rely on: methods by name, fields and values of enums by number."""
    told: dict[str, Any] = {"services": {}, "messages": {}, "enums": {}}
    for name, one, _ in (found for file in files for found in declarations(file, file.package)):
        match one:
            case pb.ServiceDescriptorProto():
                told["services"][name] = {
                    method.name: {
                        "input": method.input_type.removeprefix("."),
                        "output": method.output_type.removeprefix("."),
                        "client_stream": method.client_streaming,
                        "server_stream": method.server_streaming,
                    }
                    for method in one.method
                }
            case pb.DescriptorProto():
                told["messages"][name] = {
                    str(field.number): {
                        "name": field.name,
                        "type": field.Type.Name(field.type).removeprefix("TYPE_").lower(),
                        "type_name": field.type_name.removeprefix(".") or None,
                        "label": field.Label.Name(field.label).removeprefix("LABEL_").lower(),
                        "oneof": one.oneof_decl[field.oneof_index].name if field.HasField("oneof_index") else None,
                        "proto3_optional": field.proto3_optional,
                    }
                    for field in one.field
                }
            case pb.EnumDescriptorProto():
                told["enums"][name] = {str(value.number): value.name for value in one.value}
    return told


def broken(released: dict[str, Any], now: dict[str, Any], place: str = "") -> Iterator[str]:
    """What was released and is gone, or is another thing now."""
    for key, was in released.items():
        if key not in now:
            yield f"{place}{key} is gone"
        elif isinstance(was, dict):
            yield from broken(was, now[key], f"{place}{key}/")
        elif was != now[key]:
            yield f"{place}{key} was {was!r} and became {now[key]!r}"


def faults(files: list[pb.FileDescriptorProto]) -> Iterator[str]:
    """The rules of buf's STANDARD that are broken, and what no comment stands before."""
    for file in files:
        path = Path(file.name)
        yield from misnamed(path.stem, path.stem, "lower_snake_case")
        if file.package != ".".join(path.parent.parts):
            yield f"{path.stem} is in the wrong folder"
        if not re.search(r"\.v[1-9][0-9]*((alpha|beta)[1-9][0-9]*)?$", file.package):
            yield f"{file.package} ends in no version"
        if file.syntax != "proto3":  # which has neither required fields nor groups
            yield f"{path.stem} is not in proto3"
        if file.public_dependency:
            yield f"{path.stem} has a public import"
        commented = {tuple(place.path) for place in file.source_code_info.location if place.leading_comments.strip()}
        for full_name, one, at in declarations(file, file.package):
            if isinstance(one, pb.DescriptorProto) and one.options.map_entry:
                continue
            name = full_name.removeprefix(f"{file.package}.")
            yield from misnamed(name, one.name, "PascalCase")
            match one:
                case pb.ServiceDescriptorProto():
                    members, form = one.method, "PascalCase"
                    yield from faults_of_service(name, one)
                case pb.EnumDescriptorProto():
                    members, form = one.value, "UPPER_SNAKE_CASE"
                    yield from faults_of_enum(name, one)
                case pb.DescriptorProto():
                    members, form = one.field, "lower_snake_case"
                    for oneof in one.oneof_decl:  # that of `optional x` is `_x`
                        yield from misnamed(f"{name}.{oneof.name}", oneof.name.removeprefix("_"), form)
            if members and at not in commented:  # a message without fields may be bare
                yield f"{name} has no comment"
            for index, member in enumerate(members):
                yield from misnamed(f"{name}.{member.name}", member.name, form)
                if (*at, 2, index) not in commented:  # methods, values and fields: each is field 2 of its descriptor
                    yield f"{name}.{member.name} has no comment"


def faults_of_service(name: str, service: pb.ServiceDescriptorProto) -> Iterator[str]:
    if not service.name.endswith("Service"):
        yield f"{name} does not end in Service"
    for method in service.method:
        for verb, used, suffix in (("takes", method.input_type, "Request"), ("gives", method.output_type, "Response")):
            used = used.rpartition(".")[2]
            if used not in (f"{method.name}{suffix}", f"{service.name}{method.name}{suffix}"):
                yield f"{name}.{method.name} {verb} {used}"


def faults_of_enum(name: str, enum: pb.EnumDescriptorProto) -> Iterator[str]:
    prefix = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", enum.name).upper() + "_"
    if enum.options.allow_alias:
        yield f"{name} has two names for one value"
    if enum.value[0].name != f"{prefix}UNSPECIFIED":  # proto3 sees to it that the first value is 0
        yield f"{name} begins with {enum.value[0].name}"
    for value in enum.value:
        if not value.name.startswith(prefix):
            yield f"{name}.{value.name} does not begin with {prefix}"


def misnamed(place: str, name: str, form: str) -> Iterator[str]:
    if not re.fullmatch(FORMS[form], name):
        yield f"{place} is not {form}"


if __name__ == "__main__":
    text = json.dumps(interface(compiled(PROTO)), indent=2)
    RELEASED.write_text(re.sub(r"{[^{}]*}", lambda one: " ".join(one[0].split()), text) + "\n")  # a field is a line
