"""The far side: connections to the applications behind the gateway."""
