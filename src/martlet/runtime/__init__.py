"""Running plans: sessions, the Interpreter, signatures."""
