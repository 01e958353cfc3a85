"""The protocol's service, asked by gRPC's own client."""

from __future__ import annotations

import gzip
import struct
import sys

import grpc
import numpy as np
import pytest
from tests.serving.grpc.doors import fp64, kind, output, parameters, refusal, request_of, tensor

from loopwright.core.errors import MissingExtraError
from loopwright.serving.calls.admission import QueueLimits
from loopwright.serving.calls.endpoint import Active
from loopwright.serving.grpc.proto_file import Messages
from loopwright.serving.models.loading import prepare
from loopwright.serving.releases.router import Routing

TEXT_LENGTHS = struct.Struct("<I")


def test_what_the_server_and_its_models_say_of_themselves(door):
    assert door.ask("ServerLive").live
    assert door.ask("ServerReady").ready
    server = door.ask("ServerMetadata")
    assert (server.name, server.version) == ("loopwright", "9.9")
    model = door.ask("ModelMetadata", name="nonce")
    assert (model.name, list(model.versions), model.platform) == ("nonce", ["1"], "loopwright")
    assert [(one.name, one.datatype, list(one.shape)) for one in model.inputs] == [("x", "FP64", [-1])]
    assert [one.name for one in model.outputs] == ["predict", "prediction_id"]
    assert door.ask("ModelReady", name="nonce").ready
    assert door.ask("ModelReady", name="nonce", version="1").ready
    assert not door.ask("ModelReady", name="nonce", version="2").ready
    assert not door.ask("ModelReady", name="none").ready
    assert [(one.name, one.version, one.state) for one in door.ask("RepositoryIndex").models] == [
        ("nonce", "1", "READY")
    ]
    assert refusal(lambda: door.ask("ModelMetadata", name="none"))[0] == "NOT_FOUND"
    assert refusal(lambda: door.ask("ModelMetadata", name="nonce", version="7"))[0] == "NOT_FOUND"
    assert refusal(lambda: door.channel.unary_unary("/inference.GRPCInferenceService/ModelConfig")(b""))[0] == (
        "UNIMPLEMENTED"
    )


def test_what_is_not_loaded_is_not_ready(door):
    door.endpoints["nonce"].active = None
    door.state.reason = "Not loaded yet: nonce."
    assert not door.ask("ServerReady").ready
    assert not door.ask("ModelReady", name="nonce").ready
    assert [one.state for one in door.ask("RepositoryIndex").models] == ["UNAVAILABLE"]
    assert not door.ask("RepositoryIndex", ready=True).models
    assert not door.ask("RepositoryIndex", repository_name="other").models
    assert door.refused(fp64(1))[0] == "UNAVAILABLE"
    assert refusal(lambda: door.ask("ModelMetadata", name="nonce"))[0] == "UNAVAILABLE"


def test_typed_contents_are_answered_typed_and_raw_ones_raw(door):
    typed = door.infer(fp64(1, 2), id="42")
    assert (typed.model_name, typed.model_version, typed.id) == ("nonce", "1", "42")
    assert list(output(typed).contents.fp64_contents) == [1001.0, 1002.0]
    assert list(output(typed).shape) == [2]
    assert len(output(typed, "prediction_id").contents.bytes_contents) == 2
    assert not typed.raw_output_contents
    assert (parameters(typed).route, parameters(typed).request_id) == ("champion", "42")

    raw = door.infer(tensor(shape=[2]), raw=[struct.pack("<2d", 1, 2)])
    assert raw.id == ""
    assert np.frombuffer(raw.raw_output_contents[0]).tolist() == [1001.0, 1002.0]
    assert not output(raw).HasField("contents")
    only = door.infer(fp64(1), outputs=["predict"])
    assert [one.name for one in only.outputs] == ["predict"]
    assert len(parameters(only).prediction_ids) == 36

    assert door.count("loopwright_requests_total", 'protocol="oip-grpc"', 'code="200"') == 3
    counts = door.parts.log.counts()
    assert counts.accepted == counts.durable == 5


