"""The API's requests: which fields there are, their ranges, and what is refused. Knows no engine and no HTTP."""
