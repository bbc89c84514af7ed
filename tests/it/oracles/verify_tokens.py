"""Verifies lease tokens with PyJWT and the keys that the server publishes.

Arguments: the server's address, which is the issuer, too, and the audience. Standard input: a token
a line. Standard output: for each its claims, or the name of the error that refuses it, as JSON.
"""

import json
import sys

import jwt

server, audience = sys.argv[1:]
keys = jwt.PyJWKClient(f"{server}/.well-known/jwks.json")
required = ["iss", "sub", "aud", "iat", "nbf", "exp", "jti"]
for token in sys.stdin.read().split():
    try:
        key = keys.get_signing_key_from_jwt(token)
        answer = jwt.decode(
            token,
            key,
            algorithms=["ES256K"],
            audience=audience,
            issuer=server,
            options={"require": required},
        )
    except jwt.PyJWTError as error:
        answer = type(error).__name__
    print(json.dumps(answer))
