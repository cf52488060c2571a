"""When nothing is understood any more: after five texts in a row a person takes over.

Two machines that do not understand each other would go on for ever, and a person who is not understood five
times needs another person. The fifth answer says so and puts the text before one; then there is silence until
a text is understood, or a day has passed. What is sent meanwhile is kept like every text.
"""

from __future__ import annotations

from typing import Final

import msgspec

from appliance.conversation.turn import Effect, Event, Reply, Session, Turn

__all__ = ["LOST_MOST", "be_patient"]

LOST_MOST: Final = 5  # DOMAIN.md section 3: in production use elsewhere
_FORGET_MS: Final = 24 * 3_600_000


def be_patient(before: Session, turn: Turn, event: Event, handed_over: str) -> Turn:
    """Count what was not understood, and end it.

    before: the session that the turn began with. handed_over: what is said when a person takes over.
    """
    if not turn.lost:
        if before.lost:
            turn.session = msgspec.structs.replace(turn.session, lost=0, lost_ms=0)
        return turn
    since_ms = before.lost_ms if 0 <= event.now_ms - before.lost_ms < _FORGET_MS else event.now_ms
    count = before.lost + 1 if since_ms == before.lost_ms else 1
    turn.session = msgspec.structs.replace(turn.session, lost=min(count, LOST_MOST + 1), lost_ms=since_ms)
    if count == LOST_MOST:
        words = {"words": event.text[:500], "language": turn.session.language}
        turn.replies = [Reply(text=handed_over)]
        turn.effects = [*turn.effects, Effect(name="assistant.ask", args=words)]
    elif count > LOST_MOST:
        turn.replies = [reply for reply in turn.replies if reply.to not in (None, event.sender)]
    return turn
