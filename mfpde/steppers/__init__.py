"""Time steppers: each states its order, and a test holds it."""
