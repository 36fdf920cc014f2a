"""The demo: bundled clips transcribed without and with steering."""
