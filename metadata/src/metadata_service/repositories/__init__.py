"""SQL of the store. Functions take the session of the caller's transaction and hold no rules of their own."""