NUMBERS = {
    "INT8": ("int_contents", "<i1"),
    "INT16": ("int_contents", "<i2"),
    "INT32": ("int_contents", "<i4"),
    "INT64": ("int64_contents", "<i8"),
    "UINT8": ("uint_contents", "<u1"),
    "UINT16": ("uint_contents", "<u2"),
    "UINT32": ("uint_contents", "<u4"),
    "UINT64": ("uint64_contents", "<u8"),
    "FP32": ("fp32_contents", "<f4"),
    "FP64": ("fp64_contents", "<f8"),
}


def test_every_number_type_is_read(door):
    for datatype, (listed, dtype) in NUMBERS.items():
        typed = door.infer(tensor(datatype, shape=[2], **{listed: [3, 4]}))
        assert list(output(typed).contents.fp64_contents) == [1003.0, 1004.0], datatype
        raw = door.infer(tensor(datatype, shape=[2, 1]), raw=[np.array([3, 4], dtype=dtype).tobytes()])
        assert np.frombuffer(raw.raw_output_contents[0]).tolist() == [1003.0, 1004.0], datatype
    half = door.infer(tensor("FP16", shape=[2]), raw=[np.array([3, 4], dtype="<f2").tobytes()])
    assert np.frombuffer(half.raw_output_contents[0]).tolist() == [1003.0, 1004.0]
    brain = door.infer(tensor("BF16", shape=[1]), raw=[b"\x40\x40"])  # 3.0
    assert np.frombuffer(brain.raw_output_contents[0]).tolist() == [1003.0]
    many = door.infer(tensor("FP64", shape=[1000]), raw=[np.arange(1000.0).tobytes()])
    assert np.frombuffer(many.raw_output_contents[0]).tolist() == [1000.0 + x for x in range(1000)]


def test_bytes_are_read_and_written(start_door, nonce, clock):
    slot = prepare(nonce.ImageModel(), online=None, clock=clock)
    door = start_door(active=Active(Routing(1), slot))
    bright, dark = bytes([250] * 9), bytes(9)
    typed = door.infer(tensor("BYTES", name="image", shape=[2], bytes_contents=[bright, dark]))
    assert list(output(typed).contents.bytes_contents) == [b"light", b"dark"]
    proba = output(typed, "predict_proba")
    assert (list(proba.shape), list(proba.contents.fp64_contents)[2:]) == ([2, 2], [1.0, 0.0])
    packed = b"".join(TEXT_LENGTHS.pack(len(one)) + one for one in (bright, dark))
    raw = door.infer(tensor("BYTES", name="image", shape=[2]), raw=[packed])
    assert raw.raw_output_contents[0] == b"\x05\0\0\0light\x04\0\0\0dark"
    assert door.refused(tensor("BYTES", name="image", shape=[3]), raw=[packed])[0] == "INVALID_ARGUMENT"


