"""A mail server on a free port: prints the port, then each mail as a line of JSON.

With the paths of a certificate and its key it wants STARTTLS and the login `hotseat`, `s3cr3t-mail`.
Addresses that begin with `nobody` are refused.
"""

import asyncio
import json
import ssl
import sys

from aiosmtpd.smtp import SMTP, AuthResult


class Handler:
    async def handle_RCPT(self, server, session, envelope, address, options):
        if address.startswith("nobody"):
            return "550 5.1.1 no such user"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):
        mail = {
            "from": envelope.mail_from,
            "to": envelope.rcpt_tos,
            "text": envelope.content.decode("utf-8"),
            "tls": session.ssl is not None,
        }
        print(json.dumps(mail), flush=True)
        return "250 2.0.0 queued as 17"


def login(server, session, envelope, mechanism, data):
    # Not handled: the server shall answer 535 by itself.
    return AuthResult(success=(data.login, data.password) == (b"hotseat", b"s3cr3t-mail"), handled=False)


async def main():
    options = {}
    if len(sys.argv) > 1:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(sys.argv[1], sys.argv[2])
        options = {"tls_context": context, "require_starttls": True, "authenticator": login, "auth_required": True}
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: SMTP(Handler(), hostname="mail.test", **options), "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


asyncio.run(main())
