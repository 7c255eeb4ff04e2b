"""The commands about endpoints: where their requests go, and what they answered."""