REFUSED = [
    ("no model", [fp64(1)], {"model_name": "none"}, "NOT_FOUND", "unknown model: 'none'"),
    ("no version", [fp64(1)], {"model_version": "9"}, "NOT_FOUND", "9"),
    ("no number", [fp64(1)], {"model_version": "latest"}, "NOT_FOUND", "no version number"),
    ("no inputs", [], {}, "INVALID_ARGUMENT", "no 'inputs'"),
    ("no name", [tensor(name="", fp64_contents=[1])], {}, "INVALID_ARGUMENT", "'name'"),
    ("no datatype", [tensor("FP65", fp64_contents=[1])], {}, "INVALID_ARGUMENT", "FP65"),
    ("no shape", [tensor(shape=(), fp64_contents=[1])], {}, "INVALID_ARGUMENT", "'shape'"),
    ("negative", [tensor(shape=[-1], fp64_contents=[1])], {}, "INVALID_ARGUMENT", "'shape'"),
    ("too few", [tensor(shape=[3], fp64_contents=[1])], {}, "INVALID_ARGUMENT", "3"),
    ("none at all", [tensor(shape=[1])], {}, "INVALID_ARGUMENT", "0 elements"),
    ("no rows", [tensor(shape=[0])], {}, "INVALID_ARGUMENT", "no rows"),
    ("wrong list", [tensor("FP32", fp64_contents=[1])], {}, "INVALID_ARGUMENT", "fp32_contents"),
    ("too large", [tensor("INT8", int_contents=[300])], {}, "INVALID_ARGUMENT", "INT8"),
    ("raw only", [tensor("FP16", fp32_contents=[1])], {}, "INVALID_ARGUMENT", "raw_input_contents"),
    ("both", [fp64(1)], {"raw": [bytes(8)]}, "INVALID_ARGUMENT", "beside"),
    ("not all raw", [tensor(), tensor(name="y")], {"raw": [bytes(8)]}, "INVALID_ARGUMENT", "for all inputs"),
    ("short raw", [tensor()], {"raw": [bytes(7)]}, "INVALID_ARGUMENT", "7 bytes"),
    ("unknown input", [fp64(1), tensor(name="y", fp64_contents=[1])], {}, "INVALID_ARGUMENT", "'y'"),
    ("unknown output", [fp64(1)], {"outputs": ["y"]}, "INVALID_ARGUMENT", "'y'"),
    ("no such output", [fp64(1)], {"outputs": ["predict_proba"]}, "INVALID_ARGUMENT", "probabilities"),
    ("twice", [fp64(1)], {"outputs": ["predict", "predict"]}, "INVALID_ARGUMENT", "twice"),
    ("negative time", [fp64(1)], {"timeout_us": -1}, "INVALID_ARGUMENT", "timeout"),
    ("no time left", [fp64(1)], {"metadata": [("x-request-timeout-ms", "0")]}, "DEADLINE_EXCEEDED", "deadline"),
    ("no time", [fp64(1)], {"metadata": [("x-request-timeout-ms", "soon")]}, "INVALID_ARGUMENT", "milliseconds"),
    ("long id", [fp64(1)], {"metadata": [("x-request-id", "x" * 200)]}, "INVALID_ARGUMENT", "X-Request-Id"),
    ("the model fails", [fp64(-1)], {}, "INTERNAL", "ZeroDivisionError"),
]


def test_every_bad_request_is_told_what_is_wrong(door):
    for title, tensors, options, code, said in REFUSED:
        found = door.refused(*tensors, **options)
        assert found[0] == code, (title, found)
        assert said in found[1], (title, found)
        assert "Traceback" not in found[1]
    shared = request_of(fp64(1))
    shared.inputs[0].parameters["shared_memory_region"].string_param = "region"
    assert "shared memory" in refusal(lambda: door.method("ModelInfer")(shared))[1]
    classified = request_of(fp64(1), outputs=["predict"])
    classified.outputs[0].parameters["classification"].int64_param = 3
    assert "classification" in refusal(lambda: door.method("ModelInfer")(classified))[1]
    textual = request_of(fp64(1))
    textual.parameters["timeout"].string_param = "soon"
    assert refusal(lambda: door.method("ModelInfer")(textual))[0] == "INVALID_ARGUMENT"
    assert refusal(lambda: door.channel.unary_unary("/inference.GRPCInferenceService/ModelInfer")(b"\xff\xff"))[0] == (
        "INVALID_ARGUMENT"
    )
    refused = door.count("loopwright_requests_total", 'protocol="oip-grpc"')
    assert refused == len(REFUSED) + 4
    assert door.endpoints["nonce"].in_flight == 0
    counts = door.parts.log.counts()
    assert counts.accepted == counts.durable + sum(counts.dropped.values())


