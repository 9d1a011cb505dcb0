"""Request ids are time-ordered UUIDs of version 7 unless a client brings an id that is safe to repeat."""

import itertools
import re
import threading
import uuid

import pytest

from serving import request_id
from serving.refusal import RequestRefused
from serving.request_id import UuidV7Generator

HOSTILE = ("a\r\nSet-Cookie: b=c", "a\nERROR forged", "a\x00b", "\x1b[2J", "Zürich", " a", "a ", "x" * 129, "\u2028")


def test_a_generated_id_is_a_uuid_of_version_7_with_its_time():
    now_ns = 1_764_000_000_123_456_789

    made = uuid.UUID(UuidV7Generator(lambda: now_ns)())

    assert (made.version, made.variant) == (7, uuid.RFC_4122)
    assert made.int >> 80 == now_ns // 1_000_000


def test_ids_increase_although_the_clock_stalls_and_goes_back():
    times = itertools.chain([10**18, 10**18, 10**18, 10**18 - 5 * 10**9], itertools.repeat(10**18 - 10**9))
    generate = UuidV7Generator(lambda: next(times))

    ids = [generate() for _ in range(10_000)]

    assert ids == sorted(set(ids))


def test_threads_never_get_the_same_id():
    generate, ids = UuidV7Generator(lambda: 10**18), []
    threads = [threading.Thread(target=lambda: ids.extend([generate()[:18] for _ in range(2000)])) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    # Without the random bits, only the counter tells them apart.
    assert len(set(ids)) == 16_000


@pytest.mark.parametrize("text", HOSTILE)
def test_an_id_that_could_forge_a_header_or_a_log_line_is_refused_or_replaced(text: str):
    assert request_id.from_header(text) is None
    with pytest.raises(RequestRefused, match=re.escape("expected 1 to 128 printable ASCII characters")) as refused:
        request_id.from_field(text)
    assert (refused.value.status, refused.value.reason) == (400, "id")


@pytest.mark.parametrize("text", ["a", "order 17/3", "Root=1-67891233-abcdef;Parent=5", "x" * 128, "~!"])
def test_any_printable_ascii_id_is_taken_as_it_is(text: str):
    assert request_id.from_header(text) == text
    assert request_id.from_field(text) == text
