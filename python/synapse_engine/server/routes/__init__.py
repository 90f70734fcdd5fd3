"""The endpoints: from a request to work for the engine, and from its events to a response."""
