"""OpenAPI 3.1: the routes of the server, and the features of its model as they are checked.

What a schema cannot say (every tensor of a request has the same number of rows) is in the descriptions.
"""

from typing import Any

from components.shared.blank import BLANKS
from components.shared.documents.model_facts import FeatureFacts
from serving import entity, exchange, explanation, interval, request_id, tensors
from serving.online import answer
from serving.release import ServedRelease

_INFINITE = float(2**128 - 2**103)
"""From here on, a number is an infinity of 32 bits: the largest one, and half of its last digit."""
_VISIBLE = f"[^{BLANKS}]"
_TIME = r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?(Z|[+-]\d\d:\d\d)$"
_WHO = {
    "oneOf": [
        {"type": "string", "minLength": 1, "maxLength": entity.MAX_LENGTH},
        {"type": "integer", "minimum": entity.LOWEST, "maximum": entity.HIGHEST},
        {"type": "null"},
    ],
    "description": "Whom the rows describe; never a feature.",
}
_WHEN = {
    "type": ["string", "null"],
    "format": "date-time",
    "pattern": _TIME,
    "description": "The moment that the features describe, with a time zone; absent: the time of the request.",
}
_SHOWN = {"type": ["boolean", "null"], "description": "Whether the answer holds the features that were scored, too."}
_SERVED = (answer.AGES, answer.FEATURES)
_BYTES: dict[str, Any] = {"application/octet-stream": {}}
_RAW = {"type": "boolean", "description": "Whether the tensor follows the JSON as raw bytes."}
_REFUSED = {
    status: {
        "description": description,
        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/error"}}},
    }
    for status, description in {
        "400": "The request is refused; the sentence names the field and the row.",
        "401": "A valid token is needed.",
        "404": "The model or its version is unknown.",
        "413": "More rows or bytes than the model takes at once.",
        "415": "Another Content-Type than JSON, or a compressed body.",
        "503": "The server is not ready, too busy, or ending; ask again.",
    }.items()
}


def described(release: ServedRelease | None, lookable: frozenset[str] = frozenset()) -> dict[str, Any]:
    """Return the document for the active release; before a first release, the routes that need none.

    Args:
        release: What answers.
        lookable: Features that a request with an entity may leave out.
    """
    paths = {path: {"get": _get(summary)} for path, summary in _SERVER.items()}
    schemas: dict[str, Any] = {"error": _object({"error": {"type": "string"}})}
    if release is not None:
        name = release.name
        paths |= {path.format(name): {"get": _get(summary)} for path, summary in _MODEL.items()}
        paths[f"/v1/models/{name}:predict"] = {"post": _post("Predict rows (V1)", "v1_request", "v1_response", {})}
        paths[f"/v2/models/{name}/infer"] = {"post": _post("Predict columns (V2)", "v2_request", "v2_response", _BYTES)}
        paths[f"/v1/models/{name}:explain"] = {"post": _post("Explain rows (V1)", "v1_few", "v1_explained", {})}
        paths[f"/v2/models/{name}/explain"] = {"post": _post("Explain columns (V2)", "v2_few", "v2_explained", _BYTES)}
        schemas |= {
            "v1_few": _v1_request(release, lookable, explains=True),
            "v1_explained": _v1_response(release, explains=True),
            "v2_few": _v2_request(release, lookable, explains=True),
            "v2_explained": _v2_response(release, explains=True),
            "row": _row(release, lookable),
            "v1_request": _v1_request(release, lookable),
            "v1_response": _v1_response(release),
            "v2_request": _v2_request(release, lookable),
            "v2_response": _v2_response(release),
        }
    return {
        "openapi": "3.1.0",
        "info": {"title": "Perennial", "version": "" if release is None else release.version},
        "paths": paths,
        "components": {"schemas": schemas},
    }


_SERVER = {
    "/": "Alive",
    "/v2": "Server metadata",
    "/v2/health/live": "Live",
    "/v2/health/ready": "Ready",
    "/v1/models": "Models",
}
_MODEL = {
    "/v1/models/{}": "Ready (V1)",
    "/v2/models/{}": "Model metadata",
    "/v2/models/{}/ready": "Model ready",
    "/v2/models/{}/stats": "What each version answered while there was more than one",
}


