"""What ``gateway demo`` shows: an application without a login, and the policy in front of it."""
