"""The model as KServe's own data plane knows it: decodes KServe's requests and encodes answers, like any protocol."""

from typing import Any

from kserve import InferRequest, InferResponse
from kserve.model import InferenceModel, InferenceVerb
from kserve.model_repository import ModelRepository
from starlette.exceptions import HTTPException

from serving import json_body, metadata, request_id, v1, v2
from serving.exchange import Exchange, Reply

_PROTOCOL = "kserve"


class KServeModel(InferenceModel):
    """KServe's view of the releases: one model under the name of the active release."""

    def __init__(self, exchange: Exchange) -> None:
        super().__init__(exchange.served.name)
        self._exchange = exchange
        self.ready = True

    async def __call__(
        self,
        body: dict[str, Any] | InferRequest,
        headers: dict[str, str] | None = None,
        verb: InferenceVerb = InferenceVerb.PREDICT,
    ) -> tuple[dict[str, Any] | InferResponse, dict[str, str]]:
        """Answer a V1 document or a V2 request; return the answer and its headers.

        Raises:
            HTTPException: If the request is refused.
        """
        header_id = request_id.from_header((headers or {}).get(request_id.HEADER))
        head = self._exchange.head(_PROTOCOL, self.name, request_id=header_id)
        if isinstance(body, InferRequest):
            reply: Reply[dict[str, Any]] = await self._exchange.answer(head, lambda: _v2_document(body))
        else:
            reply = await self._exchange.answer(head, lambda: v1.V1Document(body))
        answered = {request_id.HEADER: reply.request_id}
        if reply.refusal is not None:
            raise HTTPException(reply.status, reply.refusal.sentence, answered) from reply.refusal
        return (InferResponse.from_rest(reply.content) if isinstance(body, InferRequest) else reply.content), answered

    def get_input_types(self) -> list[dict[str, Any]]:
        """Describe one tensor per feature, for the V2 model metadata."""
        active = self._exchange.served.active
        return [] if active is None else metadata.inputs(active)

    def get_output_types(self) -> list[dict[str, Any]]:
        """Describe score, decision and flags, for the V2 model metadata."""
        active = self._exchange.served.active
        return [] if active is None else metadata.outputs(active)


class ServedRepository(ModelRepository):
    """KServe's view of the models: the one that is active, under whatever name it has."""

    def __init__(self, exchange: Exchange) -> None:
        super().__init__()
        self._exchange = exchange

    def get_models(self) -> dict[str, KServeModel]:
        """Return the active model by its name."""
        if self._exchange.served.active is None:
            return {}
        return {self._exchange.served.name: KServeModel(self._exchange)}

    def get_model(self, name: str) -> KServeModel | None:
        """Return the active model if this is its name."""
        return self.get_models().get(name)


def _v2_document(request: InferRequest) -> v2.V2Document:
    content, json_length = request.to_rest()
    if json_length is None:
        return v2.V2Document(content)
    return v2.V2Document(json_body.parse(content[:json_length]), content[json_length:])
