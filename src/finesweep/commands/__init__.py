"""What a user calls, a verb each, and nothing below knows a verb."""
