"""Sends what it reads from standard input as JSON through the official SDK of a service.

Arguments: the service and the base URL of the server that stands for it.
"""

import json
import sys

service, base = sys.argv[1:3]
given = json.load(sys.stdin)

if service == "twilio":
    from twilio.http.http_client import TwilioHttpClient
    from twilio.rest import Client

    class Local(TwilioHttpClient):
        def request(self, method, url, *args, **kwargs):
            return super().request(method, url.replace("https://api.twilio.com", base), *args, **kwargs)

    client = Client(given["account"], given["token"], http_client=Local())
    client.messages.create(**given["message"])
elif service == "slack":
    from slack_sdk.webhook import WebhookClient

    WebhookClient(base + given["path"]).send(**given["message"])
elif service == "pagerduty":
    from pagerduty import EventsApiV2Client

    client = EventsApiV2Client(given["key"], base_url=base)
    getattr(client, given["action"])(**given["event"])
