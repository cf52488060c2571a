"""Frames between the dispatcher and a worker."""

from __future__ import annotations

import pytest

from appliance.dispatcher.framing import (
    FrameError,
    FrameReader,
    Job,
    Outcome,
    Results,
    ToWorker,
    encode,
    from_worker,
    to_worker,
)

JOB = Job(7, 1, "text", "+251911000001", "http", "ሰላም 😀", 1, 2, 2**64 - 1, 1, "b.hold", "gone", {"left": 2})
OUTCOME = Outcome(
    7, "", False, "booking", "SEARCH", b"{}", 5, None, [("hi", "", "reply")], [("b.hold", {"seats": [1]})]
)


def test_frames_round_trip_whatever_pieces_they_come_in() -> None:
    messages = [ToWorker([JOB] * 3), ToWorker(recalled=[1, 2]), ToWorker()]
    stream = b"".join(encode(message) for message in messages)
    for size in (1, 2, 3, 7, 64, len(stream)):
        reader = FrameReader(to_worker)
        found = [m for at in range(0, len(stream), size) for m in reader.feed(stream[at : at + size])]
        assert found == messages


def test_results_round_trip() -> None:
    results = Results([OUTCOME, Outcome(8, error="boom")], busy_us=5, rss_kib=9, pid=1)
    assert list(FrameReader(from_worker).feed(encode(results))) == [results]


def test_frame_that_announces_too_much_is_refused_before_it_is_read() -> None:
    with pytest.raises(FrameError, match="announces"):
        list(FrameReader(to_worker).feed(b"\xff\xff\xff\xff"))


def test_frame_that_is_no_message_is_refused() -> None:
    with pytest.raises(FrameError, match="does not decode"):
        list(FrameReader(from_worker).feed(b"\x00\x00\x00\x02\xc1\xc1"))


def test_frame_over_the_bound_is_not_sent() -> None:
    with pytest.raises(FrameError, match="at most"):
        encode(Results([Outcome(1, body=b"x" * (17 * 1024 * 1024))]))
