"""What travels to a host and acts there: protocol, engine, bundle."""
