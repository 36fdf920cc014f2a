"""Localisation: layers whose update carries what two clips differ in."""
