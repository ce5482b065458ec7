"""Records sent out as they come: to a webhook, to an MQTT broker."""
