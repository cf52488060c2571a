"""Anonymous chat: two people who do not know each other's number talk through the box."""

from appliance.apps.chat.app import ChatApp
from appliance.conversation.kit import Kit

__all__ = ["ChatApp", "make_app"]


def make_app(kit: Kit) -> ChatApp:
    """The conversation, for the shell."""
    return ChatApp(kit)
