"""The forms that `srnn export` writes a network in."""
