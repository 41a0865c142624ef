"""What the official language host does and this one does not: code is neither generated nor packed."""

from __future__ import annotations

from typing import NoReturn

import grpc
from pulumi.runtime.proto import language_pb2 as pb
from pulumi.runtime.proto import language_pb2_grpc


def refuse(context: grpc.ServicerContext, what: str) -> NoReturn:
    """End the call: `what` is not done here."""
    context.abort(
        grpc.StatusCode.UNIMPLEMENTED,
        f"{what} is not done by this language host, a stand-in for the official one: use the official Pulumi.",
    )


class Refusals(language_pb2_grpc.LanguageRuntimeServicer):
    """Answers each of these calls with its name."""

    def GenerateProgram(
        self, _request: pb.GenerateProgramRequest, context: grpc.ServicerContext
    ) -> pb.GenerateProgramResponse:
        """Refused."""
        refuse(context, "generating a program (pulumi import's code, pulumi convert)")

    def GenerateProject(
        self, _request: pb.GenerateProjectRequest, context: grpc.ServicerContext
    ) -> pb.GenerateProjectResponse:
        """Refused."""
        refuse(context, "generating a project (pulumi convert)")

    def GeneratePackage(
        self, _request: pb.GeneratePackageRequest, context: grpc.ServicerContext
    ) -> pb.GeneratePackageResponse:
        """Refused."""
        refuse(context, "generating an SDK (pulumi package)")

    def Pack(self, _request: pb.PackRequest, context: grpc.ServicerContext) -> pb.PackResponse:
        """Refused."""
        refuse(context, "packing an SDK (pulumi package)")

    def Link(self, _request: pb.LinkRequest, context: grpc.ServicerContext) -> pb.LinkResponse:
        """Refused."""
        refuse(context, "linking an SDK (pulumi package add)")
