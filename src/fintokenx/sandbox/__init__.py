"""Clock, chain pause, provider switches and mock servers for local and sandbox; absent in production."""
