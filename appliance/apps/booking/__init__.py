"""Bus tickets by text: find a trip, hold seats, pay at an agent, get the ticket."""

from appliance.apps.booking.app import BookingApp
from appliance.conversation.kit import Kit

__all__ = ["BookingApp", "make_app"]


def make_app(kit: Kit) -> BookingApp:
    """The conversation, for the shell."""
    return BookingApp(kit)