def _get(summary: str) -> dict[str, Any]:
    content = {"application/json": {"schema": {"type": "object"}}}
    answers = {"200": {"description": "OK", "content": content}} | {s: _REFUSED[s] for s in ("401", "404", "503")}
    return {"summary": summary, "responses": answers}


def _post(summary: str, request: str, response: str, raw: dict[str, Any]) -> dict[str, Any]:
    return {
        "summary": summary,
        "requestBody": {"required": True, "content": _content(request)},
        "responses": {"200": {"description": "OK", "content": _content(response) | raw}} | _REFUSED,
    }


def _content(schema: str) -> dict[str, Any]:
    return {"application/json": {"schema": {"$ref": f"#/components/schemas/{schema}"}}}


def _object(properties: dict[str, Any], *, optional: tuple[str, ...] = (), more: bool = False) -> dict[str, Any]:
    """Describe an object; ``more`` says whether other keys are ignored instead of refused."""
    required = [name for name in properties if name not in optional]
    return {"type": "object", "properties": properties, "required": required, "additionalProperties": more}


def _value(feature: FeatureFacts) -> dict[str, Any]:
    """Describe one value of a feature."""
    kinds: dict[str, dict[str, Any]] = {
        "numeric": {"type": "number", "exclusiveMinimum": -_INFINITE, "exclusiveMaximum": _INFINITE},
        "boolean": {"type": "boolean"},
        "categorical": {"type": "string"},
    }
    schema = kinds[feature.type]
    if feature.missing:
        return schema | {"type": [schema["type"], "null"]}
    # A blank text counts as missing.
    return schema | ({"pattern": _VISIBLE} if feature.type == "categorical" else {})


def _row(release: ServedRelease, lookable: frozenset[str] = frozenset()) -> dict[str, Any]:
    features = release.signature.features
    return _object({name: _value(feature) for name, feature in features.items()}, optional=tuple(lookable))


def _most_rows(release: ServedRelease, *, explains: bool) -> int:
    most = release.signature.request_rows
    return min(most, exchange.MOST_EXPLAINED) if explains else most


def _v1_request(release: ServedRelease, lookable: frozenset[str], *, explains: bool = False) -> dict[str, Any]:
    rows = {"type": "array", "minItems": 1, "maxItems": _most_rows(release, explains=explains)}
    properties = {
        "instances": rows | {"items": {"$ref": "#/components/schemas/row"}},
        "entity": _WHO,
        "event_time": _WHEN,
        answer.ASKED: _SHOWN,
        **_interval(release),
    }
    # Without a feature there need not be rows: one for each entity is meant.
    rows_too = ("instances",) if lookable == release.signature.names else ()
    return _object(properties, optional=(*rows_too, "entity", "event_time", answer.ASKED, *_interval(release)))


def _v1_response(release: ServedRelease, *, explains: bool = False) -> dict[str, Any]:
    prediction = {
        "score": _score(release),
        "decision": {},
        "out_of_vocabulary": {"type": "array", "items": {"type": "string"}},
    }
    if explains:
        per_feature = _object(dict.fromkeys(release.signature.ordered, _score(release)))
        prediction |= {"margin": _score(release), "base": _score(release)}
        prediction |= dict.fromkeys(explanation.BY_FEATURE, per_feature)
    regions = _regions(release)
    served = {answer.AGES: {"type": "object"}, answer.FEATURES: _row(release)}
    labels = {name: {"const": value} for name, value in release.labels.items()}
    named = {"model_name": {"const": release.name}, "model_version": {"type": "string"}}
    items = _object(prediction | regions | served, optional=(*regions, *served))
    return _object(named | labels | {"predictions": {"type": "array", "items": items}})


