"""The facts of the Open Inference Protocol's gRPC service, package ``inference``.

Beside the protocol's six calls stand two that Triton's clients know and that are really served: ``ModelStreamInfer``
and ``RepositoryIndex``.

Source of names, numbers and types: ``open_inference_grpc.proto`` (kserve/open-inference-protocol); for the two further
calls ``grpc_service.proto`` (triton-inference-server/common). ``bench/grpc_facts.py`` compiles the originals and
compares field by field.
"""

from __future__ import annotations

from loopwright.serving.grpc.proto_file import ProtoFile, Rpc

_TENSOR = "string name=1; string datatype=2; *int64 shape=3; map<InferParameter> parameters=4; "
_UNARY = ("ServerLive", "ServerReady", "ModelReady", "ServerMetadata", "ModelMetadata", "ModelInfer")
INFERENCE = ProtoFile(
    "open_inference_grpc.proto",
    "inference",
    {
        "ServerLiveRequest": "",
        "ServerLiveResponse": "bool live=1",
        "ServerReadyRequest": "",
        "ServerReadyResponse": "bool ready=1",
        "ModelReadyRequest": "string name=1; string version=2",
        "ModelReadyResponse": "bool ready=1",
        "ServerMetadataRequest": "",
        "ServerMetadataResponse": "string name=1; string version=2; *string extensions=3",
        "ModelMetadataRequest": "string name=1; string version=2",
        "ModelMetadataResponse": (
            "string name=1; *string versions=2; string platform=3; *ModelMetadataResponse.TensorMetadata inputs=4; "
            "*ModelMetadataResponse.TensorMetadata outputs=5; map<string> properties=6"
        ),
        "ModelMetadataResponse.TensorMetadata": "string name=1; string datatype=2; *int64 shape=3",
        "InferParameter": (
            "oneof parameter_choice; |bool bool_param=1; |int64 int64_param=2; |string string_param=3; "
            "|double double_param=4; |uint64 uint64_param=5"
        ),
        "InferTensorContents": (
            "*bool bool_contents=1; *int32 int_contents=2; *int64 int64_contents=3; *uint32 uint_contents=4; "
            "*uint64 uint64_contents=5; *float fp32_contents=6; *double fp64_contents=7; *bytes bytes_contents=8"
        ),
        "ModelInferRequest": (
            "string model_name=1; string model_version=2; string id=3; map<InferParameter> parameters=4; "
            "*ModelInferRequest.InferInputTensor inputs=5; *ModelInferRequest.InferRequestedOutputTensor outputs=6; "
            "*bytes raw_input_contents=7"
        ),
        "ModelInferRequest.InferInputTensor": _TENSOR + "InferTensorContents contents=5",
        "ModelInferRequest.InferRequestedOutputTensor": "string name=1; map<InferParameter> parameters=2",
        "ModelInferResponse": (
            "string model_name=1; string model_version=2; string id=3; map<InferParameter> parameters=4; "
            "*ModelInferResponse.InferOutputTensor outputs=5; *bytes raw_output_contents=6"
        ),
        "ModelInferResponse.InferOutputTensor": _TENSOR + "InferTensorContents contents=5",
        "ModelStreamInferResponse": "string error_message=1; ModelInferResponse infer_response=2",
        "RepositoryIndexRequest": "string repository_name=1; bool ready=2",
        "RepositoryIndexResponse": "*RepositoryIndexResponse.ModelIndex models=1",
        "RepositoryIndexResponse.ModelIndex": "string name=1; string version=2; string state=3; string reason=4",
    },
    "GRPCInferenceService",
    (
        *(Rpc(name, f"{name}Request", f"{name}Response") for name in _UNARY),
        Rpc("ModelStreamInfer", "ModelInferRequest", "ModelStreamInferResponse", takes_stream=True, gives_stream=True),
        Rpc("RepositoryIndex", "RepositoryIndexRequest", "RepositoryIndexResponse"),
    ),
)
