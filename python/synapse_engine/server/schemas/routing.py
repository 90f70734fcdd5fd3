"""``POST /v1/route`` and ``POST /v1/feedback``."""

from typing import Annotated, Literal

from pydantic import Field

from synapse_engine.routing import Turns
from synapse_engine.server.errors import bad_request
from synapse_engine.server.schemas.chat import Messages
from synapse_engine.server.schemas.fields import Body, Label, Name

REWARDS = {"up": 1.0, "down": -1.0}


class RequestBody(Body):
    """A conversation, or its only request."""

    messages: Messages | None = None
    input: str | None = None

    @property
    def field(self) -> str:
        """The one that was given."""
        return "input" if self.messages is None else "messages"

    def turns(self) -> Turns:
        """As the router takes them."""
        if self.messages is None:
            return [("user", self.input or "")]
        turns = [message.turn() for message in self.messages]
        return [(turn["role"], turn["content"]) for turn in turns]


class RouteBody(RequestBody):
    """Something to route."""

    explain: bool = False

    def check(self) -> None:
        """Raises ApiError for fields that exclude each other."""
        if (self.messages is None) == (self.input is None):
            raise bad_request("messages: give either this or `input`", "messages")


class FeedbackBody(RequestBody):
    """Which specialist was right or wrong, and for what."""

    response_id: Label | None = None
    specialist: Name | None = None
    reward: Annotated[float, Field(ge=-1, le=1)] | None = None
    rating: Literal["up", "down"] | None = None

    def check(self) -> None:
        """Raises ApiError for fields that exclude each other."""
        if [self.response_id, self.messages, self.input].count(None) != 2:
            raise bad_request("response_id: give either this, `messages` or `input`", "response_id")
        if None not in (self.reward, self.rating):
            raise bad_request("reward: give either this or `rating`", "reward")
        if self.specialist is None and self.reward is None and self.rating is None:
            message = "specialist: give the right one, or a `rating` or `reward` of the one chosen"
            raise bad_request(message, "specialist", "missing_required_parameter")

    def value(self) -> float:
        """A specialist named without more is the right one."""
        return REWARDS[self.rating or "up"] if self.reward is None else self.reward
