"""An assistant: answers from the operator's own knowledge, without any uplink."""

from appliance.apps.assistant.app import AssistantApp
from appliance.conversation.kit import Kit

__all__ = ["AssistantApp", "make_app"]


def make_app(kit: Kit) -> AssistantApp:
    """The conversation, for the shell."""
    return AssistantApp(kit)
