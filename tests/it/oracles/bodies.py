"""Tells schemathesis how to send the media types that it does not know."""

import schemathesis

schemathesis.serializer.alias("application/toml", "text/plain")
