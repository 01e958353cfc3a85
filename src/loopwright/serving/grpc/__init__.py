"""The gRPC door: the Open Inference Protocol's service, health checks and reflection, in each process that answers."""

from loopwright.serving.grpc.server import GrpcServer

__all__ = ["GrpcServer"]
