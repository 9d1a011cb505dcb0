"""KServe's V1 protocol: ``{"instances": [{feature: value}, ...]}`` in, ``{"predictions": [...]}`` out."""

import itertools
import operator
from collections.abc import Collection, Iterable
from typing import Any

import orjson

from serving import entity, event_time, explanation, interval, json_body
from serving.entity import Entity
from serving.exchange import ScoredRequest
from serving.online import answer
from serving.refusal import RequestRefused, short
from serving.release import ServedRelease
from serving.rest_content import RestContent
from serving.signature import Column, Signature

_KEYS = {"instances", "entity", "event_time", "signature_name", "interval", answer.ASKED}


class V1Body:
    """One request as bytes, answered as bytes; its id can only be in a header.

    Args:
        body: A JSON object.
    """

    def __init__(self, body: bytes) -> None:
        self._document, self._body = json_body.parse(body), body

    def request_id(self) -> str | None:
        """Return None: the protocol has no id."""
        return None

    def entity(self) -> Entity | None:
        """Take the entity from the key next to the instances."""
        value = self._document.get("entity")
        return None if value is None else entity.from_json(value)

    def event_time_us(self) -> int | None:
        """Take the event time from the key next to the instances."""
        return event_time.from_json(self._document.get("event_time"))

    def interval(self) -> float | None:
        """Take the level of intervals or sets from the key next to the instances."""
        return interval.from_json(self._document.get("interval"))

    def shows_features(self) -> bool:
        """Take whether the answer must hold the features from the key next to the instances."""
        return answer.from_json(self._document.get(answer.ASKED))

    def features(self) -> Collection[str]:
        """Name the features of the first instance."""
        instances = self._document.get("instances")
        first = instances[0] if type(instances) is list and instances else None
        return first.keys() if type(first) is dict else ()

    def columns(self, release: ServedRelease, sent: Signature | None = None) -> tuple[dict[str, Column], int]:
        """Turn the instances into columns; without any feature, there need not be instances."""
        document, signature = self._document, sent or release.signature
        if not signature.names:
            document = {"instances": [{}] * entity.count(self.entity()), **document}
        if "instances" not in document:
            raise RequestRefused(
                400, "the body has no 'instances'; expected {\"instances\": [{feature: value}]}.", "json"
            )
        if unknown := sorted(document.keys() - _KEYS):
            raise RequestRefused(
                400,
                f"the body has an unknown key {short(unknown[0])}; expected 'instances' and, if needed, 'entity', "
                f"'event_time', 'interval' and '{answer.ASKED}'.",
                "json",
            )
        instances = document["instances"]
        if type(instances) is not list:
            raise RequestRefused(400, "'instances' is not a list; expected one object of features per row.", "json")
        signature.check_rows(len(instances))
        columns = _transposed(instances, signature)
        json_body.check_duplicates(self._body, len(self._document) + len(instances) * len(signature.names))
        return columns, len(instances)

    def encode(self, scored: ScoredRequest) -> RestContent:
        """Write the answer as JSON."""
        release = scored.release
        document = {"model_name": release.name, "model_version": release.version, **release.labels}
        rows = predictions(scored, shows_features=self.shows_features())
        return RestContent(orjson.dumps(document | {"predictions": rows}))


def _transposed(instances: list[Any], signature: Signature) -> dict[str, Column]:
    """Turn rows into columns.

    Raises:
        RequestRefused: If a row is no object with exactly the signature's features.
    """
    names = signature.ordered
    try:
        # Equal numbers of keys, and every feature in every row: no row has another key.
        if sum(map(len, instances)) == len(instances) * len(names):
            return {name: list(map(operator.itemgetter(name), instances)) for name in names}
    except (KeyError, TypeError, IndexError):
        pass
    for row, instance in enumerate(instances):
        if type(instance) is not dict:
            raise RequestRefused(400, f"'instances', row {row}, is not an object of features.", "json")
        signature.check_names(instance, f"row {row}: ")
    raise AssertionError("rows with other features than the signature's were not refused")


def predictions(scored: ScoredRequest, *, shows_features: bool = False) -> list[dict[str, Any]]:
    """Return one object per row: score, decision, features out of vocabulary, and what was asked for besides."""
    unseen: Iterable[list[str]] = itertools.repeat([])
    if scored.encoded.unseen:
        unseen = scored.encoded.unseen_by_row()
    decisions: Iterable[Any] = scored.answered or itertools.repeat(None)
    rows = [
        {"score": score, "decision": decision, "out_of_vocabulary": names}
        for score, decision, names in zip(scored.scores.tolist(), decisions, unseen, strict=False)
    ]
    if scored.contributions is not None:
        for row, explained in zip(rows, explanation.objects(scored), strict=True):
            row.update(explained)
    if scored.regions is not None:
        for row, region in zip(rows, interval.objects(scored), strict=True):
            row.update(region)
    if shows_features or scored.request.looked_up is not None:
        for row, served in zip(rows, answer.objects(scored, shows_features=shows_features), strict=True):
            row.update(served)
    return rows