def test_a_call_says_who_asks_and_which_version(start_door, make_slot):
    routing = Routing(1, challenger=2, stage="canary", share=0.5, salt="s", experiment="release")
    door = start_door(active=Active(routing, make_slot(1), make_slot(2)))
    assert output(door.infer(fp64(1), model_version="2")).contents.fp64_contents[0] == 2001.0
    pinned = door.infer(fp64(1), metadata=[("x-model-version", "2"), ("x-request-id", "mine")])
    assert (pinned.model_version, parameters(pinned).request_id) == ("2", "mine")
    by_key = {
        key: {door.infer(fp64(1), metadata=[("x-routing-key", key)]).model_version for _ in range(3)}
        for key in map(str, range(20))
    }
    assert all(len(versions) == 1 for versions in by_key.values())
    assert {next(iter(versions)) for versions in by_key.values()} == {"1", "2"}


def test_a_caller_who_gives_up_is_not_computed_for(start_door, gated):
    door = start_door(active=gated.active)
    first = door.method("ModelInfer").future(request_of(fp64(1)))
    assert gated.began.wait(60)
    waiting = door.method("ModelInfer").future(request_of(fp64(2)))
    late = refusal(lambda: door.infer(fp64(3), timeout_us=1_000))
    assert late[0] == "DEADLINE_EXCEEDED"
    waiting.cancel()
    while door.within(lambda: door.endpoints["nonce"].in_flight) > 1:
        pass
    gated.gate.set()
    assert output(first.result(60)).contents.fp64_contents[0] == 1001.0
    counts = door.parts.log.counts()
    assert counts.accepted == counts.durable + sum(counts.dropped.values()) == 3
    assert counts.dropped["cancelled"] == 1
    assert door.endpoints["nonce"].in_flight == 0


def test_callers_beyond_the_limit_are_told_when_to_come_again(start_door, gated):
    door = start_door(active=gated.active, limits=QueueLimits(max_calls=2))
    futures = [door.method("ModelInfer").future(request_of(fp64(x))) for x in range(8)]
    refused = [future for future in futures if isinstance(_refusal(gated, future), grpc.RpcError)]
    assert refused
    for future in refused:
        assert future.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert int(dict(future.trailing_metadata())["grpc-retry-pushback-ms"]) > 0
    assert len(futures) > len(refused)


def _refusal(gated, future):
    """Return how a call ends; those that are not refused wait for the gate."""
    try:
        future.result(0.2)
    except grpc.FutureTimeoutError:
        gated.gate.set()
        future.result(60)
    except grpc.RpcError as error:
        return error
    return None


def test_a_stream_goes_on_after_a_failure(door):
    sent = [
        request_of(fp64(1), id="a"),
        request_of(fp64(-1), id="b"),
        request_of(model_name="none"),
        request_of(fp64(3)),
    ]
    answers = list(door.method("ModelStreamInfer")(iter(sent)))
    assert [one.error_message == "" for one in answers] == [True, False, False, True]
    assert [one.infer_response.id for one in answers] == ["a", "b", "", ""]
    assert output(answers[3].infer_response).contents.fp64_contents[0] == 1003.0
    raw = door.channel.stream_stream("/inference.GRPCInferenceService/ModelStreamInfer")
    assert b"no ModelInferRequest" in next(iter(raw(iter([b"\xff"]))))
    assert door.within(lambda: [len(one.streams) for one in door.server._connections]) == [0]


