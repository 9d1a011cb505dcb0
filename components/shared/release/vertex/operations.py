"""Long-running operations of Vertex AI: wait for one, and for those that another process began."""

from collections.abc import Sequence
from typing import Any

from components.shared.errors import StepFailed
from components.shared.release.pace import Pace
from components.shared.vertex import TIMEOUT_S, Connection


class Operations:
    """The operations in one project and region.

    Args:
        connection: Vertex AI.
        client: Any client of the SDK; all of them can ask for operations.
        pace: How often to look.
    """

    def __init__(self, connection: Connection, client: Any, pace: Pace) -> None:
        self._connection, self._client, self._pace = connection, client, pace

    def finish(self, name: str, what: str, deadline_s: float) -> Any:
        """Wait for an operation and return its response, a ``google.protobuf.Any``.

        Args:
            name: Of the operation.
            what: It is to do; completes "Vertex AI would not ...".
            deadline_s: Longest wait, in seconds.

        Raises:
            StepFailed: If it fails, or has not ended in time; then it goes on there.
        """
        operation = self._get(name)

        def is_done() -> bool:
            nonlocal operation
            operation = operation if operation.done else self._get(name)
            return bool(operation.done)

        if not self._pace.within(is_done, deadline_s):
            raise StepFailed(
                f"Vertex AI did not {what} within {deadline_s:.0f} s; the operation {name} goes on there, look at it "
                "in the console or run again later."
            )
        if operation.HasField("error"):
            raise self._connection.failure(operation.error, what)
        return operation.response

    def pending(self, resource: str) -> Sequence[str]:
        """Return the names of the operations on a model or an endpoint that have not ended."""
        from google.api_core.exceptions import NotFound
        from google.longrunning import operations_pb2

        request = operations_pb2.ListOperationsRequest(name=resource)
        with self._connection.asked("list its operations"):
            try:
                listed = self._client.list_operations(request=request, retry=self._connection.retry, timeout=TIMEOUT_S)
            except NotFound:
                return ()
        return [operation.name for operation in listed.operations if not operation.done]

    def settle(self, resource: str, deadline_s: float) -> None:
        """Wait for the operations that a killed process left behind; Vertex AI changes a resource once at a time.

        What became of them shows in the resource, so their failures are not raised.

        Raises:
            StepFailed: If one has not ended in time.
        """
        if not self._pace.within(lambda: not self.pending(resource), deadline_s):
            raise StepFailed(
                f"{resource} is being changed by {', '.join(self.pending(resource))}, which did not end within "
                f"{deadline_s:.0f} s; wait for it in the console, or cancel it, and run again."
            )

    def cancel(self, resource: str) -> None:
        """Ask for the end of all operations on a resource; whether they heed that shows when they end."""
        from google.api_core.exceptions import GoogleAPICallError
        from google.longrunning import operations_pb2

        for name in self.pending(resource):
            request = operations_pb2.CancelOperationRequest(name=name)
            try:
                self._client.cancel_operation(request=request, timeout=TIMEOUT_S)
            except GoogleAPICallError:
                # It has just ended, or can't be cancelled: then it is waited for.
                continue

    def _get(self, name: str) -> Any:
        from google.longrunning import operations_pb2

        request = operations_pb2.GetOperationRequest(name=name)
        with self._connection.asked("show an operation"):
            return self._client.get_operation(request=request, retry=self._connection.retry, timeout=TIMEOUT_S)
