"""What can go wrong between a request and a decision. ``hint`` says what to do."""


class RoutingError(Exception):
    """A request or a feedback that cannot be routed; ``param`` names the field of the API at fault."""

    def __init__(self, message: str, hint: str | None = None, param: str | None = None) -> None:
        super().__init__(message)
        self.hint = hint
        self.param = param
