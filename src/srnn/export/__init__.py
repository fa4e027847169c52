"""A network in other forms: C for microcontrollers."""
