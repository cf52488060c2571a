"""Bus tickets by text: find a trip, hold seats, pay at an agent, get the ticket."""

from appliance.apps.booking.app import BookingApp

__all__ = ["BookingApp"]
