"""Tells schemathesis how to send the media types that it does not know, and what can be bought."""

import schemathesis

schemathesis.serializer.alias("application/toml", "text/plain")


@schemathesis.hook
def map_body(context, body):
    """Half of the requests for a lease name something that is sold, as long as is allowed."""
    asks = isinstance(body, dict) and isinstance(body.get("resource"), str)
    if asks and len(body["resource"]) % 2 == 0:
        body["resource"] = "shared"
        if type(body.get("duration_s")) is int:
            body["duration_s"] = 600 + abs(body["duration_s"]) % 86_400
    return body
