"""What there is to say of a model, as plain values that a program or a table can show."""
