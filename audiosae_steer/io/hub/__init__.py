"""All that talks to the Hub: `read` fetches, `write` publishes and searches, `failures` says what went wrong.

Every error is a `HubError`. Files lie in the Hub's own cache (HF_HOME, HF_HUB_CACHE); HF_ENDPOINT, HF_TOKEN and
HF_HUB_OFFLINE are its client's, and are respected.
"""
