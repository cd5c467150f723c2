"""ticker: nothing yet."""
