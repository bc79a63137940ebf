"""Serves a stand-in provider to the engine: pulumi.provider.experimental plus what that leaves out.

Added: old inputs in Diff, a working DiffConfig, resources that exist but failed to become ready, errors as plain
text, enough threads for many waits at once, and an end after the engine's.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import sys
import threading
import traceback
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, cast

import grpc
import grpc.aio
from pulumi.provider.experimental import provider
from pulumi.provider.experimental.property_value import PropertyValue
from pulumi.provider.experimental.server import ProviderServicer
from pulumi.runtime import proto
from pulumi.runtime._grpc_settings import _GRPC_CHANNEL_OPTIONS  # pyright: ignore[reportPrivateUsage]
from pulumi.runtime.proto import engine_pb2, engine_pb2_grpc, provider_pb2, provider_pb2_grpc, status_pb2

from sandbox.errors import SandboxError

THREADS = 64


def _type_of(urn: str) -> str:
    return urn.split("::")[2].rpartition("$")[2] if urn.count("::") >= 3 else ""


# The SDK leaves the types of the parents in: `parent$type` for a child of a component.
provider._extract_type = _type_of  # pyright: ignore[reportPrivateUsage]


class InitFailed(SandboxError):
    """The resource exists but did not become ready; the engine keeps it, with the reasons, and tries again on the next `up`.

    `inputs` is for Read only.
    """

    def __init__(
        self,
        resource_id: str,
        properties: Mapping[str, PropertyValue],
        reasons: list[str],
        inputs: Mapping[str, PropertyValue] | None = None,
    ) -> None:
        super().__init__("; ".join(reasons))
        self.resource_id = resource_id
        self.properties = dict(properties)
        self.reasons = reasons
        self.inputs = dict(inputs or {})


class DiffRequest(provider.DiffRequest):
    """A diff request that knows the old inputs, too."""

    old_inputs: dict[str, PropertyValue]


class _Servicer(ProviderServicer):
    async def Read(self, request: proto.ReadRequest, context: Any) -> proto.ReadResponse:
        response = await super().Read(request, context)
        # To the engine only a response without properties is a resource that does not exist.
        return response if response.id else proto.ReadResponse()

    async def Diff(self, request: proto.DiffRequest, context: Any) -> proto.DiffResponse:
        return await self._difference(request, self._provider.diff)

    async def DiffConfig(self, request: proto.DiffRequest, context: Any) -> proto.DiffResponse:
        return await self._difference(request, self._provider.diff_config)

    async def _difference(
        self, request: proto.DiffRequest, compute: Callable[[Any], Awaitable[provider.DiffResponse]]
    ) -> proto.DiffResponse:
        asked = DiffRequest(
            request.urn,
            request.id,
            PropertyValue.unmarshal_map(request.olds),
            PropertyValue.unmarshal_map(request.news),
            list(request.ignoreChanges),
        )
        asked.old_inputs = PropertyValue.unmarshal_map(request.old_inputs)
        answer = await compute(asked)
        changed = answer.changes if answer.changes is not None else bool(answer.detailed_diff)
        return proto.DiffResponse(
            replaces=answer.replaces,
            stables=answer.stables,
            deleteBeforeReplace=answer.delete_before_replace,
            changes=proto.DiffResponse.DIFF_SOME if changed else proto.DiffResponse.DIFF_NONE,
            diffs=answer.diffs,
            detailedDiff={
                path: proto.PropertyDiff(kind=cast(Any, diff.kind.value), inputDiff=diff.input_diff)
                for path, diff in answer.detailed_diff.items()
            },
            hasDetailedDiff=True,
        )


class _Errors(grpc.aio.ServerInterceptor):
    """Turns exceptions into gRPC statuses that the engine shows well."""

    async def intercept_service(self, continuation: Any, handler_call_details: Any) -> Any:
        handler = await continuation(handler_call_details)
        if handler is None or handler.unary_unary is None:
            return handler

        async def guarded(request: Any, context: Any) -> Any:
            try:
                return await handler.unary_unary(request, context)
            except InitFailed as failure:
                await context.abort_with_status(init_status(failure))
            except SandboxError as error:
                await context.abort(grpc.StatusCode.UNKNOWN, str(error))
            except NotImplementedError as error:
                await context.abort(grpc.StatusCode.UNIMPLEMENTED, str(error))
            except grpc.aio.AbortError:
                raise
            except Exception as error:
                traceback.print_exc()
                await context.abort(grpc.StatusCode.UNKNOWN, f"{type(error).__name__}: {error}")

        return grpc.unary_unary_rpc_method_handler(
            guarded, handler.request_deserializer, handler.response_serializer
        )


def init_status(failure: InitFailed) -> grpc.Status:
    detail = provider_pb2.ErrorResourceInitFailed(
        id=failure.resource_id,
        properties=PropertyValue.marshal_map(failure.properties),
        reasons=failure.reasons,
        inputs=PropertyValue.marshal_map(failure.inputs),
    )
    body = status_pb2.Status(code=grpc.StatusCode.UNKNOWN.value[0], message=str(failure))
    body.details.add().Pack(detail)
    status: Any = grpc.Status()
    status.code, status.details = grpc.StatusCode.UNKNOWN, str(failure)
    status.trailing_metadata = (("grpc-status-details-bin", body.SerializeToString()),)
    return status


def _end_with_engine(work: ThreadPoolExecutor) -> None:
    """The engine holds the other end of standard input, and is gone when it closes.

    What is under way ends first: the real plugins look for their engine every five minutes, and finish it, too.
    """
    sys.stdin.read()
    work.shutdown()
    os._exit(0)


def _engine() -> str:
    """The address at which the engine that started this process answers."""
    parser = argparse.ArgumentParser(description="Pulumi provider plugin; the engine starts it.")
    parser.add_argument("engine", help="address of the engine")
    return parser.parse_known_args()[0].engine


def warn(urn: str, message: str) -> None:
    """Has the engine show a warning about a resource."""
    with grpc.insecure_channel(_engine()) as channel:
        engine: Any = engine_pb2_grpc.EngineStub(channel)
        # As with the real ones, a warning that the engine does not take stops nothing.
        with contextlib.suppress(grpc.RpcError):
            request = engine_pb2.LogRequest(severity=engine_pb2.WARNING, urn=urn, message=message)
            engine.Log(request, timeout=10)


def serve(implementation: provider.Provider, version: str) -> None:
    """Serves a provider until the engine that started this process stops it or ends.

    `version` is that of the real provider it stands in for.
    """
    engine = _engine()

    async def run() -> None:
        work = ThreadPoolExecutor(THREADS)
        asyncio.get_running_loop().set_default_executor(work)
        server = grpc.aio.server(interceptors=[_Errors()], options=_GRPC_CHANNEL_OPTIONS)
        servicer = _Servicer(sys.argv[1:], version, implementation, engine_address=engine)
        provider_pb2_grpc.add_ResourceProviderServicer_to_server(servicer, server)
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        print(port, flush=True)
        threading.Thread(target=_end_with_engine, args=(work,), daemon=True).start()
        await server.wait_for_termination()

    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(run())
