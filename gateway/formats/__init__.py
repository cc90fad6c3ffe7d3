"""What a cookie's bytes mean: pure functions between cookie and session."""
