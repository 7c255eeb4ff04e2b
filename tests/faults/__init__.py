"""Faults: runs that are disturbed at random instants, and an independent check of what is left of them."""
