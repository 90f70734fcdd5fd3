"""Who answers a request: routing, specialists, several at a time, and the account of it. Knows no HTTP."""
