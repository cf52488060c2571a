"""How many SMS a booking costs, over people who write as they do: the median is three in and three out.

In: every text of the passenger. Out: every message to the passenger, the ticket among them.
"""

from __future__ import annotations

from collections.abc import Callable
from statistics import median

from appliance.trial import AGENT, AGENT_PIN, Trial

# What people text until they hold seats; "1" stands for what is listed or asked. Each line is one person.
PEOPLE = (
    ("BOOK ADDIS HAWASSA TOMORROW 2", "YES"),
    ("hi", "book addis jimma friday 1", "yes"),
    ("ticket to gondar from bahirdar tmrw 2 people", "ok"),
    ("any bus addis harar monday?", "1", "2", "yes"),
    ("i want to go to dessie", "addis", "tomorrow", "1", "1", "yes"),
    ("addis adama tomorrow 1 person morning", "yes"),
    ("ትኬት አዲስ አበባ ሀዋሳ ነገ 2", "አዎ"),
    ("ከጎንደር ወደ ባህር ዳር ነገ 1 ሰው", "እሺ"),
    ("ነገ ወደ ጅማ መሄድ እፈልጋለሁ", "አዲስ አበባ", "1", "2", "አዎ"),
    ("ሰላም", "ከመቀሌ አዲግራት ዓርብ 3 ሰው", "አዎ"),
    ("nege ke addis wede hawasa 2 sew", "eshi"),
    ("tikeetii Finfinnee Jimma boru 2", "eeyyee"),
    ("Adaamaa irraa Finfinnee boru nama 1", "tole"),
    ("Finfinnee irraa Naqamtee deemuu barbaada boru", "1", "2", "eeyyee"),
    ("ካብ መቐለ ናብ ዓዲግራት ጽባሕ 2 ሰብ", "እወ"),
    ("ትኬት መቐለ ኣክሱም ጽባሕ 1", "እወ"),
    ("mekele to shire on saturday for 2", "yes", "yes"),  # the first yes: to Axum, which is near
    ("book addis mekele 25-11 4", "more", "1", "yes"),
    ("2 seats dire dawa to harar today", "yes"),
    ("how much is addis to gondar", "book addis gondar tomorrow 1", "yes"),
    ("kombolcha addis thursday 5", "yes"),
)


def test_booking_takes_three_texts_in_and_three_out(make_trial: Callable[..., Trial]) -> None:
    settings = {
        "conversation": {"apps": ["booking"], "languages": ["en", "am", "om", "ti"]},
        "payments": {"agents": [AGENT]},
    }
    trial = make_trial(settings)
    came_in, went_out = [], []
    for number, texts in enumerate(PEOPLE):
        sender = f"+2519110001{number:02}"
        out = 0
        for text in texts:
            out += sum(reply.to in (None, sender) for reply in trial.text(sender, text))
        (code,) = [ticket.code for ticket in trial.looks["booking"].tickets_of(sender, trial.now_ms)]
        out += sum(reply.to == sender for reply in trial.text(AGENT, f"PAY {code} {AGENT_PIN}"))
        came_in.append(len(texts))
        went_out.append(out)
    assert median(came_in) <= 3 and median(went_out) <= 3, (came_in, went_out)
    assert max(went_out) <= 7