def test_tokens_are_asked_for(start_door):
    door = start_door(tokens=("secret",))
    right, wrong = [("authorization", "Bearer secret")], [("authorization", "Bearer other")]
    assert door.ask("ServerLive").live
    assert door.ask("ServerReady").ready
    for name in ("ServerMetadata", "ModelReady", "ModelMetadata", "RepositoryIndex", "ModelInfer"):
        assert refusal(lambda name=name: door.ask(name))[0] == "UNAUTHENTICATED", name
    assert door.refused(fp64(1), metadata=wrong)[0] == "UNAUTHENTICATED"
    assert door.infer(fp64(1), metadata=right).model_version == "1"
    stream = door.method("ModelStreamInfer")
    assert refusal(lambda: list(stream(iter([request_of(fp64(1))]))))[0] == "UNAUTHENTICATED"
    assert len(list(stream(iter([request_of(fp64(1))]), metadata=right))) == 1
    admin = door.access.create("boss", "admin")
    viewer = door.access.create("ada", "viewer")
    for secret in (admin, viewer):
        assert door.infer(fp64(1), metadata=[("authorization", f"Bearer {secret}")]).model_version == "1"


def test_large_messages_pass_and_larger_ones_are_refused(door):
    rows = 4_000
    values = np.arange(float(rows))
    found = door.infer(tensor(shape=[rows]), raw=[values.tobytes()], outputs=["predict", "prediction_id"])
    assert np.frombuffer(found.raw_output_contents[0]).tolist() == (values + 1000).tolist()
    assert len(found.raw_output_contents[1]) == rows * 40  # many frames, within the caller's windows
    assert door.refused(tensor(shape=[200_000]), raw=[bytes(1_600_000)])[0] == "RESOURCE_EXHAUSTED"
    code, said = door.refused(tensor(shape=[2_200_000]), raw=[bytes(17_600_000)])
    assert (code, "16777216" in said) == ("RESOURCE_EXHAUSTED", True)
    assert door.infer(fp64(1)).model_version == "1"


def test_packed_messages_are_read_and_bounded(door):
    infer = door.method("ModelInfer")
    for packing in (grpc.Compression.Gzip, grpc.Compression.Deflate):
        found = infer(request_of(fp64(*range(2000))), compression=packing)
        assert len(output(found).contents.fp64_contents) == 2000
    bomb = request_of(tensor(shape=[5_000_000]), raw=[bytes(40_000_000)])
    assert len(gzip.compress(bomb.SerializeToString())) < 100_000
    code, said = refusal(lambda: infer(bomb, compression=grpc.Compression.Gzip))
    assert (code, "unpacks to more" in said) == ("RESOURCE_EXHAUSTED", True)


def test_thousands_of_calls_at_once_leave_nothing_behind(door):
    channels = [door.connect() for _ in range(4)]
    infer = [door.method("ModelInfer", channel) for channel in channels]
    answered = refused = given_up = 0
    for _ in range(10):
        futures = [infer[x % 4].future(request_of(fp64(x)), timeout=60) for x in range(400)]
        for future in futures[::50]:
            future.cancel()
        for x, future in enumerate(futures):
            if future.cancelled():
                given_up += 1
                continue
            try:
                assert output(future.result(60)).contents.fp64_contents[0] == 1000.0 + x
                answered += 1
            except grpc.RpcError as error:
                assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED  # noqa: PT017 - one of two right ends
                refused += 1
    for channel in channels:
        channel.close()
    assert answered + refused + given_up == 10 * 400
    assert given_up
    assert answered > refused
    while door.within(lambda: any(one.streams for one in door.server._connections)):
        pass
    assert door.endpoints["nonce"].in_flight == 0
    counts = door.parts.log.counts()
    assert counts.accepted == counts.durable + sum(counts.dropped.values())
    assert counts.durable >= answered


def test_a_request_is_one_message(door):
    two = door.channel.stream_unary("/inference.GRPCInferenceService/ServerLive")
    assert refusal(lambda: two(iter([b"", b""])))[0] == "INVALID_ARGUMENT"
    assert refusal(lambda: two(iter([])))[0] == "INVALID_ARGUMENT"
    assert kind("ServerLive")().SerializeToString() == b""


@pytest.mark.parametrize("missing", ["google.protobuf"])
def test_without_the_extra_the_install_line_is_said(missing, monkeypatch):
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(MissingExtraError, match=r"loopwright\[grpc\]"):
        Messages([])