def _v2_request(release: ServedRelease, lookable: frozenset[str], *, explains: bool = False) -> dict[str, Any]:
    names, rows = _outputs(release, explains=explains), _most_rows(release, explains=explains)
    features = release.signature.features.values()
    request_parameters = {
        "entity": _WHO,
        "event_time": _WHEN,
        answer.ASKED: _SHOWN,
        **_interval(release),
        "binary_data_output": _RAW | {"type": ["boolean", "null"]},
    }
    output = {"name": {"enum": names}, "parameters": _parameters({"binary_data": _RAW})}
    properties = {
        "id": {"type": ["string", "null"], "pattern": f"^([!-~]([ -~]{{0,{request_id.MAX_LENGTH - 2}}}[!-~])?)?$"},
        "parameters": _parameters(request_parameters),
        "inputs": {
            "type": "array",
            "description": "One tensor per feature, in any order, all with the same number of rows. Besides FP64, "
            "every number type is accepted; serving/README.md describes raw tensors and the parameter 'missing'.",
            **_items([_tensor(feature, rows) for feature in features], len(lookable)),
            "maxItems": len(features),
        },
        "outputs": {
            "type": ["array", "null"],
            "description": "Which tensors the answer holds; all of them if absent. Those of an 'interval' may be named "
            "where it is given.",
            "items": _object(output, optional=("parameters",), more=True),
        },
    }
    return _object(properties, optional=("id", "parameters", "outputs"), more=True)


def _items(tensors: list[dict[str, Any]], left_out: int) -> dict[str, Any]:
    """Describe a list of all the tensors, or of some where so many may be left out."""
    named = {"items": {"anyOf": tensors}} if left_out else {"prefixItems": tensors}
    return named | {"minItems": len(tensors) - left_out}


def _interval(release: ServedRelease) -> dict[str, Any]:
    """Describe how a request asks for intervals or sets; nothing where the release has none."""
    highest = release.highest_level
    if not highest:
        return {}
    asked = "lower and upper bounds" if release.task == "regression" else "the set of classes"
    return {
        "interval": {
            "type": ["number", "null"],
            "exclusiveMinimum": 0,
            "maximum": highest,
            "description": f"Answer {asked} that hold this share of labels, too.",
        }
    }


def _regions(release: ServedRelease) -> dict[str, Any]:
    """Describe what an answer with intervals or sets has in addition, per row."""
    if not release.highest_level:
        return {}
    names = {"type": "array", "items": {"enum": release.classes}, "minItems": 1}
    schema = {"type": "number"} if release.task == "regression" else names
    return dict.fromkeys(interval.outputs(release.task), schema)


def _parameters(named: dict[str, Any]) -> dict[str, Any]:
    """Describe parameters; those with another name are ignored."""
    return {"type": ["object", "null"], "properties": named}


def _tensor(feature: FeatureFacts, rows: int) -> dict[str, Any]:
    sizes = [{"type": "integer", "minimum": 1, "maximum": rows}, {"const": 1}]
    shape = {"type": "array", "prefixItems": sizes, "minItems": 1, "maxItems": 2}
    tensor = {
        "name": {"const": feature.name},
        "datatype": {"const": tensors.DATATYPE[feature.type]},
        "shape": shape,
        "data": {"type": "array", "items": _value(feature), "minItems": 1, "maxItems": rows},
        # Both say where values are that are not here.
        "parameters": _parameters({"missing": False, "binary_data_size": False}),
    }
    return _object(tensor, optional=("parameters",), more=True)


def _outputs(release: ServedRelease, *, explains: bool) -> list[str]:
    return [*release.outputs, *(explanation.OUTPUTS if explains else ())]


def _v2_response(release: ServedRelease, *, explains: bool = False) -> dict[str, Any]:
    output = _object(
        {
            "name": {"enum": [*_outputs(release, explains=explains), *_regions(release), *_SERVED]},
            "datatype": {"enum": ["FP32", "FP64", "BYTES"]},
            "shape": {"type": "array", "items": {"type": "integer"}},
            "parameters": {"type": "object"},
            "data": {"type": "array"},
        },
        optional=("parameters", "data"),
    )
    named = {"model_name": {"const": release.name}, "model_version": {"type": "string"}, "id": {"type": "string"}}
    return _object(named | {"outputs": {"type": "array", "items": output}})


def _score(release: ServedRelease) -> dict[str, Any]:
    if release.task == "multiclass":
        return {"type": "array", "items": {"type": "number"}}
    return {"type": "number"}
