# ruff: noqa: PLC0415 - protobuf is an extra
"""Whether the messages of `loopwright.serving.grpc.protocol` are those of the protocol, field by field.

    python bench/grpc_facts.py --install-peers                       # makes bench/.envs/grpc-facts (grpcio-tools)
    python bench/grpc_facts.py --protocol open_inference_grpc.proto --triton grpc_service.proto

The two files are those of kserve/open-inference-protocol (``specification/protocol``) and of
triton-inference-server/common (``protobuf``, beside its ``model_config.proto``); they are read where they lie and not
kept. Both are compiled by protoc, and each message, field, number, type, label, oneof, map and call is compared. All of
the protocol's file must be here, and nothing here may differ from what it is in one of the two files.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

PEER = Path(__file__).resolve().parent / ".envs" / "grpc-facts"


def compiled(proto: Path) -> dict[str, str]:
    """Return the facts of a .proto file, as protoc reads it."""
    from google.protobuf import descriptor_pb2

    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "set.bin"
        command = [
            PEER / "bin" / "python",
            "-m",
            "grpc_tools.protoc",
            f"-I{proto.parent}",
            f"--descriptor_set_out={out}",
        ]
        subprocess.run([*map(str, command), str(proto)], check=True)
        files = descriptor_pb2.FileDescriptorSet.FromString(out.read_bytes())
    return facts(files.file[-1])


def facts(file: object) -> dict[str, str]:
    """Return one line per message, field and call of a file."""
    found: dict[str, str] = {"file": f"{file.package} {file.syntax}"}

    def walk(message: object, path: str) -> None:
        found[f"message {path}"] = f"map_entry={message.options.map_entry}"
        for field in message.field:
            oneof = message.oneof_decl[field.oneof_index].name if field.HasField("oneof_index") else ""
            found[f"field {path}.{field.name}"] = (
                f"number={field.number} type={field.type} of={field.type_name} label={field.label} oneof={oneof} "
                f"json={field.json_name} default={field.default_value!r} options={field.options!s}"
            )
        for nested in message.nested_type:
            walk(nested, f"{path}.{nested.name}")

    for message in file.message_type:
        walk(message, message.name)
    for service in file.service:
        for method in service.method:
            found[f"call {service.name}.{method.name}"] = (
                f"{method.input_type} -> {method.output_type} {method.client_streaming} {method.server_streaming}"
            )
    return found


def ours() -> dict[str, str]:
    """Return the facts of the package's own messages."""
    from google.protobuf import descriptor_pb2

    from loopwright.serving.grpc.proto_file import Messages
    from loopwright.serving.grpc.protocol import INFERENCE

    file = descriptor_pb2.FileDescriptorProto()
    Messages([INFERENCE]).pool.FindFileByName(INFERENCE.name).CopyToProto(file)
    return facts(file)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--install-peers", action="store_true")
    parser.add_argument("--protocol", type=Path)
    parser.add_argument("--triton", type=Path)
    options = parser.parse_args()
    if options.install_peers:
        subprocess.run([sys.executable, "-m", "venv", str(PEER)], check=True)
        subprocess.run([str(PEER / "bin" / "pip"), "install", "-q", "grpcio-tools"], check=True)
        return
    if options.protocol is None or not PEER.exists():
        print("Give --protocol (and --triton), after --install-peers once.")
        return
    here, protocol = ours(), compiled(options.protocol)
    triton = compiled(options.triton) if options.triton else {}
    missing = sorted(set(protocol) - set(here))
    different = [
        f"{name}: here {fact}, there {other}"
        for name, fact in sorted(here.items())
        if (other := protocol.get(name, triton.get(name))) is not None and other != fact
    ]
    unknown = sorted(set(here) - set(protocol) - set(triton))
    print(
        f"{len(here)} facts here, {len(protocol)} in the protocol, {len(set(here) - set(protocol))} from Triton's file"
    )
    for title, lines in (("missing here", missing), ("different", different), ("in neither file", unknown)):
        print(f"{title}: {len(lines)}", *lines, sep="\n  ")
    sys.exit(bool(missing or different or unknown))


if __name__ == "__main__":
    main()
