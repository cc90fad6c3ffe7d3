"""Who is this? Ways to sign in."""
