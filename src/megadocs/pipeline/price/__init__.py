"""What the work of a recipe costs before it is started: requests, tokens, seconds."""
