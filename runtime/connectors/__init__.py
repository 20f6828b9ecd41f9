"""The mechanics of talking to outside apps: addresses, HTTP, auth kinds, tokens, error mapping.

Which apps there are is data (`universe/`); nothing here knows one of them by name.
"""
